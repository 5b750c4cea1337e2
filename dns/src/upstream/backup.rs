//! Servers that may know other names than the primary ones: the nameservers of the pod's own `dnsConfig`,
//! beside cluster DNS.
//!
//! Several servers are interchangeable only when they know the same names. So a backup server is queried when
//! the primary servers cannot be used, and its NXDOMAIN says nothing about the names that the primary servers
//! know:
//!
//! | the primary servers | a backup server | which of its answers count |
//! |---|---|---|
//! | answer within [`SILENT_AFTER`] | is not queried | |
//! | answer that they cannot answer, or refuse | is queried as well | records |
//! | are silent for [`SILENT_AFTER`], or refuse every query | is queried as well | records, and NODATA for a name outside the cluster domain |
//! | are silent for [`DEAD_AFTER`], or refuse every query | is queried first | the same; after NXDOMAIN the question goes to the primary servers, and fails when their timer expires or they refuse |
//!
//! glibc queries the next server after 5 s, and accepts everything.

use std::time::{Duration, Instant};

use super::server::Server;
use super::{DEAD_AFTER, Policy, SILENT_AFTER, Setup};

/// The kind of answer that a backup server has given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BackupAnswer {
    /// Records.
    Records,
    /// NOERROR without a record.
    NoData {
        /// Whether the name is below the cluster domain.
        is_cluster_name: bool,
    },
    /// The name does not exist, or its alias leads to a name that does not exist.
    NxDomain,
}

impl Setup {
    /// Whether a server is a backup server, which may know other names than the primary ones.
    pub fn is_backup(&self, server: usize) -> bool {
        (self.servers.saturating_sub(self.backup)..self.servers).contains(&server)
    }
}

impl Policy {
    /// Whether that answer of a backup server counts as the answer.
    pub fn accepts_backup_answer(&self, answer: BackupAnswer, now: Instant) -> bool {
        match answer {
            BackupAnswer::Records => true,
            BackupAnswer::NoData { is_cluster_name } => !is_cluster_name && self.is_backup_needed(now),
            BackupAnswer::NxDomain => false,
        }
    }

    /// Whether the primary servers are silent or refuse.
    pub(super) fn is_backup_needed(&self, now: Instant) -> bool {
        self.primaries_silent_at(SILENT_AFTER).is_some_and(|at| now >= at)
    }

    /// When the primary servers count as dead, so that a question that a backup server has denied fails.
    pub(super) fn primaries_dead_at(&self) -> Option<Instant> {
        self.primaries_silent_at(DEAD_AFTER)
    }

    /// When the primary servers will have been silent for that time, if they answer nothing until then. When
    /// they refuse, that time has come already.
    pub(super) fn primaries_silent_at(&self, time: Duration) -> Option<Instant> {
        let since = self.primaries_waiting_since?;
        let primaries = self.servers.len().saturating_sub(self.setup.backup);
        let are_all_refusing = self.servers.iter().take(primaries).all(Server::is_refusing);
        Some(if are_all_refusing { since } else { since + time })
    }
}
