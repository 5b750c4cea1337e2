//! Servers that may know other names than the first ones: the nameservers of the pod's own `dnsConfig`, beside cluster DNS.
//!
//! Several servers are one service only when they know the same names. So a backup server is asked when the others cannot be
//! asked, and that it knows no such name says nothing about the others:
//!
//! | the other servers | a backup server | what it answers |
//! |---|---|---|
//! | answer within [`SILENT_AFTER`] | is not asked | |
//! | answer that they cannot, or refuse | is asked as well | records are believed |
//! | are silent for [`SILENT_AFTER`], or refuse every question | is asked as well | the same, and that a name outside the cluster domain exists without records of this type |
//! | are silent for [`DEAD_AFTER`], or refuse every question | is asked first | the same; a question that it denies goes to the others, and has failed when their timer expires or they refuse |
//!
//! glibc asks the next server after 5 s, and believes everything.

use std::time::{Duration, Instant};

use super::server::Server;
use super::{DEAD_AFTER, Policy, SILENT_AFTER, Setup};

/// What a backup server has answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// Records.
    Records,
    /// NOERROR without a record.
    NoData {
        /// Whether the name is below the cluster domain.
        is_cluster_name: bool,
    },
    /// NXDOMAIN.
    NoName,
}

impl Setup {
    /// Whether a server may know other names than the first ones.
    pub fn is_backup(&self, server: usize) -> bool {
        (self.servers.saturating_sub(self.backup)..self.servers).contains(&server)
    }
}

impl Policy {
    /// Whether that answer of a backup server is one.
    pub fn is_believed(&self, answer: Answer, now: Instant) -> bool {
        match answer {
            Answer::Records => true,
            Answer::NoData { is_cluster_name } => !is_cluster_name && self.is_backup_needed(now),
            Answer::NoName => false,
        }
    }

    /// Whether the other servers are silent or refuse.
    pub(super) fn is_backup_needed(&self, now: Instant) -> bool {
        self.primaries_silent_at(SILENT_AFTER).is_some_and(|at| now >= at)
    }

    /// When nobody waits any more for the other servers, about what a backup server has denied.
    pub(super) fn primaries_dead_at(&self) -> Option<Instant> {
        self.primaries_silent_at(DEAD_AFTER)
    }

    /// When the other servers will have been silent for so long, if they answer nothing until then. They refuse: already.
    pub(super) fn primaries_silent_at(&self, time: Duration) -> Option<Instant> {
        let since = self.primaries_waiting_since?;
        let primaries = self.servers.len().saturating_sub(self.setup.backup);
        let are_gone = self.servers.iter().take(primaries).all(Server::is_gone);
        Some(if are_gone { since } else { since + time })
    }
}
