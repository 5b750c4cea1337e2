//! Mixed load and faults for a chosen time; samples the sidecar's memory and file descriptors, and checks
//! whether they grow.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hickory_proto::op::ResponseCode;
use serde::Serialize;
use tokio::task::JoinSet;
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::{Measured, Setup};
use crate::plot::{Axis, Chart, Line, Page};
use podlocal_harness::failure::{Failure, WithContext};
use podlocal_harness::loopback::client::ask;
use podlocal_harness::loopback::hostile;
use podlocal_harness::loopback::proxy::Proxy;
use podlocal_harness::loopback::upstream::{Behaviour, Upstream};
use podlocal_harness::programs::target_directory;

/// The duration of each of [`UPSTREAM_STATES`].
const STATE_DURATION: Duration = Duration::from_secs(15);

/// The TTL of the upstream's answers, in seconds.
const TTL: u32 = 30;

/// The number of hot names.
const HOT: u64 = 50;

/// What the upstream does in turn; `None`: its port is closed. Each fault is followed by a time without faults.
const UPSTREAM_STATES: [Option<fn(&mut Behaviour)>; 8] = [
    FINE,
    Some(|behaviour| behaviour.loss = [160, 160]),
    FINE,
    Some(|behaviour| behaviour.delay = Duration::from_millis(200)),
    FINE,
    Some(|behaviour| behaviour.is_silent = true),
    FINE,
    None,
];

const FINE: Option<fn(&mut Behaviour)> = Some(|_| ());

/// The state of the sidecar at one moment, and the results of its clients since the previous sample.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Sample {
    /// The time since the start.
    pub seconds: f64,
    /// Resident memory, in MiB.
    pub mebibytes: f64,
    /// Open descriptors.
    pub descriptors: usize,
    /// Answered queries, without SERVFAIL.
    pub answered: u64,
    /// Queries that got SERVFAIL.
    pub failed: u64,
    /// Queries without an answer within 5 s.
    pub silent: u64,
}

#[derive(Debug, Default)]
struct Counters {
    answered: AtomicU64,
    failed: AtomicU64,
    silent: AtomicU64,
    /// The number of new names so far.
    cold: AtomicU64,
}

/// Loads a sidecar, and writes every sample and their plot to cargo's target directory.
pub(super) async fn measure(setup: &Setup) -> Measured {
    let samples = run(&setup.programs.sidecar, setup.soak, setup.seed).await?;
    let file = target_directory()?.join("soak.json");
    let text = serde_json::to_string(&samples).with_context("writing the samples")?;
    std::fs::write(&file, text).with_context(|| format!("writing {}", file.display()))?;
    let plot = file.with_extension("svg");
    std::fs::write(&plot, page(&samples).svg()?).with_context(|| format!("writing {}", plot.display()))?;
    eprintln!("promises: samples and plot: {} and .svg", file.display());
    let [[early, late], [early_open, late_open]] =
        [MEBIBYTES, DESCRIPTORS].map(|quantity| most_of_halves(&samples, quantity));
    let sum = |value: fn(&Sample) -> u64| samples.iter().map(value).sum::<u64>();
    let result = format!(
        "{} minutes: at most {early:.1} MiB in the first half, {late:.1} in the second; {early_open} and {late_open} \
         descriptors; {} answered, {} SERVFAIL, {} without an answer",
        setup.soak.as_secs() / 60,
        sum(|sample| sample.answered),
        sum(|sample| sample.failed),
        sum(|sample| sample.silent)
    );
    Ok((result, is_flat(&samples)))
}

/// Loads a sidecar for a time, and returns a sample for each second.
pub async fn run(program: &Path, duration: Duration, seed: u64) -> Result<Vec<Sample>, Failure> {
    let mut upstream = Upstream::start(seed).await?;
    upstream.change(|behaviour| behaviour.ttl = TTL);
    let proxy = Proxy::start(program, upstream.address, &[]).await?;
    let counters = Arc::new(Counters::default());
    let mut load = JoinSet::new();
    for worker in 0..16 {
        load.spawn(look_up(proxy.dns, worker, Arc::clone(&counters)));
    }
    load.spawn(send_hostile_traffic(proxy.dns));

    let (start, mut samples, mut state) = (Instant::now(), Vec::new(), 0);
    let mut beat = interval(Duration::from_secs(1));
    while start.elapsed() < duration {
        beat.tick().await;
        let next = (start.elapsed().as_secs() / STATE_DURATION.as_secs()) as usize % UPSTREAM_STATES.len();
        if next != state {
            change(&mut upstream, [state, next]).await?;
            state = next;
        }
        let [mebibytes, _] = proxy.memory()?;
        let take = |counter: &AtomicU64| counter.swap(0, Ordering::Relaxed);
        samples.push(Sample {
            seconds: start.elapsed().as_secs_f64(),
            mebibytes,
            descriptors: proxy.descriptors()?,
            answered: take(&counters.answered),
            failed: take(&counters.failed),
            silent: take(&counters.silent),
        });
    }
    load.shutdown().await;
    let panics = proxy.metric("podlocal_dns_panics_total", &[]).await?;
    if panics > 0 {
        return Err(Failure::new(format!("the sidecar had {panics} panics")));
    }
    Ok(samples)
}

