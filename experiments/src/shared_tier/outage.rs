//! A tier that is killed, hangs, fails, or waits for a slow cluster DNS.

use std::net::Ipv4Addr;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use tokio::time::sleep;

use super::burst::{Asker, ask};
use super::gang::{self, questions};
use super::steady::{Steady, SteadyLookup, failed_and_slowest};
use crate::promises::Row;
use podlocal_harness::failure::Failure;
use podlocal_harness::loopback::tier::{FREE, ONE_SOURCE, own_port, sidecars, tier};
use podlocal_harness::loopback::upstream::Upstream;
use podlocal_harness::model::cluster_dns::{ClusterDns, Faults, World};
use podlocal_harness::table::percentile;

/// The addresses that cluster DNS answers to the tier, and to a sidecar that bypasses the tier. So each
/// lookup shows its way.
pub(super) const BY_TIER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
pub(super) const AROUND: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);

/// The kind of outage of the tier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// Killed: its port is closed.
    Killed,
    /// Stopped with SIGSTOP: it answers nothing.
    Stopped,
}

/// The tier is down under load for 4 s, and returns at the same address.
pub(super) async fn run_outage(
    name: &'static str,
    program: &Path,
    seed: u64,
    end: End,
    count: usize,
) -> Result<Row, Failure> {
    let [behind, around] = [upstream(seed, BY_TIER).await?, upstream(seed, AROUND).await?];
    let address = own_port(seed)?;
    let mut tier = tier(program, address, behind.address, &ONE_SOURCE, None).await?;
    let sidecars = sidecars(program, count, address, around.address).await?;
    let per_second = if count == 1 { 200 } else { 400 };
    let servers = sidecars.iter().map(|sidecar| sidecar.dns).collect();
    let load = Steady::start(Ipv4Addr::LOCALHOST, servers, per_second, "name");
    sleep(Duration::from_secs(3)).await;
    match end {
        End::Killed => {
            tier.signal(Signal::SIGKILL)?;
            tier.wait_for_exit().await?;
        }
        End::Stopped => tier.signal(Signal::SIGSTOP)?,
    }
    sleep(Duration::from_secs(4)).await;
    match end {
        End::Killed => {
            tier = podlocal_harness::loopback::tier::tier(program, address, behind.address, &ONE_SOURCE, None)
                .await?
        }
        End::Stopped => tier.signal(Signal::SIGCONT)?,
    }
    let back = Instant::now();
    // Longer than the goal for using the tier again.
    sleep(Duration::from_secs(12)).await;
    let lookups = load.end().await?;
    drop(tier);
    let (failed, slowest) = failed_and_slowest(&lookups);
    let went_around = lookups.iter().filter(|look_up| look_up.seen.address() == Some(AROUND)).count();
    let again: Option<Vec<f64>> = (0..count).map(|sidecar| used_again(&lookups, sidecar, back)).collect();
    let last = again.and_then(|seconds| seconds.into_iter().reduce(f64::max));
    Ok(Row {
        name,
        what: format!(
            "{count} sidecar{}, {per_second} different names per second; the tier is {} for 4 s",
            if count == 1 { "" } else { "s" },
            if end == End::Killed { "killed" } else { "stopped" }
        ),
        result: format!(
            "{} lookups, {failed} failed, slowest {slowest:.0} ms, {went_around} answered by cluster DNS; {}",
            lookups.len(),
            last.map_or_else(
                || "not used again".to_owned(),
                |last| format!("used again {last:.1} s after its return")
            )
        ),
        goal: "none fails, the slowest within 450 ms, used again within 10 s",
        holds: Some(failed == 0 && slowest <= 450.0 && last.is_some_and(|last| last <= 10.0)),
    })
}

/// The seconds until a sidecar used the tier again.
fn used_again(lookups: &[SteadyLookup], sidecar: usize, back: Instant) -> Option<f64> {
    let by_tier = lookups.iter().filter(|look_up| {
        look_up.sidecar == sidecar && look_up.asked_at >= back && look_up.seen.address() == Some(BY_TIER)
    });
    by_tier.map(|look_up| (look_up.asked_at - back).as_secs_f64()).reduce(f64::min)
}

