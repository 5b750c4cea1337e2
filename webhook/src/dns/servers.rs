//! Which servers the proxy of a pod asks.

use std::net::{IpAddr, SocketAddr};

use podlocal_settings::Settings;
use podlocal_settings::read::{Mistake, Read};
use podlocal_settings::table::{self, Setting};

use super::{Base, Unfit, addresses, without_duplicates};
use crate::cluster::Cluster;

/// The most servers that each of the sidecar's settings takes.
const MOST_SERVERS: usize = 8;

/// The servers, each kind in order of preference.
pub(super) struct Servers {
    /// The servers that the proxy asks.
    pub upstream: Vec<SocketAddr>,
    /// Those that it asks while these are silent, and that may know other names.
    pub backup_upstream: Vec<SocketAddr>,
    /// The shared tier that it asks before them; empty when it is told of none.
    pub shared_tier: Vec<SocketAddr>,
}

/// The servers for a pod with these `dnsConfig.nameservers`. What was chosen and cannot be had is added to `mistakes`.
pub(super) fn servers(
    base: Base,
    own_nameservers: &[&str],
    cluster: &Cluster,
    read: &Read,
    mistakes: &mut Vec<Mistake>,
) -> Result<Servers, Unfit> {
    let settings = &read.settings;
    let upstream = chosen(&table::UPSTREAM, &settings.upstream, settings, mistakes);
    let shared_tier = shared_tier(base, !upstream.is_empty(), cluster, read, mistakes);
    let [upstream, own] = upstreams(base, upstream, own_nameservers, cluster, read)?;
    let backup = chosen(&table::BACKUP_UPSTREAM, &settings.backup_upstream, settings, mistakes);
    let backup_upstream = if backup.is_empty() { own } else { backup };
    Ok(Servers { upstream, backup_upstream, shared_tier })
}

/// The upstream and the backup upstream. The first line that fits holds:
///
/// | the pod | upstream | backup, unless `backup-upstream` says which |
/// |---|---|---|
/// | `upstream` | that one | none |
/// | dnsPolicy `ClusterFirst` | the cluster's DNS | its own nameservers, which the kubelet appends |
/// | dnsPolicy `None`, and its first nameserver is the cluster's DNS | the cluster's among its own | its others |
/// | dnsPolicy `None` | its own: for resolv.conf(5) they are one service | none |
fn upstreams(
    base: Base,
    chosen: Vec<SocketAddr>,
    own_nameservers: &[&str],
    cluster: &Cluster,
    read: &Read,
) -> Result<[Vec<SocketAddr>; 2], Unfit> {
    if !chosen.is_empty() {
        return Ok([chosen, Vec::new()]);
    }
    let own = own_nameservers.iter().filter_map(|text| text.parse::<IpAddr>().ok());
    let own = own.map(|address| SocketAddr::new(address, 53));
    let own = without_duplicates(own.filter(|server| is_other(*server, &read.settings)).collect());
    let is_clusters = |server: &SocketAddr| cluster.dns.contains(server);
    match base {
        Base::Cluster if cluster.dns.is_empty() => Err(Unfit::NoClusterDns),
        Base::Cluster => {
            let others = own.into_iter().filter(|server| !is_clusters(server)).collect();
            Ok([cluster.dns.iter().copied().take(MOST_SERVERS).collect(), others])
        }
        Base::Own if own.is_empty() => Err(Unfit::NoNameserver),
        Base::Own if own.first().is_some_and(is_clusters) => {
            Ok(own.into_iter().partition(is_clusters).into())
        }
        Base::Own => Ok([own, Vec::new()]),
    }
}

/// The shared tier that the proxy is told of. The first line that fits holds:
///
/// | the pod | the tier |
/// |---|---|
/// | `use-shared-tier: false` | none |
/// | `shared-tier` | that one |
/// | `upstream`, or a dnsPolicy `None` of its own | none: who has chosen whom to ask has chosen that |
/// | anything else | the cluster's, if there is one |
fn shared_tier(
    base: Base,
    has_chosen_upstream: bool,
    cluster: &Cluster,
    read: &Read,
    mistakes: &mut Vec<Mistake>,
) -> Vec<SocketAddr> {
    let chosen = chosen(&table::SHARED_TIER, &read.settings.shared_tier, &read.settings, mistakes);
    let mut tier = match base {
        _ if !read.settings.use_shared_tier => Vec::new(),
        _ if !chosen.is_empty() => chosen,
        Base::Cluster if !has_chosen_upstream => {
            let known = cluster.told_tier().iter().copied();
            known.filter(|server| is_other(*server, &read.settings)).collect()
        }
        Base::Cluster | Base::Own => Vec::new(),
    };
    tier.truncate(MOST_SERVERS);
    tier
}

/// The servers that somebody has chosen with `setting`. An address at which the proxy itself would listen is none.
fn chosen(
    setting: &Setting,
    given: &[SocketAddr],
    settings: &Settings,
    mistakes: &mut Vec<Mistake>,
) -> Vec<SocketAddr> {
    let chosen: Vec<_> = given.iter().copied().filter(|server| is_other(*server, settings)).collect();
    if chosen.len() < given.len() {
        let expected = "servers other than the proxy itself";
        let origin = format!("annotation {}", setting.annotation());
        mistakes.push(Mistake::new(origin, &addresses(given), expected));
    }
    chosen
}

fn is_other(server: SocketAddr, settings: &Settings) -> bool {
    !settings.listens_on(server) && !server.ip().is_unspecified()
}
