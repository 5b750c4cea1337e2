//! The order in which servers are queried, and the transport.
//!
//! | servers (lower case: ejected) | the order |
//! |---|---|
//! | A | A |
//! | A, B | A, B |
//! | a, B | B, a |
//! | a, b | a, b: when all are ejected, the order of the settings holds |
//! | T of the tier, A | T, A |
//! | t of the tier, A, b | A, b, t |
//! | A, B, a backup server | A, B: a query continues to B by the rules of `backup` |
//! | a, B, a backup server, and the others are silent | B, a |
//! | a, b, a backup server | a, b |

use podlocal_settings::value::UpstreamTransport;
use smallvec::SmallVec;

use super::Setup;

/// The transport of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are the field's own")]
pub enum Transport {
    Udp,
    Tcp,
}

impl Transport {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Udp, Self::Tcp];

    /// The label of metrics, and the word in logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
        }
    }
}

/// A server and the transport over which to query it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target {
    /// The index of the server in the settings.
    pub server: usize,
    /// The transport.
    pub transport: Transport,
}

/// The transport of the first transmission.
pub fn first_transport(transport: UpstreamTransport) -> Transport {
    match transport {
        UpstreamTransport::Auto | UpstreamTransport::Udp => Transport::Udp,
        UpstreamTransport::Tcp => Transport::Tcp,
    }
}

/// The transport of a transmission after so many losses in a row.
pub(super) fn transport_after(losses: u32, transport: UpstreamTransport) -> Transport {
    match transport {
        UpstreamTransport::Auto if losses == 2 => Transport::Tcp,
        _ => first_transport(transport),
    }
}

/// The most servers that one sidecar has: those of the tier, of the upstream and the backup servers, of which
/// each is a setting with at most 8 addresses.
const MAX_SERVERS: usize = 24;

/// The indexes of servers in the order in which one exchange queries them: inline, because every miss has one.
pub(super) type Order = SmallVec<[u8; MAX_SERVERS]>;

/// The order in which one exchange queries servers: healthy servers, those of the tier before the others;
/// then the ejected ones, those of the tier last. Backup servers come after all others, or, while
/// `is_backup_needed`, before the ejected ones.
pub(super) fn order(setup: &Setup, is_ejected: impl Fn(usize) -> bool, is_backup_needed: bool) -> Order {
    let all_are_ejected = (setup.tier..setup.servers).all(&is_ejected);
    let rank = |server: usize| {
        let is_tier_server = server < setup.tier;
        let is_ejected = is_ejected(server) && (is_tier_server || !all_are_ejected);
        match (is_ejected, is_tier_server) {
            (false, false) if setup.is_backup(server) && is_backup_needed => 2,
            _ if setup.is_backup(server) => 5,
            (false, true) => 0,
            (false, false) => 1,
            (true, false) => 3,
            (true, true) => 4,
        }
    };
    let mut servers: Order = (0..setup.servers.min(MAX_SERVERS) as u8).collect();
    // The usual pod has one server.
    if servers.len() > 1 {
        servers.sort_by_key(|server| rank((*server).into()));
    }
    servers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn healthy_servers_come_first_and_the_tier_before_them() {
        let table: [(usize, &[bool], &[usize]); 8] = [
            (0, &[false], &[0]),
            (0, &[true], &[0]),
            (0, &[false, false], &[0, 1]),
            (0, &[true, false], &[1, 0]),
            (0, &[true, true], &[0, 1]),
            (1, &[false, false], &[0, 1]),
            (1, &[true, false, true], &[1, 2, 0]),
            (2, &[true, false, false], &[1, 2, 0]),
        ];
        for (tier, ejected, expected) in table {
            assert_eq!(list(&setup(ejected.len(), tier, 0), ejected, false), expected, "{tier} {ejected:?}");
        }
    }

    #[test]
    fn backup_servers_come_before_ejected_ones_while_needed() {
        let table: [(usize, &[bool], bool, &[usize]); 7] = [
            (0, &[false, false], false, &[0, 1]),
            (0, &[false, false], true, &[0, 1]),
            (0, &[true, false], false, &[0, 1]),
            (0, &[true, false], true, &[1, 0]),
            (0, &[true, true], true, &[0, 1]),
            (1, &[false, true, false], true, &[0, 2, 1]),
            (1, &[true, true, false], true, &[2, 1, 0]),
        ];
        for (tier, ejected, is_needed, expected) in table {
            assert_eq!(
                list(&setup(ejected.len(), tier, 1), ejected, is_needed),
                expected,
                "{tier} {ejected:?} {is_needed}"
            );
        }
    }

    fn list(setup: &Setup, ejected: &[bool], is_backup_needed: bool) -> Vec<usize> {
        let order = order(setup, |server| ejected[server], is_backup_needed);
        order.into_iter().map(usize::from).collect()
    }

    fn setup(servers: usize, tier: usize, backup: usize) -> Setup {
        Setup { servers, tier, backup, transport: UpstreamTransport::Auto }
    }

    #[test]
    fn the_third_transmission_is_over_tcp_where_the_settings_allow_it() {
        use UpstreamTransport::{Auto, Tcp as TcpOnly, Udp as UdpOnly};
        for (setting, expected) in [
            (Auto, [Transport::Udp, Transport::Udp, Transport::Tcp, Transport::Udp]),
            (UdpOnly, [Transport::Udp; 4]),
            (TcpOnly, [Transport::Tcp; 4]),
        ] {
            assert_eq!([0, 1, 2, 3].map(|losses| transport_after(losses, setting)), expected, "{setting:?}");
        }
    }
}
