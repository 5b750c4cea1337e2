//! Hits in the tier's cache; and one source that floods the tier with misses next to a well-behaved source.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use hickory_proto::op::{Message, ResponseCode};
use tokio::time::sleep;

use super::{BY_TIER, failed_and_slowest, upstream};
use crate::load::closed::{Closed, Figures};
use crate::load::open::Open;
use crate::load::{Names, in_thread};
use crate::promises::{Measured, Setup};
use podlocal_harness::failure::Failure;
use podlocal_harness::loopback::proxy::Proxy;
use podlocal_harness::loopback::tier::{FREE, tier};
use podlocal_harness::loopback::upstream::Upstream;
use podlocal_harness::process::{Confined, Machine, usage};
use podlocal_harness::table::percentiles;

/// The source that looks up hot names, or a few cold ones.
const WELL_BEHAVED: Ipv4Addr = Ipv4Addr::new(127, 0, 1, 1);

/// The source that floods.
const HOSTILE: Ipv4Addr = Ipv4Addr::new(127, 0, 2, 1);

/// The core of the tier.
const TIERS: usize = 0;

/// The core of the clients and of cluster DNS.
const OURS: usize = 1;

/// The number of rounds with and without the hostile source, in turn.
const ROUNDS: usize = 5;

const ROUND: Duration = Duration::from_millis(1500);

/// The time between the start of the flood and the measurement, in which the hostile source uses up its burst
/// allowance.
const LEAD: Duration = Duration::from_millis(500);

/// The hits of two workers per second, and their CPU time.
pub(in crate::promises) async fn hot(setup: &Setup) -> Measured {
    let (_upstream, tier) = stage(setup, 2, None).await?;
    let load = warm(tier.dns).await?;
    let (machine, begin) = (Machine::now()?, usage(tier.id()?)?.cpu);
    let (mut rates, mut costs, mut busy, mut lost) = (Vec::new(), Vec::new(), Vec::new(), 0);
    for _ in 0..3 {
        let before = usage(tier.id()?)?.cpu;
        let figures = run(&load, None, Duration::from_secs(3)).await?;
        costs.push((usage(tier.id()?)?.cpu - before) * 1e6 / figures.answered.max(1) as f64);
        rates.push(figures.per_second);
        busy.push(figures.busy * 100.0);
        lost += figures.lost + figures.failed;
    }
    let others = machine.share_of_others(usage(tier.id()?)?.cpu - begin)? * 100.0;
    let [rate, cost, busy] = [rates, costs, busy].map(median);
    let result = format!(
        "{rate:.0} answers per second; {cost:.2} us of CPU for one; the load generator used {busy:.0} % of a core, other \
         programs {others:.0} % of the machine; {lost} lost"
    );
    Ok((result, true))
}

/// Measures the hot answers of the well-behaved source with and without the hostile source.
pub(in crate::promises) async fn beside(setup: &Setup, per_second: u32) -> Measured {
    let (upstream, tier) = stage(setup, 1, Some(TIERS)).await?;
    let load = warm(tier.dns).await?;
    let (mut alone, mut beside, mut busy) = (Vec::new(), Vec::new(), Vec::new());
    let (mut hostile, mut asked) = ([0; 3], 0);
    let _confined = Confined::to(OURS)?;
    let (machine, begin) = (Machine::now()?, usage(tier.id()?)?.cpu);
    for round in 0..ROUNDS {
        alone.push(run(&load, Some(OURS), ROUND).await?.per_second);
        let good = async {
            sleep(LEAD).await;
            let before = upstream.asked();
            Ok::<_, Failure>((run(&load, Some(OURS), ROUND).await?, upstream.asked() - before))
        };
        let (good, bad) = tokio::join!(good, flood(tier.dns, per_second, LEAD + ROUND, round));
        let ((good, at_upstream), bad) = (good?, bad?);
        beside.push(good.per_second);
        busy.push(good.busy * 100.0);
        hostile = std::array::from_fn(|figure| hostile[figure] + bad[figure]);
        asked += at_upstream;
    }
    let others = machine.share_of_others(usage(tier.id()?)?.cpu - begin)? * 100.0;
    let [alone, beside, busy] = [alone, beside, busy].map(median);
    let rounds = ROUND.as_secs_f64() * ROUNDS as f64;
    let flooded = rounds + LEAD.as_secs_f64() * ROUNDS as f64;
    let [sent, answered, shed] = hostile.map(|count| count as f64 / flooded);
    Ok((
        format!(
            "{beside:.0} hot answers per second with it, {alone:.0} without: {:.0} %; of its {sent:.0} queries per second \
             {answered:.0} were answered, {shed:.0} shed, {:.0} unanswered; {:.0} per second to cluster DNS; the client for \
             hot names used {busy:.0} % of a core, other programs {others:.0} % of the machine",
            beside / alone * 100.0,
            sent - answered - shed,
            asked as f64 / rounds,
        ),
        beside >= alone * 0.9,
    ))
}

