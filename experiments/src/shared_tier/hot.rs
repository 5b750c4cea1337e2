//! Hits in the tier's cache: answers per second, and CPU time per answer.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream;
use hickory_proto::rr::RecordType;

use crate::load::datagrams::{Load, SILENCE};
use crate::load::{Figures, name, questions};
use crate::promises::Row;
use podlocal_harness::failure::{Failure, WithContext};
use podlocal_harness::loopback::client::ask_from;
use podlocal_harness::loopback::tier::{FREE, tier};
use podlocal_harness::loopback::upstream::Upstream;
use podlocal_harness::process::{Machine, Pinned, usage};

/// The number of hot names.
pub(super) const NAMES: usize = 1000;

/// The prefix of the hot names.
const PREFIX: &str = "hot";

/// The duration of one round.
const ROUND: Duration = Duration::from_secs(3);

/// One worker on one core, the load generator on the other.
pub(super) async fn on_one_core(program: &Path, seed: u64) -> Result<Row, Failure> {
    hot("hot-1", program, seed, 1, [Some(0), Some(1)]).await
}

/// Two workers on two cores, which they share with the load generator.
pub(super) async fn on_two_cores(program: &Path, seed: u64) -> Result<Row, Failure> {
    hot("hot-2", program, seed, 2, [None, None]).await
}

/// `cores`: the core of the tier, and that of the load generator.
async fn hot(
    name: &'static str,
    program: &Path,
    seed: u64,
    workers: usize,
    cores: [Option<usize>; 2],
) -> Result<Row, Failure> {
    let upstream = Upstream::start(seed).await?;
    let tier = tier(program, FREE, upstream.address, &["--workers", &workers.to_string()], cores[0]).await?;
    warm(tier.dns).await?;
    let load = load(tier.dns, Ipv4Addr::LOCALHOST)?;
    let mut rounds: Vec<(Figures, f64)> = Vec::new();
    let (machine, begun) = (Machine::now()?, usage(tier.id()?)?.cpu);
    for _ in 0..3 {
        let before = usage(tier.id()?)?;
        let figures = ask(&load, cores[1], ROUND).await?;
        let cpu = usage(tier.id()?)?.cpu - before.cpu;
        rounds.push((figures, cpu * 1e6 / figures.answered.max(1) as f64));
    }
    let others = machine.share_of_others(usage(tier.id()?)?.cpu - begun)?;
    rounds.sort_by(|(one, _), (other, _)| one.per_second.total_cmp(&other.per_second));
    let [_, (median, cost), (best, _)] = rounds[..] else {
        return Err(Failure::new("there are three rounds"));
    };
    let lost: u64 = rounds.iter().map(|(figures, _)| figures.lost + figures.failed).sum();
    Ok(Row {
        name,
        what: format!(
            "{NAMES} hot names, --workers {workers}, {}; 3 rounds of 3 s",
            if cores[0].is_some() {
                "one core for the tier and one for the load generator"
            } else {
                "on two cores, shared with the load generator"
            }
        ),
        result: format!(
            "median {:.0} answers per second, best {:.0}; {cost:.2} us of CPU for one; the load generator used {:.0} % of a core, other programs {:.0} % \
             of the machine; {lost} lost",
            median.per_second,
            best.per_second,
            median.busy * 100.0,
            others * 100.0
        ),
        goal: "",
        holds: None,
    })
}

/// A load for the hot names from this source. It does not fill the cache.
pub(super) fn load(server: SocketAddr, source: Ipv4Addr) -> Result<Load, Failure> {
    Ok(Load { server, source, questions: questions(PREFIX, NAMES)?, silence: SILENCE })
}

/// Runs a load for this time, in a separate thread, on one core or on any.
pub(super) async fn ask(load: &Load, core: Option<usize>, duration: Duration) -> Result<Figures, Failure> {
    let load = load.clone();
    let asking = tokio::task::spawn_blocking(move || {
        let _pinned = core.map(Pinned::to).transpose()?;
        load.again_and_again(duration)
    });
    asking.await.with_context(|| "asking".to_owned())?
}

/// Fills the cache: looks up each name, from several sources, so that no source exceeds its limits.
pub(super) async fn warm(server: SocketAddr) -> Result<(), Failure> {
    let ask_one = |number: usize| async move {
        let source = Ipv4Addr::new(127, 0, 3, (number % 4) as u8 + 1);
        ask_from(source, server, &name(PREFIX, number), RecordType::A).await
    };
    let seen: Vec<_> = stream::iter(0..NAMES).map(ask_one).buffer_unordered(50).collect().await;
    let seen = seen.into_iter().collect::<Result<Vec<_>, _>>()?;
    match seen.iter().filter(|seen| !seen.is_answered()).count() {
        0 => Ok(()),
        failed => Err(Failure::new(format!("{failed} of {NAMES} names could not be made hot"))),
    }
}
