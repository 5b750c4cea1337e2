//! Answers from the tier's cache: how many a second, and what one costs.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream;

use super::stage::{FREE, tier};
use crate::failure::{Failure, Tried};
use crate::faults::client::ask_from;
use crate::faults::upstream::Upstream;
use crate::load::datagrams::Load;
use crate::load::{Figures, name, questions};
use crate::process::Pinned;
use crate::process::usage;
use crate::promises::Row;

/// Names that are asked for.
pub(super) const NAMES: usize = 1000;

/// What they begin with.
const PREFIX: &str = "hot";

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
    row: &'static str,
    program: &Path,
    seed: u64,
    workers: usize,
    cores: [Option<usize>; 2],
) -> Result<Row, Failure> {
    let upstream = Upstream::start(seed).await?;
    let tier = tier(program, FREE, upstream.address, &["--workers", &workers.to_string()], cores[0]).await?;
    warm(tier.dns, NAMES).await?;
    let load = Load { server: tier.dns, source: Ipv4Addr::LOCALHOST, questions: questions(PREFIX, NAMES)? };
    let mut rounds: Vec<(Figures, f64)> = Vec::new();
    for _ in 0..3 {
        let before = usage(tier.id()?)?;
        let load = load.clone();
        let asking = tokio::task::spawn_blocking(move || {
            let _pinned = cores[1].map(Pinned::to).transpose()?;
            load.again_and_again(ROUND)
        });
        let figures = asking.await.tried(|| "asking".to_owned())??;
        let cpu = usage(tier.id()?)?.cpu - before.cpu;
        rounds.push((figures, cpu * 1e6 / figures.answered.max(1) as f64));
    }
    rounds.sort_by(|(one, _), (other, _)| one.per_second.total_cmp(&other.per_second));
    let [_, (median, cost), (best, _)] = rounds[..] else {
        return Err(Failure::new("there are three rounds"));
    };
    let lost: u64 = rounds.iter().map(|(figures, _)| figures.lost + figures.failed).sum();
    Ok(Row {
        name: row,
        what: format!(
            "{NAMES} hot names, --workers {workers}, {}; 3 rounds of 3 s",
            if cores[0].is_some() {
                "a core for the tier and one for who asks"
            } else {
                "on two cores that who asks shares"
            }
        ),
        result: format!(
            "median {:.0} answers a second, best {:.0}; {cost:.2} us of CPU for one; who asks took {:.0} % of a core; {lost} lost",
            median.per_second,
            best.per_second,
            median.busy * 100.0
        ),
        goal: "",
        holds: None,
    })
}

/// Makes so many names hot: asks for each, from several addresses, so that no source asks for too much.
async fn warm(server: SocketAddr, names: usize) -> Result<(), Failure> {
    let ask_one = |number: usize| async move {
        let source = Ipv4Addr::new(127, 0, 3, (number % 4) as u8 + 1);
        ask_from(source, server, &name(PREFIX, number)).await
    };
    let seen: Vec<_> = stream::iter(0..names).map(ask_one).buffer_unordered(50).collect().await;
    let seen = seen.into_iter().collect::<Result<Vec<_>, _>>()?;
    match seen.iter().filter(|seen| !seen.is_answered()).count() {
        0 => Ok(()),
        failed => Err(Failure::new(format!("{failed} of {names} names could not be made hot"))),
    }
}
