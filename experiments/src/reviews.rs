//! Measures the latency of reviews over HTTPS, and the CPU time and memory of the webhook.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use indicatif::ProgressBar;
use podlocal_harness::table::percentile;
use serde::Serialize;
use tokio::time::{Instant, sleep_until};

use podlocal_harness::failure::{Failure, WithContext};
use podlocal_harness::model::admission::{Webhook, defaulted, review};
use podlocal_harness::model::job::Job;
use podlocal_harness::model::pod::ClusterNames;
use podlocal_harness::process::usage;

/// The listen address of the webhook: an unusual one on the loopback, to avoid conflicts.
const ADDRESS: Ipv4Addr = Ipv4Addr::new(127, 89, 53, 1);

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
#[derive(Debug, Serialize)]
pub struct Figures {
    /// The number of connections.
    pub concurrent: usize,
    /// Reviews that were answered with a patch.
    pub answered: usize,
    /// Reviews without a patch.
    pub failed: usize,
    /// Reviews per second.
    pub per_second: f64,
    /// The latency at p50, p99 and the maximum, in milliseconds.
    pub milliseconds: [f64; 3],
    /// CPU time of the webhook per review, in microseconds.
    pub cpu_microseconds: f64,
    /// Resident memory of the webhook before the load, and the peak, in MiB.
    pub mebibytes: [f64; 2],
}

/// Sends reviews of a Job's pod to the webhook and measures.
pub async fn measure(
    program: &Path,
    job: &str,
    load: Load,
    progress: &ProgressBar,
) -> Result<Figures, Failure> {
    let folder = std::env::temp_dir().join(format!("podlocal-reviews-{}", std::process::id()));
    std::fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
    let figures = run(program, &folder, job, load, progress).await;
    std::fs::remove_dir_all(&folder).with_context(|| format!("removing {}", folder.display()))?;
    figures
}

async fn run(
    program: &Path,
    folder: &Path,
    job: &str,
    load: Load,
    progress: &ProgressBar,
) -> Result<Figures, Failure> {
    let names = ClusterNames {
        dns: IpAddr::from([10, 96, 0, 10]),
        zone: "cluster.local".to_owned(),
        node_searches: Vec::new(),
    };
    let webhook = Webhook::start(program, ADDRESS, &names, None, folder).await?;
    let job = Job::read(job)?;
    let body =
        review(&defaulted(job.pod(0)), job.namespace(), "00000000-0000-4000-8000-000000000000").to_string();

    let before = usage(webhook.id())?;
    let (sent, begin) = (Arc::new(AtomicUsize::new(0)), Instant::now());
    let connections = (0..load.concurrent).map(|_| {
        let (client, body) = (&webhook.client, body.clone());
        let (sent, progress) = (sent.clone(), progress.clone());
        async move {
            let (mut durations, mut failures) = (Vec::new(), Vec::new());
            loop {
                let number = sent.fetch_add(1, Ordering::Relaxed);
                if number >= load.reviews {
                    return (durations, failures);
                }
                if let Some(rate) = load.rate {
                    sleep_until(begin + Duration::from_secs_f64(number as f64 / rate)).await;
                }
                let asked = Instant::now();
                match client.post(body.clone()).await {
                    Ok(answer) if contains(&answer, b"\"patch\"") => durations.push(asked.elapsed()),
                    Ok(answer) => failures.push(Failure::new(String::from_utf8_lossy(&answer))),
                    Err(failure) => failures.push(failure),
                }
                progress.inc(1);
            }
        }
    });
    let results = join_all(connections).await;
    let elapsed = begin.elapsed();
    let after = usage(webhook.id())?;
    webhook.stop().await?;

    let (durations, failures): (Vec<_>, Vec<_>) = results.into_iter().unzip();
    let failures: Vec<_> = failures.into_iter().flatten().collect();
    if let Some(failure) = failures.first() {
        progress.println(format!("reviews: the first failure: {failure}"));
    }
    let mut durations: Vec<f64> =
        durations.into_iter().flatten().map(|duration: Duration| duration.as_secs_f64() * 1e3).collect();
    durations.sort_by(f64::total_cmp);
    Ok(Figures {
        concurrent: load.concurrent,
        answered: durations.len(),
        failed: failures.len(),
        per_second: durations.len() as f64 / elapsed.as_secs_f64(),
        milliseconds: [0.5, 0.99, 1.0].map(|share| percentile(&durations, share)),
        cpu_microseconds: (after.cpu - before.cpu) * 1e6 / durations.len().max(1) as f64,
        mebibytes: [before.resident, after.most_resident],
    })
}

/// The results as a table.
pub fn table(rows: &[Figures]) -> String {
    let mut text =
        "connections  answered  failed  per second  p50 ms  p99 ms  max ms  CPU us  before MiB  peak MiB\n"
            .to_owned();
    for row in rows {
        let [p50, p99, max] = row.milliseconds;
        let [before, most] = row.mebibytes;
        text += &format!(
            "{:>11}  {:>8}  {:>6}  {:>10.0}  {p50:>6.2}  {p99:>6.2}  {max:>6.2}  {:>6.0}  {before:>10.1}  {most:>8.1}\n",
            row.concurrent, row.answered, row.failed, row.per_second, row.cpu_microseconds
        );
    }
    text
}

fn contains(whole: &[u8], part: &[u8]) -> bool {
    whole.windows(part.len()).any(|window| window == part)
}
