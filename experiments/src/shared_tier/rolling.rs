//! Replaces the replicas of a tier under load, as a Deployment replaces its pods.

use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

use nix::sys::signal::Signal;
use tokio::time::sleep;

use super::outage::{AROUND, BY_TIER, upstream};
use super::service::Service;
use super::steady::{Steady, failed_and_slowest};
use crate::promises::Row;
use podlocal_harness::failure::Failure;
use podlocal_harness::loopback::tier::{FREE, ONE_SOURCE, sidecars, tier};

/// The time in which a replica still answers after SIGTERM, longer than the Service sends queries to it.
const LAME_DUCK: &str = "3s";

/// Replaces two replicas one after the other: a new one becomes ready, then an old one gets SIGTERM.
pub(super) async fn replaced(program: &Path, seed: u64) -> Result<Row, Failure> {
    const SIDECARS: usize = 5;
    let [behind, around] = [upstream(seed, BY_TIER).await?, upstream(seed, AROUND).await?];
    let (service, flags) = (Service::start().await?, [&["--lame-duck", LAME_DUCK][..], &ONE_SOURCE].concat());
    let mut replicas = Vec::new();
    for _ in 0..2 {
        let replica = tier(program, FREE, behind.address, &flags, None).await?;
        service.add(&replica).await?;
        replicas.push(replica);
    }
    let sidecars = sidecars(program, SIDECARS, service.address, around.address).await?;
    let servers = sidecars.iter().map(|sidecar| sidecar.dns).collect();
    let load = Steady::start(Ipv4Addr::LOCALHOST, servers, 200, "name");
    sleep(Duration::from_secs(2)).await;
    let mut codes = Vec::new();
    for old in &mut replicas {
        let new = tier(program, FREE, behind.address, &flags, None).await?;
        service.add(&new).await?;
        old.signal(Signal::SIGTERM)?;
        codes.push(old.wait_for_exit().await?);
        sleep(Duration::from_secs(1)).await;
        *old = new;
    }
    sleep(Duration::from_secs(1)).await;
    let lookups = load.end().await?;
    let (failed, slowest) = failed_and_slowest(&lookups);
    let went_around = lookups.iter().filter(|look_up| look_up.seen.address() == Some(AROUND)).count();
    let text = |code: &Option<i32>| code.map_or_else(|| "none".to_owned(), |code| code.to_string());
    Ok(Row {
        name: "rolling",
        what: format!(
            "two replicas behind a Service, {SIDECARS} sidecars, 200 different names per second; each replica is replaced, \
             with a lame duck of {LAME_DUCK}"
        ),
        result: format!(
            "{} lookups, {failed} failed, slowest {slowest:.0} ms, {went_around} answered by cluster DNS; exit codes {}",
            lookups.len(),
            codes.iter().map(text).collect::<Vec<_>>().join(" and ")
        ),
        goal: "none fails, both replicas end with 0",
        holds: Some(failed == 0 && codes.iter().all(|code| *code == Some(0))),
    })
}
