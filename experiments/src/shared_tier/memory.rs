//! The memory of the tier: idle, with many names, and while a gang waits.

use std::path::Path;

use indicatif::ProgressBar;

use super::gang::{simulated, slow_cluster_dns};
use crate::faults::rows::ask_all;
use crate::promises::Row;
use podlocal_harness::failure::Failure;
use podlocal_harness::loopback::tier::{FREE, ONE_SOURCE, tier};
use podlocal_harness::loopback::upstream::Upstream;

/// Measures a tier with this number of workers.
pub(super) async fn of(
    name: &'static str,
    program: &Path,
    seed: u64,
    workers: usize,
) -> Result<Row, Failure> {
    const NAMES: u64 = 100_000;
    const SIDECARS: usize = 2000;
    let workers = workers.to_string();
    let upstream = Upstream::start(seed).await?;
    let flags = [&["--workers", &workers][..], &ONE_SOURCE].concat();
    let full = tier(program, FREE, upstream.address, &flags, None).await?;
    let [idle, _] = full.memory()?;
    let progress = ProgressBar::new(NAMES);
    let answered = ask_all(&full, NAMES, 100, &progress).await?;
    progress.finish_and_clear();
    let [with_names, _] = full.memory()?;
    let bytes = full.metric("podlocal_dns_cache_size_bytes", &[]).await?;

    let cluster_dns = slow_cluster_dns().await?;
    let waited_for = tier(program, FREE, cluster_dns.address(), &["--workers", &workers], None).await?;
    let seen = simulated(&waited_for, SIDECARS).await?;
    let [_, most] = waited_for.memory()?;
    Ok(Row {
        name,
        what: format!("memory with --workers {workers}: idle, with 100,000 names, while 12,000 queries wait"),
        result: format!(
            "{idle:.1} MiB idle, {with_names:.1} MiB with {answered} names, cache {bytes} bytes; at most {most:.1} MiB for a gang \
             with {} answers",
            seen.milliseconds.len()
        ),
        goal: "",
        holds: None,
    })
}
