//! The promises. Each prepares the programs, measures, and compares the result with its goal.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::stream::{self, FuturesUnordered};
use indicatif::ProgressBar;
use tokio::time::{interval, sleep};

use crate::promises::{Row, no_such_row};
use podlocal_harness::failure::Failure;
use podlocal_harness::loopback::client::{LookupResult, ask};
use podlocal_harness::loopback::hostile;
use podlocal_harness::loopback::proxy::Proxy;
use podlocal_harness::loopback::upstream::Upstream;
use podlocal_harness::table::percentile;

/// The names of all rows, in the order in which they run.
pub const NAMES: [&str; 11] = [
    "coalescing",
    "loss",
    "loss-both",
    "silent",
    "closed",
    "slow",
    "ranks",
    "names-1",
    "names-100",
    "million",
    "hostile",
];

/// Measures one row.
pub async fn measure(name: &str, program: &Path, seed: u64) -> Result<Row, Failure> {
    match name {
        "coalescing" => coalescing(program, seed).await,
        "loss" => loss(program, seed, "loss", [300, 0]).await,
        "loss-both" => loss(program, seed, "loss-both", [300, 300]).await,
        "silent" => outage(program, seed, "silent").await,
        "closed" => outage(program, seed, "closed").await,
        "slow" => slow(program, seed).await,
        "ranks" => ranks(program, seed).await,
        "names-1" => names(program, seed, "names-1", 1).await,
        "names-100" => names(program, seed, "names-100", 100).await,
        "million" => million(program, seed).await,
        "hostile" => hostile_packets(program, seed).await,
        _ => Err(no_such_row(name, &NAMES)),
    }
}

async fn coalescing(program: &Path, seed: u64) -> Result<Row, Failure> {
    let upstream = Upstream::start(seed).await?;
    upstream.change(|behaviour| behaviour.delay = Duration::from_millis(50));
    let proxy = Proxy::start(program, upstream.address, &[]).await?;
    let seen = together(&proxy, (0..200).map(|_| "www.example.com".to_owned())).await?;
    let (answered, asked) = (answered(&seen), upstream.asked());
    Ok(Row {
        name: "coalescing",
        what: "200 identical cold queries at the same time".to_owned(),
        result: format!("{answered} answered, {asked} queries to the upstream"),
        goal: "200 answered, 1 query to the upstream",
        holds: Some(answered == 200 && asked == 1),
    })
}

async fn loss(program: &Path, seed: u64, name: &'static str, loss: [u64; 2]) -> Result<Row, Failure> {
    let upstream = Upstream::start(seed).await?;
    upstream.change(|behaviour| behaviour.loss = loss);
    let proxy = Proxy::start(program, upstream.address, &[]).await?;
    let seen = together(&proxy, (0..50).map(|number| format!("name{number}.example.com"))).await?;
    let (answered, [median, worst]) = (answered(&seen), times(&seen, [0.5, 1.0]));
    let is_both = loss[1] > 0;
    Ok(Row {
        name,
        what: format!(
            "30 % of upstream datagrams lost{}, 50 names at the same time",
            if is_both { " each way" } else { "" }
        ),
        result: format!(
            "{answered} answered, median {median:.1} ms, worst {worst:.0} ms, {} queries to the upstream",
            upstream.asked()
        ),
        // When both directions lose datagrams, half of the answers are lost, so the median depends on chance.
        goal: if is_both {
            "50 answered, worst below 450 ms"
        } else {
            "50 answered, median below 5 ms, worst below 450 ms"
        },
        holds: Some(answered == 50 && worst < 450.0 && (is_both || median < 5.0)),
    })
}

