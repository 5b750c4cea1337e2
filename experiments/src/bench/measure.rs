//! Measures each row for one subject: starts it, sends queries, and stops it.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::peers::find;
use super::subject::{Running, Subject};
use super::upstream::{SILENT, Upstream};
use crate::load::Names;
use crate::load::closed::{Closed, Figures};
use crate::load::open::Open;
use podlocal_harness::failure::{Failure, WithContext};
use podlocal_harness::table::percentiles;

/// The number of hot names, which are looked up repeatedly.
const HOT_NAMES: usize = 1000;

/// The prefix of the hot names.
const HOT: &str = "hot";

/// The time between two queries while the latency is measured.
const PACE: Duration = Duration::from_micros(500);

/// More misses per second than any subject can answer.
const MOST_MISSES: f64 = 200_000.0;

/// The time-out for looking up any number of names, even a million.
const WARM_UP_TIMEOUT: Duration = Duration::from_secs(300);

/// The common environment of all subjects.
#[derive(Debug)]
pub(super) struct Stage {
    pub(super) upstream: Upstream,
    /// The core of the subject.
    pub(super) core: usize,
    pub(super) turn: Duration,
    pub(super) million: bool,
}

/// One value for each measured line of the row; `None` when this subject or this run has no such value.
pub(super) type Values = Result<Vec<Option<f64>>, Failure>;

impl Stage {
    fn start(&self, subject: &Subject) -> Result<Running, Failure> {
        Running::start(subject, self.upstream.address, self.core)
    }

    /// Starts a subject and fills its cache with the hot names.
    fn start_hot(&self, subject: &Subject) -> Result<(Running, Closed), Failure> {
        let running = self.start(subject)?;
        let load = load(running.address, HOT, HOT_NAMES)?;
        warm_up(&load)?;
        Ok((running, load))
    }
}

pub(super) fn udp(stage: &Stage, subject: &Subject) -> Values {
    let (running, load) = stage.start_hot(subject)?;
    let turn = timed(&running, || load.again_and_again(stage.turn))?;
    let Figures { per_second, busy, .. } = turn.figures;
    Ok(vec![Some(per_second), turn.cost(), Some(turn.busy() * 100.0), Some(busy * 100.0)])
}

pub(super) fn dnsperf(stage: &Stage, subject: &Subject) -> Values {
    let Some(program) = find("dnsperf") else { return Ok(vec![None, None]) };
    let (running, _) = stage.start_hot(subject)?;
    let (hot, directory) = (Names::new(HOT)?, tempfile::tempdir().with_context("making a directory")?);
    let names: String = (0..HOT_NAMES).map(|number| hot.name(number) + " A\n").collect();
    let file = directory.path().join("names");
    fs::write(&file, names).with_context("writing names for dnsperf")?;
    let mut command = Command::new(program);
    let seconds = stage.turn.as_secs_f64().ceil().to_string();
    let port = running.address.port().to_string();
    let flags = ["-s 127.0.0.1 -c 24 -q 192 -T 1 -e -p", &port, "-l", &seconds, "-d"].join(" ");
    command.args(flags.split(' '));
    command.arg(&file).stdin(Stdio::null()).stderr(Stdio::null());
    let turn = timed(&running, || {
        let output = command.output().with_context("running dnsperf")?;
        let text = String::from_utf8_lossy(&output.stdout);
        let per_second = figure(&text, "Queries per second:");
        let per_second = per_second.ok_or_else(|| Failure::new(format!("dnsperf has no figure: {text}")))?;
        Ok(Figures { per_second, ..Figures::default() })
    })?;
    Ok(vec![Some(turn.figures.per_second), Some(turn.busy() * 100.0)])
}

pub(super) fn latency(stage: &Stage, subject: &Subject) -> Values {
    let (running, hot) = stage.start_hot(subject)?;
    let queries = (stage.turn.as_nanos() / PACE.as_nanos()) as usize;
    let load = Open::new(vec![(hot.source, hot.server)], queries, PACE);
    let load = Open { timeout: Duration::from_millis(500), ..load };
    let mut times = Vec::new();
    let turn = timed(&running, || {
        let lookups = load.run(|number| hot.queries[number % HOT_NAMES].clone())?;
        let answered = lookups.iter().filter(|lookup| lookup.seen.response.is_some());
        times.extend(answered.map(|lookup| lookup.seen.elapsed.as_secs_f64() * 1e6));
        Ok(Figures { answered: times.len() as u64, ..Figures::default() })
    })?;
    let unanswered = queries - times.len();
    let [median, late, latest] = percentiles(times, [0.5, 0.99, 0.999]).map(Some);
    Ok(vec![median, late, latest, turn.cost(), Some(unanswered as f64)])
}

pub(super) fn tcp(stage: &Stage, subject: &Subject) -> Values {
    let (running, load) = stage.start_hot(subject)?;
    let load = Closed { is_tcp: true, ..load };
    let turn = timed(&running, || load.again_and_again(stage.turn))?;
    let Figures { per_second, busy, .. } = turn.figures;
    Ok(vec![Some(per_second), turn.cost(), Some(busy * 100.0)])
}