async fn change(upstream: &mut Upstream, [before, next]: [usize; 2]) -> Result<(), Failure> {
    if UPSTREAM_STATES[before].is_none() {
        upstream.open().await?;
    }
    match UPSTREAM_STATES[next] {
        Some(fault) => upstream.change(|behaviour| {
            *behaviour = Behaviour { ttl: TTL, ..Behaviour::default() };
            fault(behaviour);
        }),
        None => upstream.close().await,
    }
    Ok(())
}

/// Looks up two hot names, then a new one, and so on, 50 times per second.
async fn look_up(dns: SocketAddr, worker: u64, counters: Arc<Counters>) {
    let mut beat = steady(Duration::from_millis(20));
    let mut number = worker;
    loop {
        beat.tick().await;
        number += 1;
        let name = match number % 3 {
            0 => format!("cold-{}.example.com", counters.cold.fetch_add(1, Ordering::Relaxed)),
            _ => format!("hot-{}.example.com", number % HOT),
        };
        let response = ask(dns, &name).await.ok().and_then(|seen| seen.response);
        let counter = match response.map(|response| response.metadata.response_code) {
            Some(ResponseCode::ServFail) => &counters.failed,
            Some(_) => &counters.answered,
            None => &counters.silent,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

/// Ticks that a waiting client has missed are skipped, otherwise each outage would end with a flood.
fn steady(period: Duration) -> Interval {
    let mut beat = interval(period);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    beat
}

/// Sends hostile packets and opens hostile connections.
async fn send_hostile_traffic(dns: SocketAddr) {
    let mut beat = steady(Duration::from_millis(500));
    for number in 1.. {
        beat.tick().await;
        // The effect on the sidecar appears in the samples.
        let _ = hostile::flood(dns, 20).await;
        tokio::time::timeout(Duration::from_secs(2), hostile::connect(dns, number)).await.ok();
    }
}

type Quantity = fn(&Sample) -> f64;

const MEBIBYTES: Quantity = |sample| sample.mebibytes;
const DESCRIPTORS: Quantity = |sample| sample.descriptors as f64;

/// The maxima in the first and in the second half of the time.
fn most_of_halves(samples: &[Sample], quantity: Quantity) -> [f64; 2] {
    let (first, second) = samples.split_at(samples.len() / 2);
    [first, second].map(|half| half.iter().map(quantity).fold(0.0, f64::max))
}

/// Whether neither memory nor descriptors grew: the maximum of the second half exceeds that of the first by
/// at most a twentieth.
fn is_flat(samples: &[Sample]) -> bool {
    [MEBIBYTES, DESCRIPTORS].into_iter().all(|quantity| {
        let [first, second] = most_of_halves(samples, quantity);
        second <= first * 1.05
    })
}

/// Charts of memory, descriptors and the results of clients over time.
fn page(samples: &[Sample]) -> Page {
    let line = |name: &str, colour, value: &dyn Fn(&Sample) -> f64| Line {
        name: name.to_owned(),
        colour,
        points: samples.iter().map(|sample| (sample.seconds / 60.0, value(sample))).collect(),
    };
    let chart = |title: &str, y, lines| Chart {
        title: title.to_owned(),
        x: Axis::linear("minutes"),
        y: Axis::linear(y),
        lines,
    };
    let charts = vec![
        chart("Memory", "MiB", vec![line("resident", 2, &MEBIBYTES)]),
        chart("Descriptors", "open", vec![line("open", 4, &DESCRIPTORS)]),
        chart(
            "Questions",
            "per second",
            vec![
                line("answered", 3, &|sample| sample.answered as f64),
                line("SERVFAIL", 0, &|sample| sample.failed as f64),
                line("no answer", 5, &|sample| sample.silent as f64),
            ],
        ),
    ];
    let title = "A sidecar under mixed load; its upstream in turn drops, delays, is silent and is down";
    Page { title: title.to_owned(), charts }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_in_the_second_half_is_not_flat() {
        let samples = |last: f64, descriptors: usize| -> Vec<Sample> {
            let sample = |mebibytes, descriptors| Sample {
                seconds: 0.0,
                mebibytes,
                descriptors,
                answered: 1,
                failed: 0,
                silent: 0,
            };
            vec![sample(3.0, 10), sample(6.0, 20), sample(6.1, 20), sample(last, descriptors)]
        };
        assert!(is_flat(&samples(6.2, 20)));
        assert!(!is_flat(&samples(6.4, 20)));
        assert!(!is_flat(&samples(6.2, 25)));
    }
}
