//! Measures the latency of reviews over HTTPS, and the CPU time and memory of the webhook.

use std::path::Path;
use std::time::Duration;

use futures_util::stream::{self, StreamExt as _};
use tokio::time::{Instant, sleep_until};

use super::{Measured, Setup};
use podlocal_harness::failure::{Failure, WithContext};
use podlocal_harness::model::admission::{Webhook, defaulted, review};
use podlocal_harness::model::job::{DEFAULT_MANIFEST, Job};
use podlocal_harness::process::usage;
use podlocal_harness::table::percentiles;

/// What a response with a patch contains.
const PATCH: &[u8] = b"\"patch\"";

/// The load of reviews.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    /// The number of connections; each has at most one review in flight.
    pub concurrent: usize,
    /// The number of reviews.
    pub reviews: usize,
    /// Reviews per second, spread evenly; `None`: each connection sends the next review after the answer to
    /// the last, so that the latency includes the queue of the other connections.
    pub rate: Option<f64>,
}

/// The results.
#[derive(Debug)]
pub struct Figures {
    /// Reviews that were answered with a patch.
    pub answered: usize,
    /// Reviews without a patch.
    pub failed: Vec<Failure>,
    per_second: f64,
    /// The latency at p50, p99 and the maximum, in milliseconds.
    milliseconds: [f64; 3],
    /// CPU time of the webhook per review, in microseconds.
    cpu_microseconds: f64,
    /// Resident memory of the webhook before the load, and the peak, in MiB.
    pub mebibytes: [f64; 2],
}

/// Sends 20,000 reviews over 200 connections.
pub(super) async fn of_jobs(setup: &Setup, rate: Option<f64>, most_p99: f64) -> Measured {
    let load = Load { concurrent: 200, reviews: 20_000, rate };
    let Figures { answered, failed, per_second, milliseconds, cpu_microseconds, mebibytes } =
        measure(&setup.programs.webhook, load).await?;
    if let Some(failure) = failed.first() {
        eprintln!("promises: the first failure: {failure}");
    }
    let ([p50, p99, slowest], [before, most]) = (milliseconds, mebibytes);
    let result = format!(
        "{answered} answered, {} failed, {per_second:.0} per second; p50 {p50:.2} ms, p99 {p99:.2} ms, slowest \
         {slowest:.0} ms; {cpu_microseconds:.0} us of CPU for one; {before:.1} MiB before, at most {most:.1} MiB",
        failed.len()
    );
    Ok((result, failed.is_empty() && p99 <= most_p99 && most <= 20.0))
}

/// Sends reviews of a Job's pod to the webhook and measures.
pub async fn measure(program: &Path, load: Load) -> Result<Figures, Failure> {
    let folder = tempfile::tempdir().with_context("making a folder")?;
    let webhook = Webhook::start_alone(program, folder.path()).await?;
    let job = Job::read(DEFAULT_MANIFEST)?;
    let body =
        review(&defaulted(job.pod(0)), job.namespace(), "00000000-0000-4000-8000-000000000000").to_string();

    let (before, begin) = (usage(webhook.id())?, Instant::now());
    let results = stream::iter(0..load.reviews).map(|number| {
        let (client, body) = (&webhook.client, body.clone());
        async move {
            if let Some(rate) = load.rate {
                sleep_until(begin + Duration::from_secs_f64(number as f64 / rate)).await;
            }
            let asked = Instant::now();
            let answer = client.post(body).await?;
            let is_patch = answer.windows(PATCH.len()).any(|window| window == PATCH);
            let elapsed = asked.elapsed().as_secs_f64() * 1e3;
            if is_patch { Ok(elapsed) } else { Err(Failure::new(String::from_utf8_lossy(&answer))) }
        }
    });
    let results: Vec<_> = results.buffer_unordered(load.concurrent).collect().await;
    let (elapsed, after) = (begin.elapsed(), usage(webhook.id())?);
    webhook.stop().await?;
    let (milliseconds, failed): (Vec<_>, Vec<_>) = results.into_iter().partition(Result::is_ok);
    let milliseconds: Vec<f64> = milliseconds.into_iter().flatten().collect();
    let answered = milliseconds.len();
    Ok(Figures {
        answered,
        failed: failed.into_iter().filter_map(Result::err).collect(),
        per_second: answered as f64 / elapsed.as_secs_f64(),
        milliseconds: percentiles(milliseconds, [0.5, 0.99, 1.0]),
        cpu_microseconds: (after.cpu - before.cpu) * 1e6 / answered.max(1) as f64,
        mebibytes: [before.resident, after.most_resident],
    })
}
