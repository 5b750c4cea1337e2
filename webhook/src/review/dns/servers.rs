//! Selects the servers of a pod's sidecar.

use std::net::{IpAddr, SocketAddr};

use podlocal_settings::Settings;

use super::{Base, without_duplicates};
use crate::review::cluster_state::Cluster;
use crate::review::skip::Skip;

/// The maximum number of servers in each setting of the sidecar.
const MOST_SERVERS: usize = 8;

/// The servers of a sidecar, each kind in order of preference.
pub(super) struct Servers {
    /// The upstream servers.
    pub(crate) upstream: Vec<SocketAddr>,
    /// The backup servers, for while the upstream does not answer; they may know other names.
    pub(crate) backup_upstream: Vec<SocketAddr>,
    /// The shared tier, which is queried first; empty if none is used.
    pub(crate) shared_tier: Vec<SocketAddr>,
}

/// The servers for a pod with these `dnsConfig.nameservers`.
pub(super) fn servers(
    base: Base,
    own_nameservers: &[&str],
    cluster: &Cluster,
    settings: &Settings,
) -> Result<Servers, Skip> {
    let upstream = settings.upstream.clone();
    let shared_tier = shared_tier(base, !upstream.is_empty(), cluster, settings);
    let [upstream, own] = upstreams(base, upstream, own_nameservers, cluster, settings)?;
    let backup = &settings.backup_upstream;
    let backup_upstream = if backup.is_empty() { own } else { backup.clone() };
    Ok(Servers { upstream, backup_upstream, shared_tier })
}

/// The upstream and the backup upstream. The first matching line applies:
///
/// | the pod | upstream | backup, unless `backup-upstream` is set |
/// |---|---|---|
/// | `upstream` | that one | none |
/// | dnsPolicy `ClusterFirst` | cluster DNS | its own nameservers, which the kubelet appends |
/// | dnsPolicy `None`, and its first nameserver is cluster DNS | its nameservers that are cluster DNS | its other nameservers |
/// | dnsPolicy `None` | its own nameservers: for resolv.conf(5) they are one service | none |
fn upstreams(
    base: Base,
    chosen: Vec<SocketAddr>,
    own_nameservers: &[&str],
    cluster: &Cluster,
    settings: &Settings,
) -> Result<[Vec<SocketAddr>; 2], Skip> {
    if !chosen.is_empty() {
        return Ok([chosen, Vec::new()]);
    }
    let own = own_nameservers.iter().filter_map(|text| text.parse::<IpAddr>().ok());
    let own = own.map(|address| SocketAddr::new(address, 53));
    let own = without_duplicates(own.filter(|server| !settings.is_own(*server)).collect());
    let is_clusters = |server: &SocketAddr| cluster.dns.contains(server);
    match base {
        Base::Cluster if cluster.dns.is_empty() => Err(Skip::ClusterDnsUnknown),
        Base::Cluster => {
            let others = own.into_iter().filter(|server| !is_clusters(server)).collect();
            Ok([cluster.dns.iter().copied().take(MOST_SERVERS).collect(), others])
        }
        Base::Own if own.is_empty() => Err(Skip::NoUsableNameserver),
        Base::Own if own.first().is_some_and(is_clusters) => {
            Ok(own.into_iter().partition(is_clusters).into())
        }
        Base::Own => Ok([own, Vec::new()]),
    }
}

/// The shared tier for the sidecar. The first matching line applies:
///
/// | the pod | the tier |
/// |---|---|
/// | `use-shared-tier: false` | none |
/// | `shared-tier` | that one |
/// | `upstream`, or dnsPolicy `None` | none: the servers were chosen explicitly |
/// | anything else | that of the cluster, if there is one |
fn shared_tier(
    base: Base,
    has_chosen_upstream: bool,
    cluster: &Cluster,
    settings: &Settings,
) -> Vec<SocketAddr> {
    let mut tier = match base {
        _ if !settings.use_shared_tier => Vec::new(),
        _ if !settings.shared_tier.is_empty() => settings.shared_tier.clone(),
        Base::Cluster if !has_chosen_upstream => {
            let known = cluster.tier_for_new_pods().iter().copied();
            known.filter(|server| !settings.is_own(*server)).collect()
        }
        Base::Cluster | Base::Own => Vec::new(),
    };
    tier.truncate(MOST_SERVERS);
    tier
}
