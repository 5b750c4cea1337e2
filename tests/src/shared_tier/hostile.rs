//! One source asks for what nobody has, and a well-behaved one goes on beside it.

use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

use tokio::time::sleep;

use super::flood::Flood;
use super::hot::{NAMES, ask, load, warm};
use super::stage::{FREE, tier};
use super::steady::{Steady, failed_and_slowest};
use crate::failure::Failure;
use crate::faults::proxy::Proxy;
use crate::faults::upstream::Upstream;
use crate::process::{Confined, Machine, usage};
use crate::promises::Row;
use podlocal_harness::table::percentile;

/// Who asks for hot names, or for a few cold ones.
const WELL_BEHAVED: Ipv4Addr = Ipv4Addr::new(127, 0, 1, 1);

/// Who floods.
const HOSTILE: Ipv4Addr = Ipv4Addr::new(127, 0, 2, 1);

/// The tier's core.
const TIERS: usize = 0;

/// The core of who asks, and of cluster DNS.
const OURS: usize = 1;

/// With and without the hostile one in turn, so many times.
const ROUNDS: usize = 5;

const ROUND: Duration = Duration::from_millis(1500);

/// How long the hostile one has asked before its effect is measured: it has spent by then what it may ask at once.
const LEAD: Duration = Duration::from_millis(500);

/// What the well-behaved one gets of hot answers beside the hostile one, and without.
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
            "one source asks for {NAMES} hot names as fast as it can, another for {per_second} names a second that nobody has; \
             with and without in turn, {ROUNDS} times 1.5 s; a core for the tier, one for both who ask and for cluster DNS"
        ),
        result: format!(
            "{beside:.0} hot answers a second beside it, {alone:.0} without: {:.0} %; of the hostile one's {:.0} a second {:.0} \
             were answered, {:.0} shed, {:.0} got nothing; {:.0} a second at cluster DNS; who asks for hot names took {:.0} % of \
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

/// The well-behaved one asks for cold names, too.
pub(super) async fn beside_cold(program: &Path, seed: u64) -> Result<Row, Failure> {
    const FLOOD: u32 = 10_000;
    let (upstream, tier) = stage(program, seed).await?;
    let load = Steady::start(WELL_BEHAVED, vec![tier.dns], 100, "cold");
    let flooded = flood(&tier, FLOOD, seed).run(Duration::from_secs(10)).await?;
    let look_ups = load.end().await?;
    let (failed, slowest) = failed_and_slowest(&look_ups);
    Ok(Row {
        name: "hostile-cold",
        what: format!(
            "one source asks for 100 cold names a second, another for {FLOOD} that nobody has; for 10 s"
        ),
        result: format!(
            "{} look-ups, {failed} failed, slowest {slowest:.0} ms; of the hostile one's {} questions {} were answered, {} shed; \
             {} at cluster DNS",
            look_ups.len(),
            flooded.sent,
            flooded.answered,
            flooded.shed,
            upstream.asked()
        ),
        goal: "all look-ups of the well-behaved source are answered",
        holds: Some(failed == 0),
    })
}

async fn stage(program: &Path, seed: u64) -> Result<(Upstream, Proxy), Failure> {
    let upstream = Upstream::start(seed).await?;
    upstream.change(|manner| manner.delay = Duration::from_millis(1));
    let tier = tier(program, FREE, upstream.address, &["--workers", "1"], Some(TIERS)).await?;
    Ok((upstream, tier))
}

fn flood(tier: &Proxy, per_second: u32, seed: u64) -> Flood {
    Flood { server: tier.dns, source: HOSTILE, per_second, core: Some(OURS), seed }
}
