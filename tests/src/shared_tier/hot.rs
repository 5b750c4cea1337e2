//! Answers from the tier's cache: how many a second, and what one costs.

use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

use super::load::{Figures, Load, warm};
use super::stage::{FREE, tier};
use crate::failure::Failure;
use crate::faults::upstream::Upstream;
use crate::process::{Machine, usage};
use crate::promises::Row;

/// Names that are asked for.
pub(super) const NAMES: usize = 1000;

/// How long one round takes.
const ROUND: Duration = Duration::from_secs(3);

/// One worker alone on one core, what asks on the other.
pub(super) async fn on_one_core(program: &Path, seed: u64) -> Result<Row, Failure> {
    hot("hot-1", program, seed, 1, [Some(0), Some(1)]).await
}

/// Two workers on two cores, which they share with what asks.
pub(super) async fn on_two_cores(program: &Path, seed: u64) -> Result<Row, Failure> {
    hot("hot-2", program, seed, 2, [None, None]).await
}

/// `cores`: of the tier, and of what asks.
async fn hot(
    name: &'static str,
    program: &Path,
    seed: u64,
    workers: usize,
    cores: [Option<usize>; 2],
) -> Result<Row, Failure> {
    let upstream = Upstream::start(seed).await?;
    let tier = tier(program, FREE, upstream.address, &["--workers", &workers.to_string()], cores[0]).await?;
    warm(tier.dns, NAMES).await?;
    let load = Load::of(NAMES, tier.dns, Ipv4Addr::LOCALHOST, cores[1])?;
    let mut rounds: Vec<(Figures, f64)> = Vec::new();
    let (machine, begun) = (Machine::now()?, usage(tier.id()?)?.cpu);
    for _ in 0..3 {
        let before = usage(tier.id()?)?;
        let figures = load.run(ROUND).await?;
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
                "a core for the tier and one for who asks"
            } else {
                "on two cores that who asks shares"
            }
        ),
        result: format!(
            "median {:.0} answers a second, best {:.0}; {cost:.2} us of CPU for one; who asks took {:.0} % of a core, other programs {:.0} % \
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
