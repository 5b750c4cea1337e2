//! The same pods on the models and on the cluster: what the API server stores, what the kubelet writes, what
//! lookups find, and the number of queries.

use std::collections::BTreeSet;
use std::mem::replace;
use std::time::Duration;

use podlocal_harness::cluster::client::{Libc, Lookup, SLEEP, pod};
use podlocal_harness::cluster::coredns::CoreDns;
use podlocal_harness::cluster::dns::{OwnDns, Zone};
use podlocal_harness::cluster::namespace::Namespace;
use podlocal_harness::cluster::{eventually, name_of, object};
use podlocal_harness::failure::{Failure, WithContext as _};
use podlocal_settings::names::{INJECT_DISABLED, INJECT_ENABLED, INJECT_LABEL};
use serde_json::{Value, json};
use tokio::time::sleep;

use super::on_model::{self, DNS, Found, Outcome, POD, Scenario, parsed};
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
        let differences = compare(&namespace).await?;
        if differences.is_empty() {
            break;
        }
        let differences = differences.join("; ");
        if attempt == ATTEMPTS {
            return Err(Failure::new(differences));
        }
        eprintln!("attempt {attempt}: {differences}");
        namespace = context.namespace_with(json!({ INJECT_LABEL: INJECT_ENABLED }), json!({})).await?;
    }
    Ok(())
}

/// Fails when anything except the number of queries differs. Returns the pods for which only that number
/// differs, perhaps because the cluster was busy.
async fn compare(namespace: &Namespace) -> Result<Vec<String>, Failure> {
    let dns = OwnDns::start(namespace, UNUSED).await?;
    let mut scenario = scenario(namespace).await?;
    let real = run_on_cluster(&scenario, namespace, &dns).await?;
    let found = real.iter().flat_map(|outcome| &outcome.lookups).find(|(name, _)| name == OUTSIDE);
    let addresses = found.and_then(|(_, found)| found.clone().ok());
    let addresses = addresses.with_context(|| format!("cluster DNS does not find {OUTSIDE}"))?;
    scenario.outside = vec![(OUTSIDE.to_owned(), addresses)];
    let model = on_model::run(&scenario).await?;
    assert_eq!(model.len(), real.len());
    let mut differences = Vec::new();
    for (((pod, names), real), model) in scenario.pods.iter().zip(real).zip(model) {
        let (name, queries, names) = (name_of(pod), real.queries, names.len());
        let numbers = format!("{name}: {queries} queries for {names} names, on the model {}", model.queries);
        eprintln!("{numbers}");
        differences.extend((real.queries != model.queries).then_some(numbers));
        if let Some(difference) = difference("", &model.stored, &real.stored) {
            return Err(Failure::new(format!("{name} is stored differently from the model: {difference}")));
        }
        assert_eq!(model.texts, real.texts, "{name}: the files on the model, and on the real node");
        assert_eq!(model.lookups, real.lookups, "{name}: lookups on the model, and on the real node");
    }
    Ok(differences)
}

/// A pod with the default DNS configuration, one that asks the separate CoreDNS directly, and one that asks
/// it through the sidecar.
async fn scenario(namespace: &Namespace) -> Result<Scenario, Failure> {
    let service = object("v1", "Service", "web", &json!({ "ports": [{ "port": 80 }] }));
    let web = namespace.apply(service).await?.object;
    let kubernetes = Namespace { cluster: namespace.cluster.clone(), name: "default".to_owned() };
    let kubernetes = kubernetes.get("v1", "Service", "kubernetes").await?;
    let services = [web, kubernetes].map(|service| {
        let fields = ["/metadata/name", "/metadata/namespace", "/spec/clusterIP"];
        fields.map(|field| service.pointer(field).and_then(Value::as_str).unwrap_or_default().to_owned())
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
    injected["metadata"]["annotations"] = json!({
        "podlocal-dns.io/upstream": DNS,
        // The webhook has probed cluster DNS for the properties that the sidecar may rely on, and not this
        // server.
        "podlocal-dns.io/local-nxdomain": "full",
        // A warning.
        "podlocal-dns.io/ndots": "many",
    });
    let names = NAMES.map(str::to_owned).to_vec();
    Ok(Scenario {
        namespace: namespace.name.clone(),
        node_searches: node_searches(namespace).await?,
        services: services.into(),
        outside: Vec::new(),
        pods: vec![(plain, Vec::new()), (direct, names.clone()), (injected, names)],
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

async fn run_on_cluster(
    scenario: &Scenario,
    namespace: &Namespace,
    dns: &OwnDns,
) -> Result<Vec<Outcome>, Failure> {
    let cluster_dns = CoreDns::find(&namespace.cluster).await?.address;
    let mut outcomes = Vec::new();
    for (pod, names) in &scenario.pods {
        let created = namespace.apply(parsed(&pod.to_string().replace(DNS, &dns.address))?).await?;
        let name = name_of(&created.object);
        let ready = namespace.wait_until_ready(name).await?;
        let address = ready["status"]["podIP"].as_str().unwrap_or_default();
        let file = async |path| namespace.exec(name, "client", &["cat", path]).await.map(|file| file.stdout);
        let texts = [created.warnings.join("\n"), file("/etc/resolv.conf").await?, file("/etc/hosts").await?];
        let before = settled_queries(dns).await?;
        let names: Vec<_> = names.iter().map(String::as_str).collect();
        let lookups = if names.is_empty() { Vec::new() } else { namespace.look_up(name, &names).await? };
        let queries = settled_queries(dns).await? - before;
        let lookups = lookups.into_iter().map(|lookup| Ok((lookup.name.clone(), found(&lookup)?)));
        let lookups = lookups.collect::<Result<_, Failure>>()?;
        let outcome = Outcome { stored: created.object.clone(), texts, lookups, queries };
        outcomes.push(outcome.anonymous(&[(&dns.address, DNS), (&cluster_dns, DNS), (address, POD)])?);
    }
    Ok(outcomes)
}

fn found(lookup: &Lookup) -> Result<Found, Failure> {
    if lookup.is_failure() {
        return Ok(Err(lookup.error.clone()));
    }
    let addresses = lookup.addresses.iter().map(|address| address.parse());
    let addresses = addresses.collect::<Result<BTreeSet<_>, _>>();
    addresses.map(Ok).with_context(|| format!("reading {lookup:?}"))
}

/// The number of A and AAAA queries that the separate CoreDNS has received, after the number no longer
/// changes: the sidecar may send queries after its answer.
async fn settled_queries(dns: &OwnDns) -> Result<u64, Failure> {
    let mut last = dns.address_queries().await?;
    eventually("no more queries to the separate CoreDNS", async || {
        sleep(SETTLE).await;
        let former = replace(&mut last, dns.address_queries().await?);
        Ok((former == last).then_some(last))
    })
    .await
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
