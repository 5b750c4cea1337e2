//! A shared tier between sidecars and cluster DNS.
//!
//! ```text
//!   gang       a cold start: many sidecars send the same queries at the same time
//!   hostile    hits in the tier's cache; one source floods the tier with misses next to a well-behaved source
//! ```

pub(super) mod gang;
pub(super) mod hostile;

use std::net::Ipv4Addr;
use std::time::Duration;

use nix::sys::signal::Signal;
use tokio::time::sleep;

use super::sidecar::ask_all;
use super::{Measured, Setup};
use crate::load::open::{Lookup, Open};
use crate::load::{Names, in_thread};
use podlocal_harness::failure::Failure;
use podlocal_harness::loopback::client::LookupResult;
use podlocal_harness::loopback::tier::{FREE, ONE_SOURCE, own_port, sidecars, tier};
use podlocal_harness::loopback::upstream::Upstream;
use podlocal_harness::time::since_1970;

/// The addresses that cluster DNS answers to the tier, and to a sidecar that bypasses the tier. So each
/// lookup shows its way.
const BY_TIER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const AROUND: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);

/// The tier is down under load for 4 s, and returns at the same address.
pub(super) async fn outage(setup: &Setup, is_killed: bool) -> Measured {
    const SIDECARS: usize = 20;
    const PER_SECOND: u32 = 400;
    let [behind, around] = [upstream(setup, BY_TIER).await?, upstream(setup, AROUND).await?];
    let (address, program) = (own_port(setup.seed)?, &setup.programs.sidecar);
    let mut replica = tier(program, address, behind.address, &ONE_SOURCE, None).await?;
    let sidecars = sidecars(program, SIDECARS, address, around.address).await?;
    let sockets = sidecars.iter().map(|sidecar| (Ipv4Addr::LOCALHOST, sidecar.dns)).collect();
    // The last 12 s are longer than the goal for using the tier again.
    let load = Open::new(sockets, (3 + 4 + 12) * PER_SECOND as usize, Duration::from_secs(1) / PER_SECOND);
    let names = Names::new("name")?;
    let load = in_thread(None, move || load.run(|number| names.query(number)));
    let outage = async {
        sleep(Duration::from_secs(3)).await;
        replica.signal(if is_killed { Signal::SIGKILL } else { Signal::SIGSTOP })?;
        if is_killed {
            replica.wait_for_exit().await?;
        }
        sleep(Duration::from_secs(4)).await;
        if is_killed {
            replica = tier(program, address, behind.address, &ONE_SOURCE, None).await?;
        } else {
            replica.signal(Signal::SIGCONT)?;
        }
        Ok::<_, Failure>(since_1970())
    };
    let (lookups, back) = tokio::join!(load, outage);
    let (lookups, back) = (lookups?, back?);
    let (failed, slowest) = failed_and_slowest(&lookups);
    let went_around = lookups.iter().filter(|lookup| lookup.seen.address() == Some(AROUND)).count();
    let used_again = |sidecar| {
        let of_sidecar = |lookup: &&Lookup| lookup.socket == sidecar && lookup.sent_at >= back;
        let mut by_tier = lookups.iter().filter(of_sidecar);
        by_tier
            .find(|lookup| lookup.seen.address() == Some(BY_TIER))
            .map(|lookup| lookup.sent_at.saturating_sub(back))
    };
    let again: Option<Vec<Duration>> = (0..SIDECARS).map(used_again).collect();
    let last = again.and_then(|times| times.into_iter().max()).unwrap_or(Duration::MAX).as_secs_f64();
    Ok((
        format!(
            "{} lookups, {failed} failed, slowest {slowest:.0} ms, {went_around} answered by cluster DNS; {}",
            lookups.len(),
            if last > 12.0 {
                "not used again".to_owned()
            } else {
                format!("used again {last:.1} s after its return")
            }
        ),
        failed == 0 && slowest <= 450.0 && last <= 10.0,
    ))
}

pub(super) async fn memory(setup: &Setup) -> Measured {
    let upstream = upstream(setup, BY_TIER).await?;
    let flags = [&["--workers", "2"][..], &ONE_SOURCE].concat();
    let tier = tier(&setup.programs.sidecar, FREE, upstream.address, &flags, None).await?;
    let [idle, _] = tier.memory()?;
    let answered = ask_all(tier.dns, 100_000).await?;
    let [full, _] = tier.memory()?;
    let bytes = tier.metric("podlocal_dns_cache_size_bytes", &[]).await?;
    Ok((format!("{idle:.1} MiB idle, {full:.1} MiB with {answered} names, cache {bytes} bytes"), true))
}

/// A cluster DNS with a delay of one millisecond that answers every name with this address.
async fn upstream(setup: &Setup, address: Ipv4Addr) -> Result<Upstream, Failure> {
    let upstream = Upstream::start(setup.seed).await?;
    upstream.change(|behaviour| (behaviour.delay, behaviour.address) = (Duration::from_millis(1), address));
    Ok(upstream)
}

/// The number of lookups without an address, and the time of the slowest, in milliseconds.
fn failed_and_slowest(lookups: &[Lookup]) -> (usize, f64) {
    let seen = || lookups.iter().map(|lookup| &lookup.seen);
    let failed = seen().filter(|seen| !seen.is_answered()).count();
    (failed, seen().map(LookupResult::milliseconds).fold(0.0, f64::max))
}
