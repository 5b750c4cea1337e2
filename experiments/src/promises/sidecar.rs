//! A sidecar in front of an upstream that drops queries, delays answers, stops and returns.

use std::net::{Ipv4Addr, SocketAddr};
use std::pin::pin;
use std::time::{Duration, Instant};

use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use tokio::time::{interval, sleep};

use super::{Measured, Setup};
use crate::load::open::Open;
use crate::load::{Names, in_thread};
use podlocal_harness::failure::Failure;
use podlocal_harness::loopback::client::{LookupResult, ask};
use podlocal_harness::loopback::proxy::Proxy;
use podlocal_harness::loopback::upstream::{Behaviour, Upstream};
use podlocal_harness::table::percentiles;

pub(super) async fn coalescing(setup: &Setup) -> Measured {
    let (upstream, proxy) = stage(setup, |behaviour| behaviour.delay = Duration::from_millis(50)).await?;
    let (answered, _) = look_up(&proxy, [200, 1], Duration::ZERO).await?;
    let asked = upstream.asked();
    Ok((format!("{answered} answered, {asked} queries to the upstream"), answered == 200 && asked == 1))
}

/// `loss`: of queries and of answers, in a thousand.
pub(super) async fn loss(setup: &Setup, loss: [u64; 2], most_median: f64) -> Measured {
    let (upstream, proxy) = stage(setup, |behaviour| behaviour.loss = loss).await?;
    let (answered, [median, worst]) = look_up(&proxy, [50, 50], Duration::ZERO).await?;
    let asked = upstream.asked();
    let result = format!(
        "{answered} answered, median {median:.1} ms, worst {worst:.0} ms, {asked} queries to the upstream"
    );
    Ok((result, answered == 50 && worst < 450.0 && median < most_median))
}

pub(super) async fn outage(setup: &Setup, is_closed: bool) -> Measured {
    let (mut upstream, proxy) = stage(setup, |behaviour| behaviour.ttl = 1).await?;
    ask(proxy.dns, "www.example.com").await?;
    sleep(Duration::from_millis(1100)).await;
    if is_closed {
        upstream.close().await;
    } else {
        upstream.change(|behaviour| behaviour.is_silent = true);
    }
    let first = ask(proxy.dns, "www.example.com").await?;
    let next = ask(proxy.dns, "www.example.com").await?;
    sleep(Duration::from_millis(2300)).await;
    upstream.change(|behaviour| (behaviour.is_silent, behaviour.ttl) = (false, 60));
    if is_closed {
        upstream.open().await?;
    }
    let (back, mut beat) = (Instant::now(), interval(Duration::from_millis(20)));
    // A fresh answer now has a TTL of 60, an expired answer has 30.
    while ask(proxy.dns, "www.example.com").await?.ttl().is_none_or(|ttl| ttl <= 30)
        && back.elapsed() <= Duration::from_secs(10)
    {
        beat.tick().await;
    }
    let fresh = back.elapsed().as_secs_f64() * 1000.0;
    let (first_ms, next_ms) = (first.milliseconds(), next.milliseconds());
    let are_answered = first.is_answered() && next.is_answered();
    Ok((
        format!(
            "answered after {first_ms:.0} ms, the next after {next_ms:.1} ms; fresh {fresh:.0} ms after its return"
        ),
        are_answered && first_ms <= 450.0 && next_ms <= 5.0 && fresh <= 4000.0,
    ))
}

pub(super) async fn slow(setup: &Setup) -> Measured {
    const NAMES: usize = 1000;
    let (upstream, proxy) = stage(setup, |behaviour| behaviour.delay = Duration::from_secs(2)).await?;
    let (answered, [_, worst]) = look_up(&proxy, [NAMES; 2], Duration::from_millis(10)).await?;
    let ratio = upstream.asked() as f64 / NAMES as f64;
    let result =
        format!("{answered} of {NAMES} answered, worst {worst:.0} ms, {ratio:.3} upstream queries per query");
    Ok((result, answered == NAMES && ratio <= 1.2))
}

pub(super) async fn million(setup: &Setup) -> Measured {
    let (_upstream, proxy) = stage(setup, |_| ()).await?;
    let mut new_names = pin!(ask_all(proxy.dns, 1_000_000));
    let (mut beat, mut hot) = (interval(Duration::from_millis(100)), Vec::new());
    let answered = loop {
        tokio::select! {
            answered = &mut new_names => break answered?,
            _ = beat.tick() => hot.push(ask(proxy.dns, "hot.example.com").await?.ttl()),
        }
    };
    // The TTL of a cached answer has decreased after a second; a refetched answer has the full TTL.
    let is_hit = |(number, ttl): &(usize, &Option<u32>)| ttl.is_some_and(|ttl| ttl < 3600 || *number < 15);
    let hits = hot.iter().enumerate().filter(is_hit).count();
    let [now, most] = proxy.memory()?;
    let bytes = proxy.metric("podlocal_dns_cache_size_bytes", &[]).await?;
    let entries = proxy.metric("podlocal_dns_cache_entries", &[]).await?;
    Ok((
        format!(
            "{answered} answered; {now:.1} MiB, peak {most:.1} MiB; cache {bytes} bytes, {entries} answers; the hot name was a \
             hit {hits} of {} times",
            hot.len()
        ),
        most < 16.0 && hits == hot.len(),
    ))
}

/// Looks up this number of different names, 100 at a time. Returns the number of answered ones.
pub(super) async fn ask_all(dns: SocketAddr, count: usize) -> Result<usize, Failure> {
    let names = Names::new("new")?;
    let look_up = |number| {
        let name = names.name(number);
        async move { ask(dns, &name).await }
    };
    let seen = stream::iter(0..count).map(look_up).buffer_unordered(100);
    seen.try_fold(0, async |answered, seen| Ok(answered + usize::from(seen.is_answered()))).await
}

/// An upstream, and a sidecar in front of it.
async fn stage(setup: &Setup, change: impl FnOnce(&mut Behaviour)) -> Result<(Upstream, Proxy), Failure> {
    let upstream = Upstream::start(setup.seed).await?;
    upstream.change(change);
    let proxy = Proxy::start(&setup.programs.sidecar, upstream.address, &[]).await?;
    Ok((upstream, proxy))
}

/// Sends this number of queries for this number of names. Returns the number of answered ones, and the median
/// and the maximum of the times in milliseconds.
async fn look_up(
    proxy: &Proxy,
    [queries, different]: [usize; 2],
    interval: Duration,
) -> Result<(usize, [f64; 2]), Failure> {
    let load = Open::new(vec![(Ipv4Addr::LOCALHOST, proxy.dns)], queries, interval);
    let names = Names::new("name")?;
    let lookups = in_thread(None, move || load.run(|number| names.query(number % different))).await?;
    let seen = || lookups.iter().map(|lookup| &lookup.seen);
    let answered = seen().filter(|seen| seen.is_answered()).count();
    Ok((answered, percentiles(seen().map(LookupResult::milliseconds), [0.5, 1.0])))
}
