//! One source floods the tier with misses, and a well-behaved source uses it at the same time.

use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

use tokio::time::sleep;

use super::flood::Flood;
use super::hot::{NAMES, ask, load, warm};
use super::steady::{Steady, failed_and_slowest};
use crate::promises::Row;
use podlocal_harness::failure::Failure;
use podlocal_harness::loopback::proxy::Proxy;
use podlocal_harness::loopback::tier::{FREE, tier};
use podlocal_harness::loopback::upstream::Upstream;
use podlocal_harness::process::{Confined, Machine, usage};
use podlocal_harness::table::percentile;

/// The source that looks up hot names, or a few cold ones.
const WELL_BEHAVED: Ipv4Addr = Ipv4Addr::new(127, 0, 1, 1);

/// The source that floods.
const HOSTILE: Ipv4Addr = Ipv4Addr::new(127, 0, 2, 1);

/// The tier's core.
const TIERS: usize = 0;

/// The core of the clients and of cluster DNS.
const OURS: usize = 1;

/// The number of rounds with and without the hostile source, in turn.
const ROUNDS: usize = 5;

const ROUND: Duration = Duration::from_millis(1500);

/// The time between the start of the flood and the measurement, in which the hostile source uses up its burst
/// allowance.
const LEAD: Duration = Duration::from_millis(500);

/// Measures the hot answers of the well-behaved source with and without the hostile source.
pub(super) async fn beside(
    name: &'static str,
    program: &Path,
    seed: u64,
    per_second: u32,
) -> Result<Row, Failure> {
    let (upstream, tier) = stage(program, seed).await?;
    warm(tier.dns).await?;
    let load = load(tier.dns, WELL_BEHAVED)?;
    let (mut alone, mut beside, mut busy) = (Vec::new(), Vec::new(), Vec::new());
    let (mut sent, mut answered, mut shed, mut asked) = (0, 0, 0, 0);
    let _confined = Confined::to(OURS)?;
    let (machine, begun) = (Machine::now()?, usage(tier.id()?)?.cpu);
    for round in 0..ROUNDS {
        alone.push(ask(&load, Some(OURS), ROUND).await?.per_second);
        let flood = flood(&tier, per_second, seed + round as u64);
        let good = async {
            sleep(LEAD).await;
            let before = upstream.asked();
            Ok::<_, Failure>((ask(&load, Some(OURS), ROUND).await?, upstream.asked() - before))
        };
        let (good, bad) = tokio::join!(good, flood.run(LEAD + ROUND));
        let ((good, at_upstream), bad) = (good?, bad?);
        beside.push(good.per_second);
        busy.push(good.busy);
        (sent, answered, shed) = (sent + bad.sent, answered + bad.answered, shed + bad.shed);
        asked += at_upstream;
    }
    let others = machine.share_of_others(usage(tier.id()?)?.cpu - begun)?;
    let [alone, beside, busy] = [alone, beside, busy].map(|mut figures: Vec<f64>| {
        figures.sort_by(f64::total_cmp);
        percentile(&figures, 0.5)
    });
    let rounds = ROUND.as_secs_f64() * ROUNDS as f64;
    let seconds = rounds + LEAD.as_secs_f64() * ROUNDS as f64;
    Ok(Row {
        name,
        what: format!(
            "one source queries {NAMES} hot names as fast as it can, another {per_second} uncached names per second; \
             with and without it in turn, {ROUNDS} times 1.5 s; one core for the tier, one for both clients and cluster DNS"
        ),
        result: format!(
            "{beside:.0} hot answers per second with it, {alone:.0} without: {:.0} %; of its {:.0} queries per second {:.0} \
             were answered, {:.0} shed, {:.0} unanswered; {:.0} per second to cluster DNS; the client for hot names used {:.0} % of \
             a core, other programs {:.0} % of the machine",
            beside / alone * 100.0,
            sent as f64 / seconds,
            answered as f64 / seconds,
            shed as f64 / seconds,
            sent.saturating_sub(answered + shed) as f64 / seconds,
            asked as f64 / rounds,
            busy * 100.0,
            others * 100.0
        ),
        goal: "the well-behaved source keeps 90 % of its rate",
        holds: Some(beside >= alone * 0.9),
    })
}

/// Measures the well-behaved source when it looks up cold names.
pub(super) async fn beside_cold(program: &Path, seed: u64) -> Result<Row, Failure> {
    const FLOOD: u32 = 10_000;
    let (upstream, tier) = stage(program, seed).await?;
    let load = Steady::start(WELL_BEHAVED, vec![tier.dns], 100, "cold");
    let flooded = flood(&tier, FLOOD, seed).run(Duration::from_secs(10)).await?;
    let lookups = load.end().await?;
    let (failed, slowest) = failed_and_slowest(&lookups);
    Ok(Row {
        name: "hostile-cold",
        what: format!(
            "one source queries 100 cold names per second, another {FLOOD} uncached names per second; for 10 s"
        ),
        result: format!(
            "{} lookups, {failed} failed, slowest {slowest:.0} ms; of {} hostile queries {} were answered, {} shed; \
             {} to cluster DNS",
            lookups.len(),
            flooded.sent,
            flooded.answered,
            flooded.shed,
            upstream.asked()
        ),
        goal: "all lookups of the well-behaved source are answered",
        holds: Some(failed == 0),
    })
}

async fn stage(program: &Path, seed: u64) -> Result<(Upstream, Proxy), Failure> {
    let upstream = Upstream::start(seed).await?;
    upstream.change(|behaviour| behaviour.delay = Duration::from_millis(1));
    let tier = tier(program, FREE, upstream.address, &["--workers", "1"], Some(TIERS)).await?;
    Ok((upstream, tier))
}

fn flood(tier: &Proxy, per_second: u32, seed: u64) -> Flood {
    Flood { server: tier.dns, source: HOSTILE, per_second, core: Some(OURS), seed }
}