async fn outage(program: &Path, seed: u64, name: &'static str) -> Result<Row, Failure> {
    let mut upstream = Upstream::start(seed).await?;
    upstream.change(|behaviour| behaviour.ttl = 1);
    let proxy = Proxy::start(program, upstream.address, &[]).await?;
    ask(proxy.dns, "www.example.com").await?;
    sleep(Duration::from_millis(1100)).await;
    if name == "closed" {
        upstream.close().await;
    } else {
        upstream.change(|behaviour| behaviour.is_silent = true);
    }
    let first = ask(proxy.dns, "www.example.com").await?;
    let next = ask(proxy.dns, "www.example.com").await?;
    sleep(Duration::from_millis(2300)).await;
    upstream.change(|behaviour| (behaviour.is_silent, behaviour.ttl) = (false, 60));
    if name == "closed" {
        upstream.open().await?;
    }
    let (back, mut beat) = (Instant::now(), interval(Duration::from_millis(20)));
    // A fresh answer now has a TTL of 60, an expired answer has 30.
    while ask(proxy.dns, "www.example.com").await?.ttl().is_none_or(|ttl| ttl <= 30) {
        if back.elapsed() > Duration::from_secs(10) {
            break;
        }
        beat.tick().await;
    }
    let fresh = back.elapsed().as_secs_f64() * 1000.0;
    let (first_ms, next_ms) = (first.milliseconds(), next.milliseconds());
    let are_answered = first.is_answered() && next.is_answered();
    Ok(Row {
        name,
        what: format!(
            "upstream down ({}) and the answer expired",
            if name == "closed" { "port closed" } else { "silent" }
        ),
        result: format!(
            "answered after {first_ms:.0} ms, the next after {next_ms:.1} ms; fresh {fresh:.0} ms after its return"
        ),
        goal: "answered within 450 ms, the next within 5 ms; fresh within 4 s",
        holds: Some(are_answered && first_ms <= 450.0 && next_ms <= 5.0 && fresh <= 4000.0),
    })
}

async fn slow(program: &Path, seed: u64) -> Result<Row, Failure> {
    let upstream = Upstream::start(seed).await?;
    upstream.change(|behaviour| behaviour.delay = Duration::from_secs(2));
    let proxy = Proxy::start(program, upstream.address, &[]).await?;
    let mut beat = interval(Duration::from_millis(10));
    let mut waiting = FuturesUnordered::new();
    for number in 0..1000 {
        beat.tick().await;
        let dns = proxy.dns;
        waiting.push(tokio::spawn(async move { ask(dns, &format!("name{number}.example.com")).await }));
    }
    let mut seen = Vec::new();
    while let Some(ended) = waiting.next().await {
        seen.extend(ended.into_iter().flatten());
    }
    let (answered, ratio) = (answered(&seen), upstream.asked() as f64 / 1000.0);
    let [worst] = times(&seen, [1.0]);
    Ok(Row {
        name: "slow",
        what: "upstream takes 2 s, 100 different names per second for 10 s".to_owned(),
        result: format!(
            "{answered} of 1000 answered, worst {worst:.0} ms, {ratio:.3} upstream queries per query"
        ),
        goal: "all answered, at most 1.2 upstream queries per query",
        holds: Some(answered == 1000 && ratio <= 1.2),
    })
}