pub(super) fn cold(stage: &Stage, subject: &Subject) -> Values {
    let running = stage.start(subject)?;
    #[expect(clippy::cast_sign_loss, reason = "a time is not negative")]
    let names = (stage.turn.as_secs_f64() * MOST_MISSES) as usize;
    let load = load(running.address, "cold", names)?;
    let turn = timed(&running, || load.once(stage.turn))?;
    let Figures { per_second, failed, lost, .. } = turn.figures;
    Ok(vec![Some(per_second), turn.cost(), Some((failed + lost) as f64)])
}

pub(super) fn memory(stage: &Stage, subject: &Subject) -> Values {
    const MANY: usize = 1_000_000;
    let running = stage.start(subject)?;
    let resident = || Ok(Some(running.usage()?.resident));
    let idle = resident()?;
    warm_up(&load(running.address, "some", 10_000)?)?;
    let with_names = resident()?;
    // Some peers do not finish a million names within any reasonable time.
    let are_asked = stage.million && warm_up(&load(running.address, "more", MANY)?).is_ok();
    Ok(vec![idle, with_names, if are_asked { resident()? } else { None }])
}

/// The memory of each query that waits for an upstream that was fast and is silent now.
pub(super) fn in_flight(stage: &Stage, subject: &Subject) -> Values {
    const WAITING: usize = 1000;
    let running = stage.start(subject)?;
    warm_up(&load(running.address, "warm", 10 * WAITING)?)?;
    let sending = || format!("sending {WAITING} queries");
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).with_context(sending)?;
    socket.connect(running.address).with_context(sending)?;
    let before = running.usage()?.resident;
    for question in Names::new(SILENT)?.queries(WAITING) {
        socket.send(&question).with_context(sending)?;
        #[expect(clippy::disallowed_methods, reason = "paces the queries")]
        thread::sleep(PAUSE_IN_FLIGHT);
    }
    Ok(vec![Some((running.usage()?.resident - before) * 1024.0 / WAITING as f64)])
}

/// The pause between two of the queries, so that none is lost in a full buffer.
const PAUSE_IN_FLIGHT: Duration = Duration::from_micros(200);

pub(super) fn start(stage: &Stage, subject: &Subject) -> Values {
    const STARTS: usize = 5;
    let one = |_| Ok(stage.start(subject)?.started_in.as_secs_f64() * 1000.0);
    let times = (0..STARTS).map(one).collect::<Result<Vec<f64>, Failure>>()?;
    Ok(percentiles(times, [0.5]).map(Some).to_vec())
}

pub(super) fn size(stage: &Stage, subject: &Subject) -> Values {
    const MEBIBYTE: f64 = 1024.0 * 1024.0;
    let sizes = stage.start(subject)?.sizes()?;
    let of_static = match sizes[..] {
        [program] => Some(program as f64 / MEBIBYTE),
        _ => None,
    };
    Ok(vec![of_static, Some(sizes.iter().sum::<u64>() as f64 / MEBIBYTE)])
}

fn load(server: SocketAddr, prefix: &'static str, names: usize) -> Result<Closed, Failure> {
    Ok(Closed::new(server, Names::new(prefix)?.queries(names)))
}

/// Looks up every name once. Nearly all must be answered, otherwise the next measurement would be about
/// another state.
fn warm_up(load: &Closed) -> Result<(), Failure> {
    let Figures { answered, failed, lost, .. } = load.once(WARM_UP_TIMEOUT)?;
    let names = load.queries.len() as u64;
    if answered < names - names / 100 {
        let sentence = format!(
            "of {names} names, {answered} were answered, {failed} had no address, {lost} got no answer"
        );
        return Err(Failure::new(sentence));
    }
    Ok(())
}

/// The result of a turn, and the resources that the subject used.
struct Turn {
    figures: Figures,
    /// In seconds.
    cpu: f64,
    elapsed: f64,
}

impl Turn {
    /// CPU time per answer, in microseconds.
    fn cost(&self) -> Option<f64> {
        (self.figures.answered > 0).then(|| self.cpu * 1e6 / self.figures.answered as f64)
    }

    /// The share of its core that the subject used.
    fn busy(&self) -> f64 {
        self.cpu / self.elapsed
    }
}

fn timed(running: &Running, ask: impl FnOnce() -> Result<Figures, Failure>) -> Result<Turn, Failure> {
    let (before, start) = (running.usage()?.cpu, Instant::now());
    let figures = ask()?;
    Ok(Turn { figures, elapsed: start.elapsed().as_secs_f64(), cpu: running.usage()?.cpu - before })
}

/// The number after that word in the output of a program.
fn figure(text: &str, word: &str) -> Option<f64> {
    text.lines().find_map(|line| line.trim().strip_prefix(word)?.split_whitespace().next()?.parse().ok())
}
