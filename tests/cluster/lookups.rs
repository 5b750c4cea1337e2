//! Applications in injected pods resolve the same names to the same addresses as without injection, with
//! glibc and musl.
//!
//! Each C library runs twice in one namespace, once injected and once opted out by the pod's label, so that
//! both have the same search list and the same peers:
//!
//! ```text
//! glibc                StatefulSet ranks, whose pod is the peer ranks-0.ranks       injected
//! musl                 pod with a hostname below the headless Service peers         injected
//! glibc-direct, musl-direct                                                         not injected
//! ```

use std::collections::{BTreeMap, BTreeSet};

use podlocal_harness::cluster::client::{Libc, Lookup, SLEEP, pod, pod_spec};
use podlocal_harness::cluster::namespace::Namespace;
use podlocal_harness::cluster::{eventually, object};
use podlocal_harness::failure::Failure;
use podlocal_settings::names::{INJECT_DISABLED, INJECT_LABEL};
use serde_json::{Value, json};

use crate::injection::assert_injected;
use crate::runner::Context;

/// Names that exist. `NS` stands for the namespace.
const PRESENT: [&str; 21] = [
    // A Service of the pod's namespace, and one of another namespace.
    "web",
    "web.NS",
    "web.NS.svc",
    "web.NS.svc.cluster.local",
    "web.NS.svc.cluster.local.",
    "kubernetes.default",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
    // A headless Service: all pods, one by its hostname, one of a StatefulSet.
    "peers",
    "peers.NS.svc.cluster.local",
    "musl.peers",
    "musl.peers.NS",
    "musl.peers.NS.svc",
    "musl.peers.NS.svc.cluster.local",
    "ranks-0.ranks",
    "ranks-0.ranks.NS.svc.cluster.local",
    // External names, including one behind a Service of type ExternalName.
    "outside",
    "outside.NS.svc",
    "www.example.com",
    "api.example.com",
    "www.example.com.",
];

/// Names that do not exist, in the same domains.
const ABSENT: [&str; 8] = [
    "absent",
    "absent.NS",
    "absent.NS.svc.cluster.local",
    "absent.peers",
    "ranks-9.ranks.NS.svc.cluster.local",
    "web.absent.svc.cluster.local",
    "absent.example.com",
    "absent.invalid.",
];

/// The result of a lookup: the error, and the addresses without order.
type Outcome = (String, BTreeSet<String>);

pub(crate) async fn glibc_and_musl_resolve_the_same_names_as_without_injection(
    context: Context,
) -> Result<(), Failure> {
    let namespace = &context.namespace;
    create_services(namespace).await?;
    namespace.apply(ranks()).await?;
    for (name, libc) in [("musl", Libc::Musl), ("glibc-direct", Libc::Glibc), ("musl-direct", Libc::Musl)] {
        let mut pod = pod(name, libc, &SLEEP);
        pod["metadata"]["labels"] = json!({ "app": "peers" });
        if name.ends_with("direct") {
            pod["metadata"]["labels"][INJECT_LABEL] = json!(INJECT_DISABLED);
        }
        pod["spec"]["hostname"] = json!(name);
        pod["spec"]["subdomain"] = json!("peers");
        namespace.apply(pod).await?;
    }
    for name in ["ranks-0", "musl", "glibc-direct", "musl-direct"] {
        let pod = namespace.wait_until_ready(name).await?;
        if !name.ends_with("direct") {
            assert_injected(&pod);
        }
    }
    eventually("cluster DNS knows all peers", async || {
        let names = ["peers", "ranks-0.ranks"];
        let found = look_up(namespace, "musl-direct", &names).await?;
        let is_known = |name: &str, count: usize| found[name].1.len() == count;
        Ok((is_known("peers", 3) && is_known("ranks-0.ranks", 1)).then_some(()))
    })
    .await?;

    let names: Vec<_> = PRESENT.iter().chain(&ABSENT).copied().collect();
    for (injected, direct) in [("ranks-0", "glibc-direct"), ("musl", "musl-direct")] {
        let direct = look_up(namespace, direct, &names).await?;
        for (name, (error, _)) in &direct {
            assert_eq!(
                error.is_empty(),
                PRESENT.contains(&name.as_str()),
                "{name}, without injection: {error}"
            );
        }
        // The first lookup goes to the upstream, the second is a hit.
        for round in ["first", "second"] {
            let injected_found = look_up(namespace, injected, &names).await?;
            assert_eq!(injected_found, direct, "{injected}, {round} lookup");
        }
    }
    Ok(())
}

/// Uses nslookup of busybox, a client that does not use the search list.
pub(crate) async fn srv_records_of_a_service_are_passed_on(context: Context) -> Result<(), Failure> {
    let namespace = &context.namespace;
    create_services(namespace).await?;
    let pod = namespace.run(pod("client", Libc::Musl, &SLEEP)).await?;
    assert_injected(&namespace.pod(&pod).await?);
    let name = format!("_http._tcp.web.{}.svc.cluster.local", namespace.name);
    let found = namespace.exec(&pod, "client", &["nslookup", "-type=srv", &name]).await?;
    let target = format!("80 web.{}.svc.cluster.local", namespace.name);
    assert!(found.is_success && found.stdout.contains(&target), "{found:?}");
    Ok(())
}

/// Resolves names that contain `NS`, and returns the outcome of each.
async fn look_up(
    namespace: &Namespace,
    pod: &str,
    names: &[&str],
) -> Result<BTreeMap<String, Outcome>, Failure> {
    let full: Vec<_> = names.iter().map(|name| name.replace("NS", &namespace.name)).collect();
    let full: Vec<_> = full.iter().map(String::as_str).collect();
    let lookups = namespace.look_up(pod, &full).await?;
    let outcome = |lookup: Lookup| (lookup.error, lookup.addresses.into_iter().collect());
    Ok(names.iter().map(|name| (*name).to_owned()).zip(lookups.into_iter().map(outcome)).collect())
}

async fn create_services(namespace: &Namespace) -> Result<(), Failure> {
    let ports = json!([{ "name": "http", "port": 80 }]);
    let headless = |app: &str| json!({ "clusterIP": "None", "selector": { "app": app }, "ports": ports });
    for (name, spec) in [
        ("web", json!({ "ports": ports })),
        ("peers", headless("peers")),
        ("ranks", headless("ranks")),
        ("outside", json!({ "type": "ExternalName", "externalName": "www.example.com" })),
    ] {
        namespace.apply(object("v1", "Service", name, &spec)).await?;
    }
    Ok(())
}

/// A StatefulSet with one injected pod that uses glibc.
fn ranks() -> Value {
    let labels = json!({ "app": "ranks" });
    let mut spec = pod_spec(Libc::Glibc, &SLEEP);
    spec["restartPolicy"] = json!("Always");
    let template = json!({ "metadata": { "labels": labels }, "spec": spec });
    let spec = json!({ "serviceName": "ranks", "selector": { "matchLabels": labels }, "template": template });
    object("apps/v1", "StatefulSet", "ranks", &spec)
}