async fn ranks(program: &Path, seed: u64) -> Result<Row, Failure> {
    const RANKS: usize = 100;
    let name = |rank: usize| format!("rank-{rank}.workers.web.svc.cluster.local");
    let mut missing = Vec::new();
    for patient in [false, true] {
        let upstream = Upstream::start(seed).await?;
        upstream.change(|behaviour| behaviour.missing = (0..RANKS).map(name).collect());
        let mut flags = vec!["--namespace", "web"];
        flags.extend(patient.then_some(["--wait-for-names", "*.workers"]).iter().flatten());
        let mut proxies = Vec::new();
        for _ in 0..RANKS {
            proxies.push(Proxy::start(program, upstream.address, &flags).await?);
        }
        let look_up = |(rank, proxy): (usize, &Proxy)| {
            let (dns, name) = (proxy.dns, name((rank * 37 + 1) % RANKS));
            async move { ask(dns, &name).await }
        };
        let looked_up =
            proxies.iter().enumerate().map(look_up).collect::<FuturesUnordered<_>>().collect::<Vec<_>>();
        let appearing = async {
            for _ in 0..RANKS {
                sleep(Duration::from_millis(30)).await;
                upstream.change(|behaviour| drop(behaviour.missing.pop()));
            }
        };
        let (seen, ()) = tokio::join!(looked_up, appearing);
        let seen: Vec<_> = seen.into_iter().collect::<Result<_, _>>()?;
        missing.push((seen.iter().filter(|seen| seen.is_missing()).count(), answered(&seen)));
    }
    let [without, with] = [missing[0], missing[1]];
    Ok(Row {
        name: "ranks",
        what: "100 ranks with a sidecar each look each other up while they appear over 3 s".to_owned(),
        result: format!(
            "with wait-for-names {} saw NXDOMAIN and {} an address; without {} saw NXDOMAIN",
            with.0, with.1, without.0
        ),
        goal: "none sees NXDOMAIN",
        holds: Some(with == (0, RANKS)),
    })
}

async fn names(program: &Path, seed: u64, name: &'static str, at_once: usize) -> Result<Row, Failure> {
    let upstream = Upstream::start(seed).await?;
    let proxy = Proxy::start(program, upstream.address, &[]).await?;
    let [idle, _] = proxy.memory()?;
    let answered = ask_all(&proxy, 10_000, at_once, &ProgressBar::hidden()).await?;
    let [full, most] = proxy.memory()?;
    let bytes = proxy.metric("podlocal_dns_cache_size_bytes", &[]).await?;
    Ok(Row {
        name,
        what: format!("memory idle, and with 10,000 names queried {at_once} at a time"),
        result: format!(
            "{idle:.1} MiB idle, {full:.1} MiB with {answered} names, peak {most:.1} MiB, cache {bytes} bytes"
        ),
        goal: "",
        holds: None,
    })
}

async fn million(program: &Path, seed: u64) -> Result<Row, Failure> {
    const COUNT: u64 = 1_000_000;
    let upstream = Upstream::start(seed).await?;
    let proxy = Proxy::start(program, upstream.address, &[]).await?;
    ask(proxy.dns, "hot.example.com").await?;
    let (is_over, cold) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let watch = {
        let (is_over, cold, dns, before) =
            (Arc::clone(&is_over), Arc::clone(&cold), proxy.dns, upstream.address);
        tokio::spawn(async move {
            let (mut beat, _) = (interval(Duration::from_millis(100)), before);
            let mut asked = 0_u64;
            while !is_over.load(Ordering::SeqCst) {
                beat.tick().await;
                let seen = ask(dns, "hot.example.com").await;
                asked += 1;
                // The TTL of a cached answer has decreased; a refetched answer has the full TTL.
                let is_hit = seen.is_ok_and(|seen| seen.ttl().is_some_and(|ttl| ttl < 3600 || asked < 15));
                cold.fetch_add(u64::from(!is_hit), Ordering::SeqCst);
            }
            asked
        })
    };
    let progress = ProgressBar::new(COUNT);
    let answered = ask_all(&proxy, COUNT, 100, &progress).await?;
    progress.finish_and_clear();
    is_over.store(true, Ordering::SeqCst);
    let hot = watch.await.unwrap_or_default();
    let [now, most] = proxy.memory()?;
    let bytes = proxy.metric("podlocal_dns_cache_size_bytes", &[]).await?;
    let entries = proxy.metric("podlocal_dns_cache_entries", &[]).await?;
    let cold = cold.load(Ordering::SeqCst);
    Ok(Row {
        name: "million",
        what: "a million different names, 100 at a time, and one hot name every 100 ms".to_owned(),
        result: format!(
            "{answered} answered; {now:.1} MiB, peak {most:.1} MiB; cache {bytes} bytes, {entries} answers; the hot name was a hit {} of {hot} times",
            hot - cold
        ),
        goal: "below 16 MiB in total, the hot name always a hit",
        holds: Some(most < 16.0 && cold == 0),
    })
}

