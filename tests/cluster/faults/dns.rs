//! Cluster DNS restarts, is down, or is too slow for its clients.

use std::time::Duration;

use futures_util::future::try_join_all;
use podlocal_harness::cluster::client::{Libc, Lookup, SLEEP, pod};
use podlocal_harness::cluster::dns::{OwnDns, Zone};
use podlocal_harness::cluster::load::{self, Load, Summary};
use podlocal_harness::failure::Failure;
use podlocal_harness::metrics::sum;
use podlocal_harness::time::now;
use tokio::time::{Instant, sleep};

use super::{NAMES, annotate, assert_none_failed};
use crate::runner::Context;

/// The duration of the outage of CoreDNS.
const OUTAGE: Duration = Duration::from_secs(45);

/// The earliest time after which a sidecar considers CoreDNS down.
const SILENCE_NOTICED: Duration = Duration::from_secs(4);

/// The time in seconds after its return within which its answers are used.
const FRESH_WITHIN: f64 = 4.0;

/// The zone before and after the fault. Its answers expire early in every fault.
const BEFORE: Zone<'_> = Zone { name: "fault.test", ttl: 5, addresses: &["203.0.113.1"] };
const AFTER: Zone<'_> = Zone { addresses: &["203.0.113.2"], ..BEFORE };

/// A gang of pods that start together; each resolves this number of different names.
///
/// With 10 millicores CoreDNS answers 35 to 60 queries per second, and glibc gives up after 10 s. These are 240
/// queries, and some 70 retransmissions; twice as many are more than CoreDNS can answer in time.
const PODS: usize = 4;
const NAMES_OF_A_POD: usize = 30;

pub(crate) async fn cached_names_resolve_during_a_45_second_outage_of_coredns(
    context: Context,
) -> Result<(), Failure> {
    let (dns, load) = stage(&context).await?;
    context.release_installation();
    let begin = now();
    dns.stop().await?;
    sleep(SILENCE_NOTICED).await;
    let (sent, counting) = (transmissions(&load).await?, Instant::now());
    sleep(OUTAGE.saturating_sub(SILENCE_NOTICED)).await;
    let (sent, seconds) = (transmissions(&load).await? - sent, counting.elapsed().as_secs_f64());
    dns.start_stopped(AFTER).await?;
    let back = now();
    sleep(Duration::from_secs_f64(FRESH_WITHIN)).await;
    let summary = load.between(begin, now()).await?;
    assert_none_failed("CoreDNS down for 45 s", summary);
    eprintln!("CoreDNS down for 45 s: the sidecar sent {sent} queries in {seconds:.1} s");
    assert!(
        sent <= seconds,
        "more than one query per second to a server that is down: {sent} in {seconds:.1} s"
    );

    let lookups = load.lookups().await?;
    let fresh = lookups.iter().find(|lookup| lookup.addresses == AFTER.addresses);
    let after = fresh.map(|lookup| lookup.at + lookup.ms / 1e3 - back);
    eprintln!("CoreDNS down for 45 s: the first fresh answer {after:.3?} s after its return");
    assert!(after.is_some_and(|after| after < FRESH_WITHIN), "{after:?}");
    let newest = lookups.iter().rev().find(|lookup| lookup.name == "name.fault.test");
    assert_eq!(newest.map(|lookup| &lookup.addresses[..]), Some(&["203.0.113.2".to_owned()][..]));
    Ok(())
}

pub(crate) async fn no_lookup_fails_while_coredns_restarts(context: Context) -> Result<(), Failure> {
    let (dns, load) = stage(&context).await?;
    context.release_installation();
    let begin = now();
    dns.restart().await?;
    sleep(Duration::from_secs(2)).await;
    assert_none_failed("CoreDNS restarted", load.between(begin, now()).await?);
    Ok(())
}

pub(crate) async fn no_lookup_fails_while_coredns_has_10_millicores(context: Context) -> Result<(), Failure> {
    let namespace = &context.namespace;
    let (dns, load) = stage(&context).await?;
    let pods = try_join_all((0..PODS).map(async |number| {
        let mut pod = pod(&format!("gang-{number}"), Libc::Glibc, &SLEEP);
        annotate(&mut pod, "upstream", &dns.address);
        namespace.run(pod).await
    }))
    .await?;
    context.release_installation();
    dns.limit_cpu("10m").await?;
    let begin = now();
    let start = begin + 2.0;
    let gang = try_join_all(pods.iter().map(async |pod| {
        let script = format!(
            "for i in $(seq {NAMES_OF_A_POD}); do getaddr {start} $i.{pod}.{} & done; wait",
            BEFORE.name
        );
        namespace.exec(pod, "client", &["sh", "-c", &script]).await
    }))
    .await?;
    let lookups: Vec<Lookup> = gang.iter().flat_map(|executed| Lookup::read_all(&executed.stdout)).collect();
    let summary = Summary::between(&lookups, begin, now());
    eprintln!(
        "CoreDNS with 10 millicores, the gang: {summary}; CoreDNS restarted {} times",
        dns.restarts().await?
    );
    assert_eq!((summary.lookups, summary.failed), (PODS * NAMES_OF_A_POD, 0), "{summary}");
    // Without the sidecar, glibc sends each query again after 5 s.
    let queries = dns.queries(BEFORE.name).await?;
    eprintln!("CoreDNS with 10 millicores: {queries} queries of type A for {} names", PODS * NAMES_OF_A_POD);
    assert!(queries <= 2 * (PODS * NAMES_OF_A_POD) as u64, "{queries} queries of type A");
    assert_none_failed("CoreDNS with 10 millicores", load.between(begin, now()).await?);
    Ok(())
}

/// The number of queries that the sidecar of the load has sent upstream; queries in flight are not counted.
async fn transmissions(load: &Load) -> Result<f64, Failure> {
    let text = load.scrape().await?;
    Ok(sum(&text, "podlocal_dns_upstream_attempts_total", &[]))
}

/// A separate CoreDNS, and a load that uses it.
async fn stage(context: &Context) -> Result<(OwnDns, Load), Failure> {
    let dns = OwnDns::start(&context.namespace, BEFORE).await?;
    let mut pod = load::pod(Libc::Glibc, &[&NAMES[..], &["name.fault.test"]].concat());
    annotate(&mut pod, "upstream", &dns.address);
    let load = Load::start(&context.namespace, pod).await?;
    Ok((dns, load))
}
