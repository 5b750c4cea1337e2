//! How long the webhook takes for reviews, and what it takes for them, over HTTPS.

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

use crate::admission::{Webhook, defaulted, review};
use crate::failure::{Failure, Tried};
use crate::gang::job::Job;
use crate::pod::ClusterNames;
use crate::process::usage;

/// Where it listens: on the loopback, away from what else may be there.
const ADDRESS: Ipv4Addr = Ipv4Addr::new(127, 89, 53, 1);

/// How reviews are sent.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    /// How many connections there are; each has one review under way at most.
    pub concurrent: usize,
    /// How many reviews are sent in all.
    pub reviews: usize,
    /// How many a second, spread evenly over the connections; `None`: each connection sends the next one when it has
    /// the answer to the last, so that the time of one is that of all the others.
    pub rate: Option<f64>,
}

/// What was measured.
#[derive(Debug, Serialize)]
pub struct Figures {
    /// Connections.
    pub concurrent: usize,
    /// Reviews that were answered with a patch.
    pub answered: usize,
    /// Reviews that were not.
    pub failed: usize,
    /// How many a second.
    pub per_second: f64,
    /// From the request to its answer: half of them, 99 of 100, all, in milliseconds.
    pub milliseconds: [f64; 3],
    /// CPU time of the webhook per review, in microseconds.
    pub cpu_microseconds: f64,
    /// Resident memory of the webhook before, and the most, in MiB.
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
    std::fs::create_dir_all(&folder).tried(|| format!("making {}", folder.display()))?;
    let figures = run(program, &folder, job, load, progress).await;
    std::fs::remove_dir_all(&folder).tried(|| format!("removing {}", folder.display()))?;
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
            let (mut took, mut failures) = (Vec::new(), Vec::new());
            loop {
                let number = sent.fetch_add(1, Ordering::Relaxed);
                if number >= load.reviews {
                    return (took, failures);
                }
                if let Some(rate) = load.rate {
                    sleep_until(begin + Duration::from_secs_f64(number as f64 / rate)).await;
                }
                let asked = Instant::now();
                match client.post(body.clone()).await {
                    Ok(answer) if contains(&answer, b"\"patch\"") => took.push(asked.elapsed()),
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

    let (took, failures): (Vec<_>, Vec<_>) = results.into_iter().unzip();
    let failures: Vec<_> = failures.into_iter().flatten().collect();
    if let Some(failure) = failures.first() {
        progress.println(format!("reviews: the first that failed: {failure}"));
    }
    let mut took: Vec<f64> =
        took.into_iter().flatten().map(|took: Duration| took.as_secs_f64() * 1e3).collect();
    took.sort_by(f64::total_cmp);
    Ok(Figures {
        concurrent: load.concurrent,
        answered: took.len(),
        failed: failures.len(),
        per_second: took.len() as f64 / elapsed.as_secs_f64(),
        milliseconds: [0.5, 0.99, 1.0].map(|share| percentile(&took, share)),
        cpu_microseconds: (after.cpu - before.cpu) * 1e6 / took.len().max(1) as f64,
        mebibytes: [before.resident, after.most_resident],
    })
}

/// The figures as a table.
pub fn table(rows: &[Figures]) -> String {
    let mut text =
        "connections  answered  failed  per second  p50 ms  p99 ms  max ms  CPU us  before MiB  most MiB\n"
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