/// Measures the well-behaved source when it looks up cold names.
pub(in crate::promises) async fn beside_cold(setup: &Setup) -> Measured {
    const DURATION: Duration = Duration::from_secs(10);
    let (upstream, tier) = stage(setup, 1, Some(TIERS)).await?;
    let load = Open::new(vec![(WELL_BEHAVED, tier.dns)], 1000, DURATION / 1000);
    let names = Names::new("cold")?;
    let good = in_thread(None, move || load.run(|number| names.query(number)));
    let (good, flooded) = tokio::join!(good, flood(tier.dns, 10_000, DURATION, 0));
    let (good, [sent, answered, shed]) = (good?, flooded?);
    let (failed, slowest) = failed_and_slowest(&good);
    let result = format!(
        "{} lookups, {failed} failed, slowest {slowest:.0} ms; of {sent} hostile queries {answered} were answered, {shed} shed; \
         {} to cluster DNS",
        good.len(),
        upstream.asked()
    );
    Ok((result, failed == 0))
}

async fn stage(setup: &Setup, workers: usize, core: Option<usize>) -> Result<(Upstream, Proxy), Failure> {
    let upstream = upstream(setup, BY_TIER).await?;
    let flags = ["--workers", &workers.to_string()];
    let tier = tier(&setup.programs.sidecar, FREE, upstream.address, &flags, core).await?;
    Ok((upstream, tier))
}

/// Looks up each hot name from several sources, so that no source exceeds its limits. Returns the load for the
/// hot names.
async fn warm(server: SocketAddr) -> Result<Closed, Failure> {
    const NAMES: usize = 1000;
    let sources = (1..=4).map(|number| (Ipv4Addr::new(127, 0, 3, number), server));
    let (load, names) = (Open::new(sources.collect(), NAMES, Duration::from_millis(1)), Names::new("hot")?);
    let queries = names.queries(NAMES);
    let lookups = in_thread(None, move || load.run(|number| names.query(number))).await?;
    match NAMES - lookups.iter().filter(|lookup| lookup.seen.is_answered()).count() {
        0 => Ok(Closed { source: WELL_BEHAVED, ..Closed::new(server, queries) }),
        failed => Err(Failure::new(format!("{failed} of {NAMES} names could not be made hot"))),
    }
}

async fn run(load: &Closed, core: Option<usize>, duration: Duration) -> Result<Figures, Failure> {
    let load = load.clone();
    in_thread(core, move || load.again_and_again(duration)).await
}

/// Sends queries for new names at a fixed rate, whether they are answered or not. Returns the numbers of queries,
/// of answers with NOERROR, and of those with other RCODEs.
async fn flood(
    server: SocketAddr,
    per_second: u32,
    duration: Duration,
    round: usize,
) -> Result<[usize; 3], Failure> {
    let queries = (duration.as_millis() as usize * per_second as usize) / 1000;
    let load = Open::new(vec![(HOSTILE, server); 4], queries, Duration::from_secs(1) / per_second);
    let (load, names) = (Open { timeout: Duration::from_millis(50), ..load }, Names::new("uncached")?);
    let query = move |number| names.query(round * queries + number);
    let lookups = in_thread(Some(OURS), move || load.run(query)).await?;
    let responses: Vec<_> = lookups.iter().filter_map(|lookup| lookup.seen.response.as_ref()).collect();
    let is_good = |response: &&&Message| response.metadata.response_code == ResponseCode::NoError;
    let answered = responses.iter().filter(is_good).count();
    Ok([lookups.len(), answered, responses.len() - answered])
}

fn median(values: Vec<f64>) -> f64 {
    let [median] = percentiles(values, [0.5]);
    median
}
