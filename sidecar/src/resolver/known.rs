//! Answers that need no query.

use crate::cache::entry::Entry;
use crate::metrics::Outcome;

/// An answer without a query.
#[derive(Debug)]
pub enum Known {
    /// A cached answer.
    Entry(Entry),
    /// NXDOMAIN by a rule.
    Missing {
        /// The offset in the name at which the cluster domain begins.
        zone_at: usize,
        /// The TTL in seconds.
        ttl: u32,
        /// The outcome for the metrics, which names the rule.
        outcome: Outcome,
    },
}