async fn hostile_packets(program: &Path, seed: u64) -> Result<Row, Failure> {
    let upstream = Upstream::start(seed).await?;
    let proxy = Proxy::start(program, upstream.address, &[]).await?;
    ask(proxy.dns, "www.example.com").await?;
    let [before, _] = proxy.memory()?;
    let dns = proxy.dns;
    let is_over = Arc::new(AtomicBool::new(false));
    let normal = {
        let is_over = Arc::clone(&is_over);
        tokio::spawn(async move {
            let (mut beat, mut seen) = (interval(Duration::from_millis(50)), Vec::new());
            while !is_over.load(Ordering::SeqCst) {
                beat.tick().await;
                seen.extend(ask(dns, "www.example.com").await);
            }
            seen
        })
    };
    // Buffers grow to their limits in the first wave; memory that grows with every wave is a leak.
    let mut most = [0.0; 2];
    for wave in &mut most {
        hostile::flood(dns, 10_000).await?;
        stream::iter(0..1000).for_each_concurrent(150, |number| hostile::connect(dns, number)).await;
        [_, *wave] = proxy.memory()?;
    }
    is_over.store(true, Ordering::SeqCst);
    let seen = normal.await.unwrap_or_default();
    let (answered, panics) = (answered(&seen), proxy.metric("podlocal_dns_panics_total", &[]).await?);
    let refused = proxy.metric("podlocal_dns_limits_reached_total", &[("limit", "tcp_connections")]).await?;
    let [first, second] = most;
    Ok(Row {
        name: "hostile",
        what: "two waves of 10,000 malformed packets and 1,000 hostile TCP connections, 150 at a time"
            .to_owned(),
        result: format!(
            "{answered} of {} normal queries answered, {panics} panics, {refused} connections refused; {before:.1} MiB before, \
             at most {first:.1} MiB in the first wave and {second:.1} MiB in the second",
            seen.len()
        ),
        goal: "every normal query answered, no panic, no more memory after the second wave than after the first (within 0.5 MiB)",
        holds: Some(answered == seen.len() && panics == 0 && second < first + 0.5),
    })
}

/// Looks up all names at the same time.
async fn together(proxy: &Proxy, names: impl Iterator<Item = String>) -> Result<Vec<LookupResult>, Failure> {
    let dns = proxy.dns;
    let tasks: Vec<_> = names.map(|name| tokio::spawn(async move { ask(dns, &name).await })).collect();
    let mut seen = Vec::with_capacity(tasks.len());
    for task in tasks {
        seen.extend(task.await.into_iter().collect::<Result<Vec<_>, _>>()?);
    }
    Ok(seen)
}

/// Looks up this number of different names, some at a time. Returns the number of answered ones.
pub(crate) async fn ask_all(
    proxy: &Proxy,
    count: u64,
    at_once: usize,
    progress: &ProgressBar,
) -> Result<usize, Failure> {
    let dns = proxy.dns;
    let mut answered = 0;
    let mut asked = stream::iter(0..count)
        // Names of twelve digits in random order.
        .map(|number| async move {
            ask(
                dns,
                &format!("{:012x}.example.com", number.wrapping_mul(0x5851_f42d_4c95) & 0xffff_ffff_ffff),
            )
            .await
        })
        .buffer_unordered(at_once);
    while let Some(seen) = asked.next().await {
        answered += usize::from(seen?.is_answered());
        progress.inc(1);
    }
    Ok(answered)
}

fn answered(seen: &[LookupResult]) -> usize {
    seen.iter().filter(|seen| seen.is_answered()).count()
}

fn times<const N: usize>(seen: &[LookupResult], shares: [f64; N]) -> [f64; N] {
    let mut times: Vec<_> = seen.iter().map(LookupResult::milliseconds).collect();
    times.sort_by(f64::total_cmp);
    shares.map(|share| percentile(&times, share))
}
