//! Ranks of a gang look each other up before all of them are ready.
//!
//! The peers are endpoints of a headless Service that the test itself writes, so that it knows when each
//! becomes ready.

use std::time::Duration;

use futures_util::future::try_join_all;
use podlocal_harness::cluster::client::{Libc, Lookup, SLEEP, pod};
use podlocal_harness::cluster::dns::{OwnDns, Zone};
use podlocal_harness::cluster::namespace::Namespace;
use podlocal_harness::cluster::object;
use podlocal_harness::failure::{Failure, WithContext as _};
use podlocal_settings::names::ANNOTATION_PREFIX;
use podlocal_settings::table::{UPSTREAM, WAIT_FOR_NAMES};
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::runner::Context;

const RANKS: usize = 6;

/// The time from one rank's readiness to the next. All are ready within the wait time-out of 4 s.
const INTERVAL: Duration = Duration::from_millis(400);

pub(crate) async fn a_lookup_waits_for_a_peer_that_is_not_ready_yet(context: Context) -> Result<(), Failure> {
    let namespace = &context.namespace;
    let dns =
        OwnDns::start(namespace, Zone { name: "ranks.test", ttl: 5, addresses: &["203.0.113.1"] }).await?;
    let changed = keep_no_denials(namespace).await?;
    if changed {
        dns.restart().await?;
    }
    let spec = json!({ "clusterIP": "None", "ports": [{ "name": "mpi", "port": 2222 }] });
    namespace.apply(object("v1", "Service", "workers", &spec)).await?;
    namespace.apply(endpoints(0)).await?;
    let pods = [("glibc", Libc::Glibc, true), ("musl", Libc::Musl, true), ("impatient", Libc::Glibc, false)];
    let pods = try_join_all(pods.map(async |(name, libc, is_patient)| {
        let mut pod = pod(name, libc, &SLEEP);
        let mut annotations = json!({ format!("{ANNOTATION_PREFIX}{}", UPSTREAM.name): dns.address });
        if is_patient {
            annotations[format!("{ANNOTATION_PREFIX}{}", WAIT_FOR_NAMES.name)] = json!("*.workers");
        }
        pod["metadata"]["annotations"] = annotations;
        namespace.run(pod).await
    }))
    .await?;

    let lookups = try_join_all(pods.iter().map(|pod| look_up_all(namespace, pod)));
    let (lookups, appeared) = tokio::join!(lookups, make_ranks_ready(namespace));
    appeared?;
    let [glibc, musl, impatient] = &lookups?[..] else {
        return Err(Failure::new("three pods look names up"));
    };
    for lookups in [glibc, musl] {
        assert_eq!(lookups.len(), RANKS, "{lookups:?}");
        assert!(!lookups.iter().any(Lookup::is_failure), "{lookups:?}");
    }
    let slowest = glibc.iter().chain(musl).map(|lookup| lookup.ms).fold(0.0, f64::max);
    eprintln!("patient lookups of late peers: {} found, slowest {slowest:.0} ms", 2 * RANKS);
    // No peer was ready when the lookups started.
    assert!(impatient.iter().any(Lookup::is_failure), "{impatient:?}");
    Ok(())
}

/// Configures the separate CoreDNS, as kubeadm does, not to cache negative answers for names of the cluster.
/// Returns whether the configuration changed.
async fn keep_no_denials(namespace: &Namespace) -> Result<bool, Failure> {
    let config = namespace.get("v1", "ConfigMap", "coredns").await?;
    let corefile = config["data"]["Corefile"].as_str().unwrap_or_default();
    let changed = corefile.replacen(
        "cache 30\n",
        "cache 30 {\n           disable denial cluster.local\n        }\n",
        1,
    );
    if changed == corefile {
        return Ok(false);
    }
    namespace.patch("v1", "ConfigMap", "coredns", &json!({ "data": { "Corefile": changed } })).await?;
    Ok(true)
}

/// Looks up every rank at the same time.
async fn look_up_all(namespace: &Namespace, pod: &str) -> Result<Vec<Lookup>, Failure> {
    let script = format!("for rank in $(seq 0 {}); do getaddr 0 rank-$rank.workers & done; wait", RANKS - 1);
    let executed = namespace.exec(pod, "client", &["sh", "-c", &script]).await;
    Ok(Lookup::read_all(&executed.with_context(|| format!("looking up every rank in {pod}"))?.stdout))
}

/// Makes the ranks ready, one after another.
async fn make_ranks_ready(namespace: &Namespace) -> Result<(), Failure> {
    for ready in 1..=RANKS {
        sleep(INTERVAL).await;
        namespace.patch("discovery.k8s.io/v1", "EndpointSlice", "workers", &endpoints(ready)).await?;
    }
    Ok(())
}

/// The endpoints of the Service `workers`, of which the first `ready` are ready.
fn endpoints(ready: usize) -> Value {
    let endpoint = |rank: usize| {
        json!({
            "addresses": [format!("198.51.100.{}", rank + 1)], "hostname": format!("rank-{rank}"),
            "conditions": { "ready": rank < ready },
        })
    };
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": { "name": "workers", "labels": { "kubernetes.io/service-name": "workers" } },
        "addressType": "IPv4", "ports": [{ "name": "mpi", "port": 2222 }],
        "endpoints": (0..RANKS).map(endpoint).collect::<Vec<_>>(),
    })
}
