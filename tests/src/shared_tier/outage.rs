//! A tier that dies, hangs, fails, or waits for a cluster DNS that is slow.

use std::net::Ipv4Addr;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use tokio::time::sleep;

use super::burst::{Asker, ask};
use super::gang::{self, questions};
use super::stage::{FREE, ONE_SOURCE, own_port, sidecars, tier};
use super::steady::{LookUp, Steady, failed_and_slowest};
use crate::cluster_dns::{ClusterDns, Faults, World};
use crate::failure::Failure;
use crate::faults::upstream::Upstream;
use crate::promises::Row;
use podlocal_harness::table::percentile;

/// What cluster DNS says to the tier, and what it says to a sidecar that goes around it: so each look-up tells which way it
/// went.
pub(super) const BY_TIER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
pub(super) const AROUND: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);

/// How the tier goes away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// Killed: its port is closed.
    Killed,
    /// Stopped: it says nothing.
    Stopped,
}

/// The tier goes away under load for 4 s, and comes back at the same address.
pub(super) async fn gone(
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
            tier.ended().await?;
        }
        End::Stopped => tier.signal(Signal::SIGSTOP)?,
    }
    sleep(Duration::from_secs(4)).await;
    match end {
        End::Killed => tier = super::stage::tier(program, address, behind.address, &ONE_SOURCE, None).await?,
        End::Stopped => tier.signal(Signal::SIGCONT)?,
    }
    let back = Instant::now();
    // Longer than it may take until the tier is used again.
    sleep(Duration::from_secs(12)).await;
    let look_ups = load.end().await?;
    drop(tier);
    let (failed, slowest) = failed_and_slowest(&look_ups);
    let went_around = look_ups.iter().filter(|look_up| look_up.seen.address() == Some(AROUND)).count();
    let again: Option<Vec<f64>> = (0..count).map(|sidecar| used_again(&look_ups, sidecar, back)).collect();
    let last = again.and_then(|seconds| seconds.into_iter().reduce(f64::max));
    Ok(Row {
        name,
        what: format!(
            "{count} sidecar{}, {per_second} different names a second; the tier is {} for 4 s",
            if count == 1 { "" } else { "s" },
            if end == End::Killed { "killed and away" } else { "stopped" }
        ),
        result: format!(
            "{} look-ups, {failed} failed, slowest {slowest:.0} ms, {went_around} answered by cluster DNS; {}",
            look_ups.len(),
            last.map_or_else(
                || "not used again".to_owned(),
                |last| format!("used again {last:.1} s after its return")
            )
        ),
        goal: "none fails, the slowest within 450 ms, used again within 10 s",
        holds: Some(failed == 0 && slowest <= 450.0 && last.is_some_and(|last| last <= 10.0)),
    })
}

/// After how many seconds a sidecar used the tier again.
fn used_again(look_ups: &[LookUp], sidecar: usize, back: Instant) -> Option<f64> {
    let by_tier = look_ups.iter().filter(|look_up| {
        look_up.sidecar == sidecar && look_up.asked_at >= back && look_up.seen.address() == Some(BY_TIER)
    });
    by_tier.map(|look_up| (look_up.asked_at - back).as_secs_f64()).reduce(f64::min)
}

/// The tier answers everything, but with that RCODE.
pub(super) async fn refusing(
    name: &'static str,
    program: &Path,
    seed: u64,
    refusal: u8,
) -> Result<Row, Failure> {
    const LOOK_UPS: usize = 500;
    let [tier, around] = [upstream(seed, BY_TIER).await?, upstream(seed, AROUND).await?];
    tier.change(|manner| manner.refusal = Some(refusal));
    let sidecars = sidecars(program, 1, tier.address, around.address).await?;
    let load = Steady::start(Ipv4Addr::LOCALHOST, vec![sidecars[0].dns], 100, "name");
    sleep(Duration::from_secs(LOOK_UPS as u64 / 100)).await;
    let look_ups = load.end().await?;
    let (failed, slowest) = failed_and_slowest(&look_ups);
    let mut times: Vec<_> = look_ups.iter().map(|look_up| look_up.seen.milliseconds()).collect();
    times.sort_by(f64::total_cmp);
    let (at_tier, at_cluster_dns) = (tier.asked(), around.asked());
    let most = look_ups.len() as u64;
    Ok(Row {
        name,
        what: format!(
            "a tier that answers {} to everything; 100 different names a second for 5 s",
            if refusal == 2 { "SERVFAIL" } else { "REFUSED" }
        ),
        result: format!(
            "{} look-ups, {failed} failed, median {:.1} ms, slowest {slowest:.0} ms; {at_tier} queries at the tier, \
             {at_cluster_dns} at cluster DNS",
            look_ups.len(),
            percentile(&times, 0.5)
        ),
        goal: "none fails, the slowest within 50 ms, one query at cluster DNS for each look-up and no more than that at the tier",
        holds: Some(failed == 0 && slowest <= 50.0 && at_cluster_dns <= most && at_tier <= most),
    })
}

/// Cluster DNS takes 2 s: who goes around the tier makes it slower.
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
        what: "cluster DNS takes 2 s; 50 sidecars are asked for 3 names, A and AAAA, at the same instant"
            .to_owned(),
        result: format!(
            "{answered} of {expected} answered, slowest {:.0} ms; cluster DNS is asked {of_tier} times by the tier, at most {most} \
             times for one name and type, and {went_around} times by sidecars; {} probes by the tier, {} by sidecars",
            percentile(&seen.milliseconds, 1.0),
            by_tier.total() - of_tier,
            by_sidecars.total() - went_around,
        ),
        // At 0, 150, 450 and 1,050 ms, while the tier does not know yet how slow it is: what one asker does.
        goal: "all answered; for each name and type cluster DNS is asked at most four times, and by no sidecar",
        holds: Some(answered == expected && most <= 4 && went_around == 0),
    })
}

async fn in_two_seconds() -> Result<ClusterDns, Failure> {
    let cluster_dns = ClusterDns::start(World::example(), FREE).await?;
    cluster_dns.set_faults(Faults { delay: Duration::from_secs(2), ..Faults::default() });
    Ok(cluster_dns)
}

/// A cluster DNS that takes a millisecond and knows every name by that address.
pub(super) async fn upstream(seed: u64, address: Ipv4Addr) -> Result<Upstream, Failure> {
    let upstream = Upstream::start(seed).await?;
    upstream.change(|manner| (manner.delay, manner.address) = (Duration::from_millis(1), address));
    Ok(upstream)
}