/// The tier answers every query with this RCODE.
pub(super) async fn refusing(
    name: &'static str,
    program: &Path,
    seed: u64,
    refusal: u8,
) -> Result<Row, Failure> {
    const LOOKUPS: usize = 500;
    let [tier, around] = [upstream(seed, BY_TIER).await?, upstream(seed, AROUND).await?];
    tier.change(|behaviour| behaviour.refusal = Some(refusal));
    let sidecars = sidecars(program, 1, tier.address, around.address).await?;
    let load = Steady::start(Ipv4Addr::LOCALHOST, vec![sidecars[0].dns], 100, "name");
    sleep(Duration::from_secs(LOOKUPS as u64 / 100)).await;
    let lookups = load.end().await?;
    let (failed, slowest) = failed_and_slowest(&lookups);
    let mut times: Vec<_> = lookups.iter().map(|look_up| look_up.seen.milliseconds()).collect();
    times.sort_by(f64::total_cmp);
    let (at_tier, at_cluster_dns) = (tier.asked(), around.asked());
    let most = lookups.len() as u64;
    Ok(Row {
        name,
        what: format!(
            "a tier that answers {} to every query; 100 different names per second for 5 s",
            if refusal == 2 { "SERVFAIL" } else { "REFUSED" }
        ),
        result: format!(
            "{} lookups, {failed} failed, median {:.1} ms, slowest {slowest:.0} ms; {at_tier} queries to the tier, \
             {at_cluster_dns} to cluster DNS",
            lookups.len(),
            percentile(&times, 0.5)
        ),
        goal: "none fails, the slowest within 50 ms, one query to cluster DNS for each lookup and at most one to the tier",
        holds: Some(failed == 0 && slowest <= 50.0 && at_cluster_dns <= most && at_tier <= most),
    })
}

/// Cluster DNS takes 2 s, so queries that bypass the tier would make it slower.
pub(super) async fn slow_cluster_dns(program: &Path) -> Result<Row, Failure> {
    const SIDECARS: usize = 50;
    let [behind, around] = [in_two_seconds().await?, in_two_seconds().await?];
    let tier = tier(program, FREE, behind.address(), &ONE_SOURCE, None).await?;
    let sidecars = sidecars(program, SIDECARS, tier.dns, around.address()).await?;
    let asker = Ipv4Addr::LOCALHOST;
    let askers = sidecars.iter().map(|sidecar| Asker { source: asker, server: sidecar.dns }).collect();
    let seen = ask(askers, questions()?, None).await?;
    let (by_tier, by_sidecars) = (behind.counts(), around.counts());
    let expected = SIDECARS * gang::NAMES.len() * 2;
    let (answered, most) = (seen.milliseconds.len() - seen.failed, by_tier.most_for_one());
    let went_around: u64 = gang::NAMES.iter().map(|name| by_sidecars.of_name(name)).sum();
    let of_tier: u64 = gang::NAMES.iter().map(|name| by_tier.of_name(name)).sum();
    Ok(Row {
        name: "slow-cluster-dns",
        what: "cluster DNS takes 2 s; 50 sidecars get queries for 3 names, A and AAAA, at the same time"
            .to_owned(),
        result: format!(
            "{answered} of {expected} answered, slowest {:.0} ms; cluster DNS gets {of_tier} queries from the tier, at most {most} \
             for one name and type, and {went_around} from sidecars; {} probes from the tier, {} from sidecars",
            percentile(&seen.milliseconds, 1.0),
            by_tier.total() - of_tier,
            by_sidecars.total() - went_around,
        ),
        // One client sends at 0, 150, 450 and 1,050 ms, while the round-trip time is not known yet.
        goal: "all answered; for each name and type cluster DNS gets at most four queries, and none from a sidecar",
        holds: Some(answered == expected && most <= 4 && went_around == 0),
    })
}

async fn in_two_seconds() -> Result<ClusterDns, Failure> {
    let cluster_dns = ClusterDns::start(World::example(), FREE).await?;
    cluster_dns.set_faults(Faults { delay: Duration::from_secs(2), ..Faults::default() });
    Ok(cluster_dns)
}

/// A cluster DNS with a delay of one millisecond that answers every name with this address.
pub(super) async fn upstream(seed: u64, address: Ipv4Addr) -> Result<Upstream, Failure> {
    let upstream = Upstream::start(seed).await?;
    upstream.change(|behaviour| (behaviour.delay, behaviour.address) = (Duration::from_millis(1), address));
    Ok(upstream)
}
