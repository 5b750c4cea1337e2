//! What the steps of a resolution hand to each other.

use podlocal_dns::wire::{Malformed, Rcode};

use super::now;
use crate::cache::entry::Entry;
use crate::flight::Role;
use crate::metrics::Outcome;
use crate::query::Client;
use crate::reply;
use crate::upstream::Failed;

/// What the look into the cache has shown about a question whose answer is not known.
#[derive(Debug, Clone, Copy)]
pub struct Miss {
    /// Whether the rules of [`podlocal_dns::search`] say nothing about it.
    pub(super) is_free_of_rules: bool,
    /// Whether NXDOMAIN for every type of the name may be cached when the answer arrives.
    pub(super) may_deny_every_type: bool,
    /// Whether there is an expired answer.
    pub(super) has_expired: bool,
}

/// NXDOMAIN by a rule, without a query.
#[derive(Debug, Clone, Copy)]
pub(super) struct Denial {
    /// The offset in the name at which the cluster domain begins.
    pub(super) zone_at: usize,
    /// The TTL in seconds.
    pub(super) ttl: u32,
    /// The outcome for the metrics, which names the rule.
    pub(super) outcome: Outcome,
}

/// The outcome of a flight, for all its waiters.
pub(super) type Answer = Result<Entry, NoAnswer>;

/// Why there is no answer for the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoAnswer {
    /// No server has answered in time; the exchange may continue.
    Silence,
    /// The upstream cannot answer, now or a moment ago, or a defect ended the exchange; the RCODE for the client.
    Refused(Rcode),
    /// A limit was reached.
    Overload,
}

impl NoAnswer {
    /// The upstream has answered with that RCODE, which is neither NOERROR nor NXDOMAIN. When there is no expired
    /// answer, the client gets the same as without the sidecar, with two exceptions:
    ///
    /// | RCODE | the client gets | why |
    /// |---|---|---|
    /// | REFUSED | SERVFAIL | musl takes it for final, and CoreDNS sends it when it is overloaded |
    /// | more than four bits, such as BADVERS | SERVFAIL | it is about the sidecar's own EDNS |
    /// | any other | the same | |
    pub(super) fn refused(rcode: Rcode) -> Self {
        let is_for_client = rcode != Rcode::REFUSED && rcode.0 <= 0xf;
        Self::Refused(if is_for_client { rcode } else { Rcode::SERVFAIL })
    }

    /// The RCODE for the client.
    pub fn rcode(self) -> Rcode {
        match self {
            Self::Refused(rcode) => rcode,
            Self::Silence | Self::Overload => Rcode::SERVFAIL,
        }
    }
}

impl From<Failed> for NoAnswer {
    fn from(_: Failed) -> Self {
        Self::Silence
    }
}

impl From<Malformed> for NoAnswer {
    fn from(_: Malformed) -> Self {
        Self::Refused(Rcode::SERVFAIL)
    }
}

/// The outcome of a question that was not in the cache.
#[derive(Debug, Clone)]
pub enum Resolution {
    /// An answer, and the role in its flight.
    Fresh(Entry, Role),
    /// An expired answer, because the upstream fails or is slow.
    Stale(Entry),
    /// No answer.
    Failed(NoAnswer),
}

impl Resolution {
    /// The memory of the answer, in bytes.
    pub fn size(&self) -> usize {
        match self {
            Self::Fresh(entry, _) | Self::Stale(entry) => entry.size(),
            Self::Failed(_) => 0,
        }
    }

    /// Writes the answer for one client, an error if need be, and returns the outcome for the metrics.
    pub fn write(&self, client: Client<'_>, limit: usize, out: &mut Vec<u8>) -> Outcome {
        match self {
            Self::Fresh(entry, role) => {
                entry.write(client, now(), limit, out);
                if *role == Role::Leader { Outcome::Miss } else { Outcome::Coalesced }
            }
            Self::Stale(entry) => {
                entry.write_stale(client, limit, out);
                Outcome::Stale
            }
            Self::Failed(no_answer) => {
                reply::write_error(client, no_answer.rcode(), out);
                if *no_answer == NoAnswer::Overload { Outcome::OverLimit } else { Outcome::UpstreamFailed }
            }
        }
    }
}
