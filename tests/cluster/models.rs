//! Compares the models that are used by tests without a cluster with the real cluster.
//!
//! | model | used by | compared |
//! |---|---|---|
//! | kubelet and node (`harness/src/model/pod`, `harness/src/model/node`) | `cargo test`, `gang` | resolv.conf, hosts, lookups, queries |
//! | API server of pods (`harness/src/model/admission`) | the same | every field that it stores, warnings |
//! | cluster DNS (`harness/src/model/cluster_dns`) | the same | results of lookups, the number of queries |

use std::time::Duration;

use podlocal_harness::cluster::client::{Libc, SLEEP, pod};
use podlocal_harness::cluster::coredns::CoreDns;
use podlocal_harness::cluster::dns::{OwnDns, Zone};
use podlocal_harness::cluster::namespace::Namespace;
use podlocal_harness::cluster::{eventually, name_of, object};
use podlocal_harness::command;
use podlocal_harness::failure::{Failure, WithContext as _};
use podlocal_harness::model::comparison::{DNS, Outcome, POD, PodScenario, Scenario, lookup_result};
use podlocal_harness::programs::{Programs, build};
use podlocal_settings::names::{CONTAINER_NAME, INJECT_DISABLED, INJECT_ENABLED, INJECT_LABEL};
use serde_json::{Value, json};
use tokio::process::Command;
use tokio::time::sleep;

use crate::runner::Context;

/// The zone of the separate CoreDNS. No client asks for its names.
const UNUSED: Zone<'_> = Zone { name: "models.test", ttl: 30, addresses: &["203.0.113.7"] };

/// A name outside the cluster. The model gives the answer of the real cluster DNS.
const OUTSIDE: &str = "www.example.com";

/// Names for which the number of queries does not depend on the speed of cluster DNS. The sidecar asks for
/// both address families at the same time, or, for the name that does not exist, for none.
const NAMES: [&str; 5] = [
    "web",
    OUTSIDE,
    "kubernetes.default.svc.cluster.local",
    "no.such.name.default.svc.cluster.local",
    OUTSIDE,
];

/// The number of runs before a different number of queries is a failure: on a busy machine an answer may take
/// so long that the sidecar retransmits.
const ATTEMPTS: u32 = 3;

/// The time for which the counters of CoreDNS must not change.
const SETTLE: Duration = Duration::from_millis(500);

pub(crate) async fn pods_do_the_same_on_the_model_and_on_a_real_node(
    context: Context,
) -> Result<(), Failure> {
    let mut namespace = context.namespace.clone();
    for attempt in 1.. {
        match compare(&namespace).await? {
            Some(difference) if attempt == ATTEMPTS => return Err(Failure::new(difference)),
            Some(difference) => eprintln!("attempt {attempt}: {difference}"),
            None => return Ok(()),
        }
        namespace = context.namespace_with(json!({ INJECT_LABEL: INJECT_ENABLED }), json!({})).await?;
    }
    Ok(())
}

/// Fails when anything except the number of queries differs. Returns `Some` when only that number differs,
/// perhaps because the cluster was busy.
async fn compare(namespace: &Namespace) -> Result<Option<String>, Failure> {
    let dns = OwnDns::start(namespace, UNUSED).await?;
    let mut scenario = scenario(namespace).await?;
    let real = run_on_cluster(&scenario, namespace, &dns).await?;
    let found = real.iter().flat_map(|outcome| &outcome.lookups).find(|(name, _)| name == OUTSIDE);
    let addresses = found.and_then(|(_, found)| found.clone().ok());
    let addresses = addresses.with_context(|| format!("cluster DNS does not find {OUTSIDE}"))?;
    scenario.outside = addresses.into_iter().map(|address| (OUTSIDE.to_owned(), address)).collect();
    let model = run_on_model(&scenario).await?;
    let mut differences = Vec::new();
    for ((pod, real), model) in scenario.pods.iter().zip(real).zip(model) {
        let name = name_of(&pod.pod);
        let (queries, names) = (real.queries, pod.names.len());
        let numbers = format!("{name}: {queries} queries for {names} names, on the model {}", model.queries);
        eprintln!("{numbers}");
        differences.extend((real.queries != model.queries).then_some(numbers));
        if let Some(difference) = difference("", &stored(&model), &stored(&real)) {
            return Err(Failure::new(format!("{name} is stored differently from the model: {difference}")));
        }
        let compared = |outcome: Outcome| Outcome { stored: Value::Null, queries: 0, ..outcome };
        assert_eq!(compared(model), compared(real), "{name}: the model, and the real node");
    }
    Ok((!differences.is_empty()).then(|| differences.join("; ")))
}

/// A pod with the default DNS configuration, one that asks the separate CoreDNS directly, and one that asks
/// it through the sidecar.
async fn scenario(namespace: &Namespace) -> Result<Scenario, Failure> {
    let service = object("v1", "Service", "web", &json!({ "ports": [{ "port": 80 }] }));
    let web = namespace.apply(service).await?.object;
    let kubernetes = Namespace { cluster: namespace.cluster.clone(), name: "default".to_owned() };
    let kubernetes = kubernetes.get("v1", "Service", "kubernetes").await?;
    let services = [web, kubernetes].map(|service| {
        let text = |field| service.pointer(field).and_then(Value::as_str).unwrap_or_default().to_owned();
        (text("/metadata/name"), text("/metadata/namespace"), text("/spec/clusterIP"))
    });

    let zone = "cluster.local";
    let mut plain = pod("plain", Libc::Glibc, &SLEEP);
    plain["metadata"]["labels"] = json!({ INJECT_LABEL: INJECT_DISABLED });
    let mut direct = plain.clone();
    direct["metadata"]["name"] = json!("direct");
    direct["spec"]["dnsPolicy"] = json!("None");
    direct["spec"]["dnsConfig"] = json!({
        "nameservers": [DNS],
        "searches": [format!("{}.svc.{zone}", namespace.name), format!("svc.{zone}"), zone],
        "options": [{ "name": "ndots", "value": "5" }],
    });
    let mut injected = pod("injected", Libc::Glibc, &SLEEP);
    // The webhook has probed cluster DNS for the properties that the sidecar may rely on, and not this
    // server.
    injected["metadata"]["annotations"] =
        json!({ "podlocal-dns.io/upstream": DNS, "podlocal-dns.io/local-nxdomain": "full" });
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    Ok(Scenario {
        namespace: namespace.name.clone(),
        node_searches: node_searches(namespace).await?,
        services: services.into(),
        outside: Vec::new(),
        pods: vec![
            PodScenario { pod: plain, names: Vec::new() },
            PodScenario { pod: direct, names: names(&NAMES) },
            PodScenario { pod: injected, names: names(&NAMES) },
        ],
    })
}

