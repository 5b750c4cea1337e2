//! A cold start: many sidecars ask the same at the same instant, and cluster DNS takes 100 ms.

use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

use hickory_proto::rr::RecordType;

use super::burst::{Asker, Seen, ask};
use super::stage::{FREE, sidecar, tier};
use crate::cluster_dns::{ClusterDns, Faults, World};
use crate::failure::Failure;
use crate::faults::proxy::Proxy;
use crate::gang::table::percentile;
use crate::load::batch::question;
use crate::process::datagrams_dropped;
use crate::promises::Row;

/// A name outside, a Service, and one that does not exist.
pub(super) const NAMES: [&str; 3] =
    ["www.example.com", "web.default.svc.cluster.local", "gone.default.svc.cluster.local"];

/// How long cluster DNS takes for an answer.
const DELAY: Duration = Duration::from_millis(100);

/// What the slowest answer may take.
const SLOWEST: f64 = 150.0;

/// As a sidecar that has no answer asks again.
const HEDGE: Duration = Duration::from_millis(300);

const GOAL: &str =
    "cluster DNS is asked once for each name and type, all answered, the slowest within 150 ms";

/// 100 sidecars as processes, each asked by its application.
pub(super) async fn of_sidecars(program: &Path) -> Result<Row, Failure> {
    const SIDECARS: usize = 100;
    let cluster_dns = slow_cluster_dns().await?;
    let tier = tier(program, FREE, cluster_dns.address(), &[], None).await?;
    let mut sidecars = Vec::with_capacity(SIDECARS);
    for _ in 0..SIDECARS {
        sidecars.push(sidecar(program, tier.dns, cluster_dns.address()).await?);
    }
    let ask_own = |sidecar: &Proxy| Asker { source: Ipv4Addr::LOCALHOST, server: sidecar.dns };
    let seen = ask(sidecars.iter().map(ask_own).collect(), questions()?, None).await?;
    let what = "100 sidecars with a tier, all cold, are asked for 3 names, A and AAAA, at the same instant";
    row("gang-100", what, SIDECARS, &seen, &cluster_dns, &tier)
}

/// 2,000 sidecars, of which there is no more than their questions.
pub(super) async fn of_simulated_sidecars(program: &Path) -> Result<Row, Failure> {
    let cluster_dns = slow_cluster_dns().await?;
    let tier = tier(program, FREE, cluster_dns.address(), &[], None).await?;
    let seen = simulated(&tier).await?;
    let what = "2,000 simulated sidecars, each from an address of its own, ask a cold tier for 3 names, A and AAAA, \
                at the same instant";
    row("gang-2000", what, SIMULATED, &seen, &cluster_dns, &tier)
}

const SIMULATED: usize = 2000;

/// The questions of 2,000 sidecars, asked as they ask.
pub(super) async fn simulated(tier: &Proxy) -> Result<Seen, Failure> {
    let own_address = |number: usize| Ipv4Addr::new(127, 1, (number / 250) as u8, (number % 250) as u8 + 1);
    let askers = (0..SIMULATED).map(|number| Asker { source: own_address(number), server: tier.dns });
    ask(askers.collect(), questions()?, Some(HEDGE)).await
}

/// A cluster DNS that takes its time.
pub(super) async fn slow_cluster_dns() -> Result<ClusterDns, Failure> {
    let cluster_dns = ClusterDns::start(World::example(), FREE).await?;
    cluster_dns.set_faults(Faults { delay: DELAY, ..Faults::default() });
    Ok(cluster_dns)
}

/// A and AAAA of each name; the id of each is its place.
pub(super) fn questions() -> Result<Vec<Vec<u8>>, Failure> {
    let types = [RecordType::A, RecordType::AAAA];
    let asked = NAMES.into_iter().flat_map(|name| types.map(|record_type| (name, record_type)));
    (0..).zip(asked).map(|(id, (name, record_type))| question(id, name, record_type)).collect()
}

fn row(
    name: &'static str,
    what: &str,
    askers: usize,
    seen: &Seen,
    cluster_dns: &ClusterDns,
    tier: &Proxy,
) -> Result<Row, Failure> {
    let (counts, expected) = (cluster_dns.counts(), askers * NAMES.len() * 2);
    let [median, late, slowest] = [0.5, 0.99, 1.0].map(|share| percentile(&seen.milliseconds, share));
    let answered = seen.milliseconds.len();
    Ok(Row {
        name,
        what: what.to_owned(),
        result: format!(
            "{answered} of {expected} answered, {} of them SERVFAIL; p50 {median:.0} ms, p99 {late:.0} ms, slowest {slowest:.0} ms; \
             {} queries at cluster DNS, at most {} for one name and type; sent within {:.0} ms, {} asked again by TCP, {} \
             datagrams dropped by the tier",
            seen.failed,
            counts.total(),
            counts.most_for_one(),
            seen.sending.as_secs_f64() * 1000.0,
            seen.again,
            datagrams_dropped(tier.dns.port())?,
        ),
        goal: GOAL,
        holds: Some(
            answered == expected && seen.failed == 0 && counts.most_for_one() == 1 && slowest <= SLOWEST,
        ),
    })
}
