//! A forward zone: which server the sidecar asks for its names, and how these names resolve while that server
//! is down.
//!
//! The cluster DNS of the test has the zone as well, with another address. So the answer shows which server
//! was asked, and both count their queries.
//!
//! ```text
//!   pod --- all other names ---> cluster DNS of the test, which answers 203.0.113.1 for names of the zone
//!       \-- names of the zone -> the server of the zone, which answers 203.0.113.2
//! ```

use podlocal_harness::cluster::client::{Libc, SLEEP, pod};
use podlocal_harness::cluster::dns::{OwnDns, Zone};
use podlocal_harness::cluster::eventually;
use podlocal_harness::cluster::metrics::SIDECAR_PORT;
use podlocal_harness::cluster::namespace::Namespace;
use podlocal_harness::failure::Failure;
use podlocal_harness::metrics::sum;
use podlocal_settings::table::{FORWARD_ZONES, UPSTREAM};
use serde_json::json;

use crate::injection::assert_injected;
use crate::runner::Context;

/// The zone on its server and on cluster DNS. Its answers expire early in the outage.
const ZONE: Zone<'_> = Zone { name: "corp.test", ttl: 2, addresses: &["203.0.113.2"] };
const IN_CLUSTER_DNS: Zone<'_> = Zone { addresses: &["203.0.113.1"], ..ZONE };

/// Names of the cluster: one is resolved before the outage, the other during it.
const IN_CLUSTER: [&str; 2] =
    ["kubernetes.default.svc.cluster.local", "kube-dns.kube-system.svc.cluster.local"];

/// A name of the zone that is resolved before the outage.
const KNOWN: &str = "known.corp.test";

pub(crate) async fn names_of_a_forward_zone_are_asked_of_its_server_alone(
    context: Context,
) -> Result<(), Failure> {
    let namespace = &context.namespace;
    let elsewhere = context.namespace_with(json!({}), json!({})).await?;
    let (cluster_dns, server) =
        tokio::try_join!(OwnDns::start(namespace, IN_CLUSTER_DNS), OwnDns::start(&elsewhere, ZONE))?;
    // musl gives up after 5 s, and does not use the search list for a name with two dots.
    let mut client = pod("client", Libc::Musl, &SLEEP);
    client["metadata"]["annotations"] = json!({
        UPSTREAM.annotation(): cluster_dns.address,
        FORWARD_ZONES.annotation(): format!("{}={}", ZONE.name, server.address),
    });
    let client = namespace.run(client).await?;
    assert_injected(&namespace.pod(&client).await?);
    context.release_installation();

    let lookups = namespace.look_up(&client, &[KNOWN, IN_CLUSTER[0]]).await?;
    assert_eq!(lookups[0].addresses, ZONE.addresses, "{lookups:?}");
    assert!(!lookups[1].is_failure(), "{lookups:?}");
    assert_eq!(server.queries(".").await?, 0, "the zone's server, for names of the cluster");
    assert!(server.queries(ZONE.name).await? > 0, "names of the zone are counted");
    assert!(of_zone(namespace, &client, "forward_zone_responses_total").await? > 0.0);
    assert!(of_zone(namespace, &client, "forward_zone_server_healthy").await? > 0.0);

    server.stop().await?;
    // A server that was stopped may still answer a few queries.
    let mut names = (0..).map(|number| format!("name-{number}.{}", ZONE.name));
    let mut look_up_new = async || {
        let name = names.next().unwrap_or_default();
        Ok::<_, Failure>(namespace.look_up(&client, &[&name]).await?.swap_remove(0))
    };
    eventually("the zone is down", async || {
        look_up_new().await?;
        Ok((of_zone(namespace, &client, "forward_zone_unavailable").await? > 0.0).then_some(()))
    })
    .await?;
    let lookup = look_up_new().await?;
    assert!(lookup.is_failure(), "without its server: {lookup:?}");
    eventually("a known name of the zone is an expired answer", async || {
        let lookup = namespace.look_up(&client, &[KNOWN]).await?.swap_remove(0);
        assert_eq!(lookup.addresses, ZONE.addresses, "{lookup:?}");
        let page = namespace.cluster.scrape(&namespace.name, &client, SIDECAR_PORT).await?;
        let stale = sum(&page, "podlocal_dns_query_outcomes_total", &[("outcome", "stale")]);
        Ok((stale > 0.0).then_some(()))
    })
    .await?;
    let lookups = namespace.look_up(&client, &IN_CLUSTER).await?;
    assert!(lookups.iter().all(|lookup| !lookup.is_failure()), "{lookups:?}");

    server.start_stopped(ZONE).await?;
    eventually("names of the zone resolve again", async || {
        let lookup = look_up_new().await?;
        let is_down = of_zone(namespace, &client, "forward_zone_unavailable").await? > 0.0;
        Ok((lookup.addresses == ZONE.addresses && !is_down).then_some(()))
    })
    .await?;
    assert_eq!(cluster_dns.queries(ZONE.name).await?, 0, "cluster DNS, for names of the zone");
    Ok(())
}

/// The value of a sidecar's metric for the zone.
async fn of_zone(namespace: &Namespace, pod: &str, metric: &str) -> Result<f64, Failure> {
    let page = namespace.cluster.scrape(&namespace.name, pod, SIDECAR_PORT).await?;
    Ok(sum(&page, &format!("podlocal_dns_{metric}"), &[("zone", ZONE.name)]))
}
