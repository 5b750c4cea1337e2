//! A cold start: many sidecars send the same queries at the same time, and cluster DNS takes 100 ms.

use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

use hickory_proto::rr::RecordType;

use super::burst::{Asker, BurstResult, ask};
use crate::load::batch::question;
use crate::promises::Row;
use podlocal_harness::failure::Failure;
use podlocal_harness::loopback::proxy::Proxy;
use podlocal_harness::loopback::tier::{FREE, ONE_SOURCE, sidecars, tier};
use podlocal_harness::model::cluster_dns::{ClusterDns, Faults, World};
use podlocal_harness::process::{datagrams_dropped, usage};
use podlocal_harness::table::percentile;

/// An outside name, a Service, and a name that does not exist.
pub(super) const NAMES: [&str; 3] =
    ["www.example.com", "web.default.svc.cluster.local", "gone.default.svc.cluster.local"];

/// The delay of cluster DNS.
const DELAY: Duration = Duration::from_millis(100);

/// The goal for the slowest answer, in milliseconds.
const SLOWEST: f64 = 150.0;

/// The same for so many queries that the receive buffers of one replica overflow: the queries over TCP that
/// follow are answered before glibc repeats a query.
const SLOWEST_AFTER_OVERFLOW: f64 = 5000.0;

/// The retransmission time of a sidecar.
const HEDGE: Duration = Duration::from_millis(300);

/// 100 sidecars as processes, each with a client.
pub(super) async fn of_sidecars(program: &Path) -> Result<Row, Failure> {
    const SIDECARS: usize = 100;
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        let cluster_dns = slow_cluster_dns().await?;
        let tier = tier(program, FREE, cluster_dns.address(), &ONE_SOURCE, None).await?;
        let sidecars = sidecars(program, SIDECARS, tier.dns, cluster_dns.address()).await?;
        let ask_own = |sidecar: &Proxy| Asker { source: Ipv4Addr::LOCALHOST, server: sidecar.dns };
        let seen = ask(sidecars.iter().map(ask_own).collect(), questions()?, None).await?;
        rounds.push(Round::of(seen, &cluster_dns, &tier)?);
    }
    let what = "100 cold sidecars with a cold tier get queries for 3 names, A and AAAA, at the same time";
    Ok(row("gang-100", what, SIDECARS, SLOWEST, &rounds))
}

/// So many simulated sidecars, of which only the queries exist.
pub(super) async fn of_simulated_sidecars(
    name: &'static str,
    program: &Path,
    sidecars: usize,
) -> Result<Row, Failure> {
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        let cluster_dns = slow_cluster_dns().await?;
        let tier = tier(program, FREE, cluster_dns.address(), &[], None).await?;
        rounds.push(Round::of(simulated(&tier, sidecars).await?, &cluster_dns, &tier)?);
    }
    let what = format!(
        "{sidecars} simulated sidecars, each with its own address, query a cold tier for 3 names, A and AAAA, at the same \
         time"
    );
    let slowest = if sidecars > 2000 { SLOWEST_AFTER_OVERFLOW } else { SLOWEST };
    Ok(row(name, &what, sidecars, slowest, &rounds))
}

/// The number of rounds, each with new processes. The median ignores a round that another program disturbs.
const ROUNDS: usize = 3;

/// Sends the queries of so many sidecars as they would.
pub(super) async fn simulated(tier: &Proxy, sidecars: usize) -> Result<BurstResult, Failure> {
    let own_address = |number: usize| Ipv4Addr::new(127, 1, (number / 250) as u8, (number % 250) as u8 + 1);
    let askers = (0..sidecars).map(|number| Asker { source: own_address(number), server: tier.dns });
    ask(askers.collect(), questions()?, Some(HEDGE)).await
}

/// A cluster DNS with a delay.
pub(super) async fn slow_cluster_dns() -> Result<ClusterDns, Failure> {
    let cluster_dns = ClusterDns::start(World::example(), FREE).await?;
    cluster_dns.set_faults(Faults { delay: DELAY, ..Faults::default() });
    Ok(cluster_dns)
}

/// A and AAAA queries for each name; the id of a query is its index.
pub(super) fn questions() -> Result<Vec<Vec<u8>>, Failure> {
    let types = [RecordType::A, RecordType::AAAA];
    let asked = NAMES.into_iter().flat_map(|name| types.map(|record_type| (name, record_type)));
    (0..).zip(asked).map(|(id, (name, record_type))| question(id, name, record_type)).collect()
}

/// The results of one gang, and the load of cluster DNS.
struct Round {
    seen: BurstResult,
    /// Queries to cluster DNS: in total, and the maximum for one name and type.
    queries: [u64; 2],
    /// Datagrams that the tier's sockets dropped.
    dropped: u64,
    /// User and system time of the tier since its start, in milliseconds; the resolution is 10 ms.
    cpu: f64,
}

impl Round {
    fn of(seen: BurstResult, cluster_dns: &ClusterDns, tier: &Proxy) -> Result<Self, Failure> {
        let counts = cluster_dns.counts();
        let queries = [counts.total(), counts.most_for_one()];
        let (dropped, cpu) = (datagrams_dropped(tier.dns.port())?, usage(tier.id()?)?.cpu * 1000.0);
        Ok(Self { seen, queries, dropped, cpu })
    }

    fn at(&self, share: f64) -> f64 {
        percentile(&self.seen.milliseconds, share)
    }
}

fn row(name: &'static str, what: &str, askers: usize, most: f64, rounds: &[Round]) -> Row {
    let expected = askers * NAMES.len() * 2;
    let answered = |round: &Round| round.seen.milliseconds.len() - round.seen.failed;
    let of_each = |figure: &dyn Fn(&Round) -> f64| {
        let figures: Vec<_> = rounds.iter().map(|round| format!("{:.0}", figure(round))).collect();
        figures.join(", ")
    };
    let mut slowest: Vec<_> = rounds.iter().map(|round| round.at(1.0)).collect();
    slowest.sort_by(f64::total_cmp);
    let are_answered = rounds.iter().all(|round| answered(round) == expected);
    let are_asked_once = rounds.iter().all(|round| round.queries[1] == 1);
    Row {
        name,
        what: format!("{what}; {} rounds", rounds.len()),
        result: format!(
            "{} of {expected} answered; p50 {} ms, p99 {} ms, slowest {} ms; {} queries to cluster DNS, at most {} for one name \
             and type; sent within {} ms, {} repeated over TCP, {} datagrams dropped by the tier, which used {} ms of CPU, \
             {} us for each query",
            of_each(&|round| answered(round) as f64),
            of_each(&|round| round.at(0.5)),
            of_each(&|round| round.at(0.99)),
            of_each(&|round| round.at(1.0)),
            of_each(&|round| round.queries[0] as f64),
            of_each(&|round| round.queries[1] as f64),
            of_each(&|round| round.seen.sending.as_secs_f64() * 1000.0),
            of_each(&|round| round.seen.again as f64),
            of_each(&|round| round.dropped as f64),
            of_each(&|round| round.cpu),
            of_each(&|round| round.cpu * 1000.0 / expected as f64),
        ),
        goal: if most == SLOWEST {
            "one query to cluster DNS for each name and type, all answered, the slowest within 150 ms (median of the rounds)"
        } else {
            "one query to cluster DNS for each name and type, all answered, the slowest within 5 s (median of the rounds)"
        },
        holds: Some(are_answered && are_asked_once && percentile(&slowest, 0.5) <= most),
    }
}
