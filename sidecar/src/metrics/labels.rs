//! The values of the labels, as enums.

use podlocal_dns::wire::{Message, Rcode};

pub use podlocal_dns::upstream::Transport;

/// The outcome of a message from a client. Each message has exactly one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Answered from the cache.
    Hit,
    /// Answered by an exchange that it started.
    Miss,
    /// Answered by an exchange that another query had started.
    Coalesced,
    /// NXDOMAIN: the name cannot exist in the cluster domain.
    ImpossibleName,
    /// The health check of another proxy: NXDOMAIN, or SERVFAIL while the upstream is dead.
    HealthCheck,
    /// NXDOMAIN (RFC 8020): the namespace or Service above the name does not exist.
    NxdomainCut,
    /// Answered with an expired answer, because the upstream fails or is slow.
    Stale,
    /// SERVFAIL: an upstream query of this process came back to it.
    Loop,
    /// An error, usually SERVFAIL: no server gave an answer in time, or the task failed.
    UpstreamFailed,
    /// SERVFAIL: a limit was reached.
    OverLimit,
    /// An empty answer with TC: a limit against forged addresses was reached, and a real client retries over
    /// TCP.
    Truncated,
    /// FORMERR, NOTIMP or BADVERS: malformed, or of a kind that the proxy does not answer.
    Invalid,
    /// No answer: the message is not a query.
    NotAQuery,
    /// No answer: the source is not in the setting `allowed-sources`.
    SourceNotAllowed,
    /// No answer: a limit was reached, and the source has been answered SERVFAIL often enough.
    RateLimited,
}

/// A search or a query that no client has sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BackgroundQuery {
    /// The search list was tried for a name that the C library does not expand.
    SearchCompletion,
    /// A query for a namespace or Service, to decide for the names below it.
    ParentProbe,
    /// Another query for a name of `wait-for-names`.
    Wait,
    /// A query that renews a cached answer, before or after its expiry.
    Refresh,
    /// A lookup of a name of `prefetch-names`.
    Prefetch,
}

/// A limit that was reached. The limits are settings, or constants of [`crate::limits`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// Upstream queries in flight.
    InFlight,
    /// Upstream queries in flight for one name, without address types.
    TypesPerName,
    /// Queries of clients that wait for the same upstream query.
    WaitersPerQuery,
    /// Queries of clients that wait.
    Waiters,
    /// TCP connections of clients.
    TcpConnections,
    /// TCP connections of one address.
    TcpConnectionsPerSource,
    /// A TCP connection from a source that is not in `allowed-sources`.
    Sources,
    /// Queries of one address that wait.
    MissesPerSource,
    /// Queries per second of one address that are not in the cache.
    MissRatePerSource,
    /// Exchanges per second that all new addresses together start.
    NewSources,
    /// Answers per second to one address that are much larger than their queries.
    LargeAnswersPerSource,
    /// The memory of all TCP connections.
    TcpMemory,
    /// [`crate::limits::TCP_IDLE`]: an idle or slow connection was closed.
    TcpIdle,
    /// [`crate::limits::ADMIN_CONNECTIONS`].
    AdminConnections,
}

impl BackgroundQuery {
    pub(super) const COUNT: usize = 5;
    pub(super) const ALL: [Self; Self::COUNT] =
        [Self::SearchCompletion, Self::ParentProbe, Self::Wait, Self::Refresh, Self::Prefetch];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::SearchCompletion => "search_completion",
            Self::ParentProbe => "parent_probe",
            Self::Wait => "wait",
            Self::Refresh => "refresh",
            Self::Prefetch => "prefetch",
        }
    }
}

impl Limit {
    pub(super) const COUNT: usize = 14;
    pub(super) const ALL: [Self; Self::COUNT] = [
        Self::InFlight,
        Self::TypesPerName,
        Self::WaitersPerQuery,
        Self::Waiters,
        Self::TcpConnections,
        Self::TcpConnectionsPerSource,
        Self::Sources,
        Self::MissesPerSource,
        Self::MissRatePerSource,
        Self::NewSources,
        Self::LargeAnswersPerSource,
        Self::TcpMemory,
        Self::TcpIdle,
        Self::AdminConnections,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::InFlight => "in_flight",
            Self::TypesPerName => "types_per_name",
            Self::WaitersPerQuery => "waiters_per_query",
            Self::Waiters => "waiters",
            Self::TcpConnections => "tcp_connections",
            Self::TcpConnectionsPerSource => "tcp_connections_per_source",
            Self::Sources => "allowed_sources",
            Self::MissesPerSource => "misses_per_source",
            Self::MissRatePerSource => "miss_rate_per_source",
            Self::NewSources => "new_sources",
            Self::LargeAnswersPerSource => "large_answers_per_source",
            Self::TcpMemory => "tcp_memory",
            Self::TcpIdle => "tcp_idle_timeout",
            Self::AdminConnections => "admin_connections",
        }
    }
}

/// The result of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AttemptResult {
    /// A response that answers the query, NXDOMAIN included.
    Answer,
    /// A response with another RCODE: SERVFAIL, REFUSED and so on.
    Failure,
    /// A negative answer of a backup server, which is ignored: other servers may know the name.
    NegativeIgnored,
    /// A response with TC over UDP.
    Truncated,
    /// No response in time.
    Timeout,
    /// An error of the operating system, a closed port, or a closed connection.
    Unreachable,
    /// Another attempt got the answer first.
    Superseded,
}