/// The search domains of the node, read from a pod with dnsPolicy Default, which has no others.
async fn node_searches(namespace: &Namespace) -> Result<Vec<String>, Failure> {
    let mut pod = pod("node", Libc::Glibc, &SLEEP);
    pod["spec"]["dnsPolicy"] = json!("Default");
    let pod = namespace.run(pod).await?;
    let file = namespace.exec(&pod, "client", &["cat", "/etc/resolv.conf"]).await?.stdout;
    let searches = file.lines().filter_map(|line| line.strip_prefix("search "));
    Ok(searches.flat_map(str::split_whitespace).filter(|domain| *domain != ".").map(str::to_owned).collect())
}

async fn run_on_model(scenario: &Scenario) -> Result<Vec<Outcome>, Failure> {
    let program = tokio::task::spawn_blocking(|| Programs::build().and_then(|_| build("model-node")));
    let program = program.await.with_context("building model-node")??;
    let scenario = serde_json::to_string(scenario).with_context("writing the scenario")?;
    let outcomes = command::run(Command::new(program), &scenario).await?;
    serde_json::from_str(&outcomes).with_context("reading the outcomes of the model")
}

async fn run_on_cluster(
    scenario: &Scenario,
    namespace: &Namespace,
    dns: &OwnDns,
) -> Result<Vec<Outcome>, Failure> {
    let cluster_dns = CoreDns::find(&namespace.cluster).await?.address;
    let mut outcomes = Vec::new();
    for PodScenario { pod, names } in &scenario.pods {
        let pod = pod.to_string().replace(DNS, &dns.address);
        let created =
            namespace.apply(serde_json::from_str(&pod).with_context(|| format!("reading {pod}"))?).await?;
        let name = name_of(&created.object).to_owned();
        let ready = namespace.wait_until_ready(&name).await?;
        let address = ready["status"]["podIP"].as_str().unwrap_or_default();
        let anonymous =
            |text: String| text.replace(&dns.address, DNS).replace(&cluster_dns, DNS).replace(address, POD);
        let file = async |path| Ok(anonymous(namespace.exec(&name, "client", &["cat", path]).await?.stdout));
        let (resolv_conf, hosts) = (file("/etc/resolv.conf").await?, file("/etc/hosts").await?);
        let before = settled_queries(dns).await?;
        let mut lookups = Vec::new();
        if !names.is_empty() {
            let names: Vec<_> = names.iter().map(String::as_str).collect();
            for lookup in namespace.look_up(&name, &names).await? {
                let addresses = lookup.addresses.iter().map(|address| address.parse());
                let addresses =
                    addresses.collect::<Result<_, _>>().with_context(|| format!("reading {lookup:?}"))?;
                lookups.push((lookup.name, lookup_result(&lookup.error, addresses)));
            }
        }
        let queries = settled_queries(dns).await? - before;
        let stored = anonymous(created.object.to_string());
        let stored = serde_json::from_str(&stored).with_context(|| format!("reading {stored}"))?;
        outcomes.push(Outcome { stored, warnings: created.warnings, resolv_conf, hosts, lookups, queries });
    }
    Ok(outcomes)
}

/// The number of A and AAAA queries that the separate CoreDNS has received, after the number no longer
/// changes: the sidecar may send queries after its answer.
async fn settled_queries(dns: &OwnDns) -> Result<u64, Failure> {
    let mut last = dns.address_queries().await?;
    eventually("no more queries to the separate CoreDNS", async || {
        sleep(SETTLE).await;
        let former = std::mem::replace(&mut last, dns.address_queries().await?);
        Ok((former == last).then_some(last))
    })
    .await
}

/// The stored pod, without the one field that must differ: the build of the sidecar.
fn stored(outcome: &Outcome) -> Value {
    let mut stored = outcome.stored.clone();
    for container in stored["spec"]["initContainers"].as_array_mut().into_iter().flatten() {
        if container["name"] == CONTAINER_NAME {
            container["image"] = json!("the sidecar");
        }
    }
    stored
}

/// The first field of the model that the API server does not have. The API server may have more, such as uids
/// and times.
fn difference(path: &str, model: &Value, real: &Value) -> Option<String> {
    match (model, real) {
        (Value::Object(model), Value::Object(_)) => {
            model.iter().find_map(|(key, value)| difference(&format!("{path}/{key}"), value, &real[key]))
        }
        (Value::Array(models), Value::Array(reals)) if models.len() == reals.len() => {
            let mut pairs = models.iter().zip(reals).enumerate();
            pairs.find_map(|(index, (model, real))| difference(&format!("{path}/{index}"), model, real))
        }
        _ => (model != real).then(|| format!("{path} is {model} in the model and {real} in the cluster")),
    }
}
