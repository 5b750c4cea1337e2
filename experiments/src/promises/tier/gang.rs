//! A cold start: many sidecars send the same queries at the same time, and cluster DNS takes 100 ms. Only the
//! queries of the sidecars exist.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use futures_util::future::join_all;
use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::RecordType;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::time::timeout;

use crate::load::open::{Lookup, Open};
use crate::load::{in_thread, query};
use crate::promises::{Measured, Setup};
use podlocal_harness::failure::{Failure, WithContext};
use podlocal_harness::loopback::client::{LookupResult, connect_from, exchange};
use podlocal_harness::loopback::tier::{FREE, tier};
use podlocal_harness::model::cluster_dns::{ClusterDns, World};
use podlocal_harness::process::{datagrams_dropped, usage};
use podlocal_harness::table::percentiles;
use podlocal_harness::time::since_1970;

/// An outside name, a Service, and a name that does not exist.
const NAMES: [&str; 3] =
    ["www.example.com", "web.default.svc.cluster.local", "gone.default.svc.cluster.local"];

/// A and AAAA for each name.
const QUERIES: usize = NAMES.len() * 2;

/// The number of rounds, each with new processes. The median ignores a round that another program disturbs.
const ROUNDS: usize = 3;

/// The time after which a sidecar repeats a query over TCP; longer than the goal for the slowest answer.
const HEDGE: Duration = Duration::from_millis(300);

/// The time-out for an answer over TCP; both are the 5 s of glibc.
const TCP_TIMEOUT: Duration = Duration::from_millis(4700);

/// The figures of a round, in this order.
const FIGURES: [&str; 11] = [
    "answered",
    "ms at p50",
    "ms at p99",
    "ms for the slowest",
    "queries to cluster DNS",
    "at most for one name and type",
    "repeated over TCP",
    "datagrams dropped by the tier",
    "ms of CPU",
    "us for each query",
    "MiB at most",
];

/// `most_slowest`: the goal for the slowest answer, in milliseconds.
pub(in crate::promises) async fn measure(setup: &Setup, sidecars: usize, most_slowest: f64) -> Measured {
    let expected = sidecars * QUERIES;
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        let cluster_dns = ClusterDns::start(World::example(), FREE).await?;
        cluster_dns.set_delay(Duration::from_millis(100));
        let tier = tier(&setup.programs.sidecar, FREE, cluster_dns.address(), &[], None).await?;
        let (lookups, repeated) = look_up(tier.dns, sidecars).await?;
        let (counts, [_, memory]) = (cluster_dns.counts(), tier.memory()?);
        let cpu = usage(tier.id()?)?.cpu * 1000.0;
        let times = lookups.iter().map(|lookup| lookup.seen.milliseconds());
        let [p50, p99, slowest] = percentiles(times, [0.5, 0.99, 1.0]);
        rounds.push([
            lookups.iter().filter(|lookup| is_answered(lookup)).count() as f64,
            p50,
            p99,
            slowest,
            counts.total() as f64,
            counts.most_for_one() as f64,
            repeated as f64,
            datagrams_dropped(tier.dns.port())? as f64,
            cpu,
            cpu * 1000.0 / expected as f64,
            memory,
        ]);
    }
    let texts = FIGURES.iter().enumerate().map(|(figure, name)| {
        let values: Vec<_> = rounds.iter().map(|round| format!("{:.0}", round[figure])).collect();
        format!("{} {name}", values.join(", "))
    });
    let [slowest] = percentiles(rounds.iter().map(|round| round[3]), [0.5]);
    let are_answered_once = rounds.iter().all(|round| round[0] >= expected as f64 && round[5] <= 1.0);
    Ok((texts.collect::<Vec<_>>().join("; "), are_answered_once && slowest <= most_slowest))
}

/// Sends the queries of so many sidecars as they would: those without an answer are repeated once over TCP.
/// Returns the lookups, and the number of repeated queries.
async fn look_up(server: SocketAddr, sidecars: usize) -> Result<(Vec<Lookup>, usize), Failure> {
    // Each sidecar needs a socket, and each repeated query a connection.
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).with_context("reading a limit")?;
    setrlimit(Resource::RLIMIT_NOFILE, most, most).with_context("raising a limit")?;
    let address = |number: usize| Ipv4Addr::new(127, 1, (number / 250) as u8, (number % 250) as u8 + 1);
    let sockets: Vec<_> = (0..sidecars).map(|number| (address(number), server)).collect();
    let queries = queries()?;
    let load = Open::new(sockets.clone(), sidecars * QUERIES, Duration::ZERO);
    let (load, sent) = (Open { quiet: HEDGE, timeout: HEDGE, ..load }, queries.clone());
    let mut lookups = in_thread(None, move || load.run(|number| sent[number % QUERIES].clone())).await?;
    let unanswered = lookups.iter_mut().enumerate().filter(|(_, lookup)| lookup.seen.response.is_none());
    let repeated = unanswered.map(|(number, lookup)| {
        let (source, query) = (address(lookup.socket), &queries[number % QUERIES]);
        async move {
            let answer = timeout(TCP_TIMEOUT, over_tcp(source, server, query)).await;
            let elapsed = since_1970().saturating_sub(lookup.sent_at);
            let response =
                answer.ok().and_then(Result::ok).and_then(|answer| Message::from_vec(&answer).ok());
            lookup.seen = LookupResult { response, elapsed };
        }
    });
    let repeated = join_all(repeated).await.len();
    Ok((lookups, repeated))
}

fn queries() -> Result<Vec<Vec<u8>>, Failure> {
    let types = [RecordType::A, RecordType::AAAA];
    NAMES.into_iter().flat_map(|name| types.map(|rtype| query(0, name, rtype))).collect()
}

async fn over_tcp(source: Ipv4Addr, server: SocketAddr, query: &[u8]) -> io::Result<Vec<u8>> {
    exchange(&mut connect_from(source, server).await?, query).await
}

fn is_answered(lookup: &Lookup) -> bool {
    let rcode = lookup.seen.response.as_ref().map(|response| response.metadata.response_code);
    matches!(rcode, Some(ResponseCode::NoError | ResponseCode::NXDomain))
}

#[cfg(test)]
mod tests {
    use super::*;
    use podlocal_harness::loopback::upstream::Upstream;

    #[tokio::test(flavor = "multi_thread")]
    async fn a_client_without_an_answer_retries_over_tcp() -> Result<(), Failure> {
        let upstream = Upstream::start(1).await?;
        upstream.change(|behaviour| (behaviour.loss, behaviour.refusal) = ([1000, 0], Some(2)));
        let (lookups, repeated) = look_up(upstream.address, 10).await?;
        let refused = lookups.iter().filter(|lookup| lookup.seen.response.is_some());
        assert_eq!((refused.count(), repeated), (60, 60));
        assert!(!lookups.iter().any(is_answered), "{lookups:?}");
        Ok(())
    }
}
