//! Compares the model of `podlocal-webhook check` with the real proxy and a cluster DNS that counts queries.

use std::net::SocketAddr;

use hickory_proto::rr::RecordType;
use podlocal_dns::expansion;
use podlocal_harness::failure::Failure;
use podlocal_harness::loopback::client::{LookupResult, ask_from};
use podlocal_harness::loopback::proxy::Proxy;
use podlocal_harness::loopback::tier::FREE;
use podlocal_harness::model::cluster_dns::{ClusterDns, World};
use podlocal_harness::programs::Programs;
use podlocal_settings::Settings;
use podlocal_settings::table;
use podlocal_settings::value::LocalNxdomain;
use podlocal_webhook::check::estimate::{Cost, EXAMPLE, cost};
use podlocal_webhook::review::dns::Expansion;
use tokio::time::{Duration, Instant, sleep};

const CLUSTER_SEARCH: [&str; 3] = ["default.svc.cluster.local", "svc.cluster.local", "cluster.local"];
const CLUSTER_AND_NODE_SEARCH: [&str; 4] =
    ["default.svc.cluster.local", "svc.cluster.local", "cluster.local", "corp.example"];

/// The time-out for queries that the proxy sends after an answer.
const DEADLINE: Duration = Duration::from_secs(5);

#[tokio::test]
async fn a_cold_lookup_costs_the_number_of_queries_in_the_model() -> Result<(), Failure> {
    use LocalNxdomain::{Full, Impossible, Off};
    let program = Programs::build_sidecar()?;
    for (search, ndots, local_nxdomain, expected) in [
        (&CLUSTER_SEARCH[..], 5, Full, Cost { direct: 8, proxied: 4 }),
        (&CLUSTER_SEARCH, 2, Full, Cost { direct: 2, proxied: 3 }),
        (&CLUSTER_SEARCH, 5, Impossible, Cost { direct: 8, proxied: 4 }),
        (&CLUSTER_SEARCH, 5, Off, Cost { direct: 8, proxied: 8 }),
        (&CLUSTER_AND_NODE_SEARCH, 5, Full, Cost { direct: 10, proxied: 6 }),
        (&CLUSTER_AND_NODE_SEARCH, 2, Full, Cost { direct: 2, proxied: 3 }),
    ] {
        let case = format!("{search:?} ndots:{ndots} {local_nxdomain:?}");
        let list: Vec<_> = search.iter().map(|domain| (*domain).to_owned()).collect();
        let settings = Settings { ndots, search: Some(list.clone()), local_nxdomain, ..Settings::defaults() };
        let model = cost(&Expansion { search: list.clone(), ndots }, &settings);
        assert_eq!(model, expected, "{case}");

        let dns = ClusterDns::start(World::example(), FREE).await?;
        look_up(dns.address(), &list, ndots).await?;
        assert_eq!(dns.counts().total(), model.direct, "{case}: {}", dns.counts());

        let dns = ClusterDns::start(World::example(), FREE).await?;
        let flags = [
            [table::NDOTS.flag(), ndots.to_string()],
            [table::SEARCH.flag(), list.join(",")],
            [table::LOCAL_NXDOMAIN.flag(), local_nxdomain.name().to_owned()],
            [table::NAMESPACE.flag(), "default".to_owned()],
        ];
        let flags: Vec<&str> = flags.iter().flatten().map(String::as_str).collect();
        let proxy = Proxy::start(&program, dns.address(), &flags).await?;
        look_up(proxy.dns, &list, ndots).await?;
        let asked = settled(&dns, model.proxied).await;
        // The model is an upper bound: when the NXDOMAIN for the first type arrives before the query for the
        // second, it answers both.
        assert!(asked <= model.proxied, "{case}: {asked}: {}", dns.counts());
        assert!(2 * asked >= model.proxied, "{case}: the model is too high: {asked}: {}", dns.counts());
    }
    Ok(())
}

/// Looks up a name like a C library (resolv.conf(5)): candidate by candidate, A and AAAA at the same time,
/// until the first that exists.
async fn look_up(server: SocketAddr, search: &[String], ndots: u8) -> Result<(), Failure> {
    for name in expansion::candidates(EXAMPLE, search, ndots.into()) {
        let ask = |record_type| ask_from([127, 0, 0, 1].into(), server, &name, record_type);
        let (v4, v6) = tokio::try_join!(ask(RecordType::A), ask(RecordType::AAAA))?;
        if [v4, v6].iter().any(LookupResult::is_answered) {
            return Ok(());
        }
    }
    panic!("{EXAMPLE} must exist");
}

/// Waits for the expected number of queries, and returns the number: the proxy asks about a namespace after
/// its answer.
async fn settled(dns: &ClusterDns, expected: u64) -> u64 {
    let end = Instant::now() + DEADLINE;
    while dns.counts().total() < expected && Instant::now() < end {
        sleep(Duration::from_millis(20)).await;
    }
    dns.counts().total()
}
