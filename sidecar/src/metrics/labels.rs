//! The labels, as closed enums: how things travel, end and begin.

use crate::wire::{Message, Rcode};

pub use podlocal_dns::upstream::Transport;

/// How a message from a client ended. Every one ends in exactly one of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Answered from the cache.
    Hit,
    /// Answered by an exchange that it started.
    Miss,
    /// Answered by an exchange that was under way.
    Coalesced,
    /// NXDOMAIN: no such name can exist in the cluster domain.
    ImpossibleName,
    /// NXDOMAIN, or SERVFAIL while the upstream is dead: another proxy wanted to know whether this one is alive.
    HealthCheck,
    /// NXDOMAIN: the namespace or Service above the name does not exist.
    NxdomainCut,
    /// Answered with an expired answer, because the upstream fails or is slow.
    Stale,
    /// SERVFAIL: the query was one of our own that came back.
    Loop,
    /// SERVFAIL: no upstream gave an answer in time.
    UpstreamFailed,
    /// SERVFAIL: a limit was reached.
    OverLimit,
    /// An empty answer with TC: a limit was reached that is meant for forged addresses, and a client that is really there comes
    /// over TCP.
    Truncated,
    /// FORMERR, NOTIMP or BADVERS: not a query that we answer.
    Invalid,
    /// Nothing was sent: not a query.
    NotAQuery,
    /// Nothing was sent: who asks is not to be answered.
    SourceNotAllowed,
    /// Nothing was sent: a limit was reached, and who asks has been told so often enough.
    RateLimited,
}

/// What the proxy does of its own accord.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BackgroundQuery {
    /// The search list was tried for a name that the C library did not expand.
    SearchCompletion,
    /// A namespace or Service was asked about, to decide for the names below it.
    ParentProbe,
    /// A patient name was asked about again.
    Wait,
    /// An answer was asked for anew before or after its end.
    Refresh,
    /// A prefetched name was looked up.
    Prefetch,
}

/// What is bounded, and was full. The bounds are settings, or stand in [`crate::limits`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// Questions under way to the upstream.
    InFlight,
    /// Questions under way about one name, of other types than addresses.
    TypesPerName,
    /// Queries that wait for the same question.
    WaitersPerQuery,
    /// Queries that wait.
    Waiters,
    /// TCP connections of clients.
    TcpConnections,
    /// TCP connections of one address.
    TcpConnectionsPerSource,
    /// A TCP connection of an address that is not answered.
    Sources,
    /// Queries of one address that wait.
    MissesPerSource,
    /// Queries of one address, a second, that are not in the cache.
    MissRatePerSource,
    /// Queries of all addresses that are new, a second, that start an exchange.
    NewSources,
    /// Answers to one address, a second, that are much longer than their questions.
    LargeAnswersPerSource,
    /// The memory of all TCP connections.
    TcpMemory,
    /// [`crate::limits::TCP_IDLE`]: a silent, slow or half-sent connection was cut off.
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

/// How one exchange with an upstream ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AttemptResult {
    /// A response that answers the question, NXDOMAIN included.
    Answer,
    /// A response that says that the server cannot answer: SERVFAIL, REFUSED and the like.
    Failure,
    /// A backup server does not know a name that the other servers may know.
    NegativeIgnored,
    /// A response that was cut short.
    Truncated,
    /// No response in time.
    Timeout,
    /// The operating system refused, or said that nobody listens there, or the server closed the connection.
    Unreachable,
    /// Another attempt brought the answer first.
    Superseded,
}

/// Whom a response came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Server {
    /// A server of the shared tier.
    SharedTier,
    /// Another one: the cluster's DNS, mostly.
    Upstream,
}

/// What a response says (RFC 1035 section 4.1.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResponseCode {
    /// NOERROR, with an answer or without.
    NoError,
    /// NXDOMAIN.
    NxDomain,
    /// SERVFAIL: the server cannot tell, because its own upstream fails, say.
    ServFail,
    /// REFUSED: CoreDNS says it when it is overloaded, too.
    Refused,
    /// Any other, and what is no DNS message.
    Other,
}

/// Why an exchange left a server of the shared tier for the next one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FallbackReason {
    /// Nobody listened there, or the connection was closed.
    Unreachable,
    /// It said that it cannot answer.
    Failure,
    /// It was silent, and not found alive.
    Timeout,
}

/// Where the TCP connection of an exchange came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// It was made for this exchange.
    Opened,
    /// An earlier exchange had left it.
    Reused,
}

/// Why a reply from the address of an upstream answers no question of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unwanted {
    /// It is no response, or its answer section is not whole or too much work to read.
    Malformed,
    /// Another id.
    Id,
    /// Our id, and another question.
    Question,
    /// Our id and question, in another case than we asked, from a server that keeps it.
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

    /// The label, and the word in logs.
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

    /// The label, and the word in a look-up's report.
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

    /// What those bytes say.
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