/// The origin of a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Server {
    /// A server of the shared tier.
    SharedTier,
    /// A server of the upstream, usually cluster DNS.
    Upstream,
}

/// The RCODE of a response (RFC 1035 section 4.1.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResponseCode {
    /// NOERROR, with an answer or without.
    NoError,
    /// NXDOMAIN.
    NxDomain,
    /// SERVFAIL: for example, the upstream of the server fails.
    ServFail,
    /// REFUSED: CoreDNS also sends it when it is overloaded.
    Refused,
    /// Any other RCODE, or bytes that are not a DNS message.
    Other,
}

/// The reason for which an exchange fell back from a server of the shared tier to the next server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FallbackReason {
    /// A closed port or a closed connection.
    Unreachable,
    /// A response with SERVFAIL, REFUSED and so on.
    Failure,
    /// No response, and no answer to the health check.
    Timeout,
}

/// The origin of the TCP connection of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// It was opened for this attempt.
    Opened,
    /// It was idle after an earlier attempt.
    Reused,
}

/// The mismatch of a reply that comes from the address of a server and matches no query in flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unwanted {
    /// Not a response, or its answer section is incomplete or too costly to read.
    Malformed,
    /// The ID.
    Id,
    /// The question; the ID matches.
    Question,
    /// The letter case of the name; the server usually keeps it (0x20).
    Case,
}

impl Unwanted {
    pub(super) const ALL: [Self; 4] = [Self::Malformed, Self::Id, Self::Question, Self::Case];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Id => "id",
            Self::Question => "question",
            Self::Case => "case",
        }
    }
}

impl Outcome {
    pub(super) const COUNT: usize = 15;
    pub(super) const ALL: [Self; Self::COUNT] = [
        Self::Hit,
        Self::Miss,
        Self::Coalesced,
        Self::ImpossibleName,
        Self::HealthCheck,
        Self::NxdomainCut,
        Self::Stale,
        Self::Loop,
        Self::UpstreamFailed,
        Self::OverLimit,
        Self::Truncated,
        Self::Invalid,
        Self::NotAQuery,
        Self::SourceNotAllowed,
        Self::RateLimited,
    ];

    /// The value of the label, also used in logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Miss => "miss",
            Self::Coalesced => "coalesced",
            Self::ImpossibleName => "impossible_name",
            Self::HealthCheck => "health_check",
            Self::NxdomainCut => "nxdomain_cut",
            Self::Stale => "stale",
            Self::Loop => "loop",
            Self::UpstreamFailed => "upstream_failed",
            Self::OverLimit => "over_limit",
            Self::Truncated => "truncated",
            Self::Invalid => "invalid",
            Self::NotAQuery => "not_a_query",
            Self::SourceNotAllowed => "source_not_allowed",
            Self::RateLimited => "rate_limited",
        }
    }
}

impl AttemptResult {
    pub(super) const COUNT: usize = 7;
    pub(super) const ALL: [Self; Self::COUNT] = [
        Self::Answer,
        Self::Failure,
        Self::NegativeIgnored,
        Self::Truncated,
        Self::Timeout,
        Self::Unreachable,
        Self::Superseded,
    ];

    /// The value of the label, also used by `lookup`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Answer => "answer",
            Self::Failure => "failure",
            Self::NegativeIgnored => "negative_ignored",
            Self::Truncated => "truncated",
            Self::Timeout => "timeout",
            Self::Unreachable => "unreachable",
            Self::Superseded => "superseded",
        }
    }
}

impl Server {
    pub(super) const ALL: [Self; 2] = [Self::SharedTier, Self::Upstream];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::SharedTier => "shared_tier",
            Self::Upstream => "upstream",
        }
    }
}

impl ResponseCode {
    pub(super) const COUNT: usize = 5;
    pub(super) const ALL: [Self; Self::COUNT] =
        [Self::NoError, Self::NxDomain, Self::ServFail, Self::Refused, Self::Other];

    /// The RCODE of a message in wire format.
    pub fn of(response: &[u8]) -> Self {
        match Message::new(response).map(Message::rcode) {
            Some(Rcode::NO_ERROR) => Self::NoError,
            Some(Rcode::NXDOMAIN) => Self::NxDomain,
            Some(Rcode::SERVFAIL) => Self::ServFail,
            Some(Rcode::REFUSED) => Self::Refused,
            _ => Self::Other,
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::NoError => "noerror",
            Self::NxDomain => "nxdomain",
            Self::ServFail => "servfail",
            Self::Refused => "refused",
            Self::Other => "other",
        }
    }
}

impl FallbackReason {
    pub(super) const ALL: [Self; 3] = [Self::Unreachable, Self::Failure, Self::Timeout];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::Failure => "failure",
            Self::Timeout => "timeout",
        }
    }
}

impl Origin {
    pub(super) const ALL: [Self; 2] = [Self::Opened, Self::Reused];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Opened => "opened",
            Self::Reused => "reused",
        }
    }
}
