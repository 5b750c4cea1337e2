//! The values of the labels, as enums.

use podlocal_dns::wire::{Message, Rcode};
use podlocal_telemetry::{Labels, named};

pub use podlocal_dns::upstream::Transport;

/// [`Transport`] as the label `transport`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ByTransport(pub Transport);

impl Labels for ByTransport {
    fn all() -> impl Iterator<Item = Self> {
        Transport::ALL.into_iter().map(Self)
    }

    fn index(self) -> usize {
        self.0 as usize
    }

    fn pairs(self) -> Vec<(&'static str, &'static str)> {
        vec![("transport", self.0.name())]
    }
}

named! {
    /// The outcome of a message from a client. Each message has exactly one.
    pub enum Outcome as "outcome" {
        /// Answered from the cache.
        Hit = "hit",
        /// Answered by an exchange that it started.
        Miss = "miss",
        /// Answered by an exchange that another query had started.
        Coalesced = "coalesced",
        /// NXDOMAIN: the name cannot exist in the cluster domain.
        ImpossibleName = "impossible_name",
        /// The health check of another proxy: NXDOMAIN, or SERVFAIL while the upstream is dead.
        HealthCheck = "health_check",
        /// NXDOMAIN (RFC 8020): the namespace or Service above the name does not exist.
        NxdomainCut = "nxdomain_cut",
        /// Answered with an expired answer, because the upstream fails or is slow.
        Stale = "stale",
        /// SERVFAIL: an upstream query of this process came back to it.
        Loop = "loop",
        /// An error, usually SERVFAIL: no server gave an answer in time, or the task failed.
        UpstreamFailed = "upstream_failed",
        /// SERVFAIL: a limit was reached.
        OverLimit = "over_limit",
        /// An empty answer with TC: a limit against forged addresses was reached, and a real client retries
        /// over TCP.
        Truncated = "truncated",
        /// FORMERR, NOTIMP or BADVERS: malformed, or of a kind that the proxy does not answer.
        Invalid = "invalid",
        /// No answer: the message is not a query.
        NotAQuery = "not_a_query",
        /// No answer: the source is not in the setting `allowed-sources`.
        SourceNotAllowed = "source_not_allowed",
        /// No answer: a limit was reached, and the source has been answered SERVFAIL often enough.
        RateLimited = "rate_limited",
    }
}

named! {
    /// A search or a query that no client has sent.
    pub enum BackgroundQuery as "reason" {
        /// The search list was tried for a name that the C library does not expand.
        SearchCompletion = "search_completion",
        /// A query for a namespace or Service, to decide for the names below it.
        ParentProbe = "parent_probe",
        /// Another query for a name of `wait-for-names`.
        Wait = "wait",
        /// A query that renews a cached answer, before or after its expiry.
        Refresh = "refresh",
        /// A lookup of a name of `prefetch-names`.
        Prefetch = "prefetch",
    }
}

named! {
    /// A limit that was reached. The limits are settings, or constants of [`crate::limits`].
    pub enum Limit as "limit" {
        /// Upstream queries in flight.
        InFlight = "in_flight",
        /// Upstream queries in flight for one name, without address types.
        TypesPerName = "types_per_name",
        /// Queries of clients that wait for the same upstream query.
        WaitersPerQuery = "waiters_per_query",
        /// Queries of clients that wait.
        Waiters = "waiters",
        /// TCP connections of clients.
        TcpConnections = "tcp_connections",
        /// TCP connections of one address.
        TcpConnectionsPerSource = "tcp_connections_per_source",
        /// A TCP connection from a source that is not in `allowed-sources`.
        Sources = "allowed_sources",
        /// Queries of one address that wait.
        MissesPerSource = "misses_per_source",
        /// Queries per second of one address that are not in the cache.
        MissRatePerSource = "miss_rate_per_source",
        /// Exchanges per second that all new addresses together start.
        NewSources = "new_sources",
        /// Answers per second to one address that are much larger than their queries.
        LargeAnswersPerSource = "large_answers_per_source",
        /// The memory of all TCP connections.
        TcpMemory = "tcp_memory",
        /// [`crate::limits::TCP_IDLE`]: an idle or slow connection was closed.
        TcpIdle = "tcp_idle_timeout",
        /// [`crate::limits::ADMIN_CONNECTIONS`].
        AdminConnections = "admin_connections",
    }
}

named! {
    /// The result of an attempt.
    pub enum AttemptResult as "result" {
        /// A response that answers the query, NXDOMAIN included.
        Answer = "answer",
        /// A response with another RCODE: SERVFAIL, REFUSED and so on.
        Failure = "failure",
        /// A negative answer of a backup server, which is ignored: other servers may know the name.
        NegativeIgnored = "negative_ignored",
        /// A response with TC over UDP.
        Truncated = "truncated",
        /// No response in time.
        Timeout = "timeout",
        /// An error of the operating system, a closed port, or a closed connection.
        Unreachable = "unreachable",
        /// Another attempt got the answer first.
        Superseded = "superseded",
    }
}

named! {
    /// The origin of a response.
    pub enum Server as "server" {
        /// A server of the shared tier.
        SharedTier = "shared_tier",
        /// A server of the upstream, usually cluster DNS.
        Upstream = "upstream",
    }
}

named! {
    /// The RCODE of a response (RFC 1035 section 4.1.1).
    pub enum ResponseCode as "rcode" {
        /// NOERROR, with an answer or without.
        NoError = "noerror",
        /// NXDOMAIN.
        NxDomain = "nxdomain",
        /// SERVFAIL: for example, the upstream of the server fails.
        ServFail = "servfail",
        /// REFUSED: CoreDNS also sends it when it is overloaded.
        Refused = "refused",
        /// Any other RCODE, or bytes that are not a DNS message.
        Other = "other",
    }
}

named! {
    /// The reason for which an exchange fell back from a server of the shared tier to the next server.
    pub enum FallbackReason as "reason" {
        /// A closed port or a closed connection.
        Unreachable = "unreachable",
        /// A response with SERVFAIL, REFUSED and so on.
        Failure = "failure",
        /// No response, and no answer to the health check.
        Timeout = "timeout",
    }
}

named! {
    /// The origin of the TCP connection of an attempt.
    pub enum Origin as "origin" {
        /// It was opened for this attempt.
        Opened = "opened",
        /// It was idle after an earlier attempt.
        Reused = "reused",
    }
}

named! {
    /// The mismatch of a reply that comes from the address of a server and matches no query in flight.
    pub enum Unwanted as "reason" {
        /// Not a response, or its answer section is incomplete or too costly to read.
        Malformed = "malformed",
        /// The ID.
        Id = "id",
        /// The question; the ID matches.
        Question = "question",
        /// The letter case of the name; the server usually keeps it (0x20).
        Case = "case",
    }
}

impl ResponseCode {
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
}
