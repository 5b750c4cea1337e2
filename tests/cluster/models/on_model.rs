//! Runs pods on the models: this program starts itself again, because a process can become a model of a node
//! only before it has threads.

use std::collections::BTreeSet;
use std::env;
use std::io::stdin;
use std::net::IpAddr;
use std::process::ExitCode;
use std::time::Duration;

use podlocal_harness::command;
use podlocal_harness::failure::{Failure, WithContext as _};
use podlocal_harness::model::cluster::{Cluster, DnsPath};
use podlocal_harness::model::cluster_dns::{Service, World};
use podlocal_harness::model::lookup::Lookup;
use podlocal_harness::model::node::{self, Node};
use podlocal_harness::programs::Programs;
use podlocal_settings::names::CONTAINER_NAME;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::process::Command;
use tokio::runtime::Runtime;
use tokio::task::spawn_blocking;
use tokio::time::sleep;

/// The argument of the process that becomes a node.
const ARGUMENT: &str = "run-on-the-model";

/// The placeholder in pods and outcomes for the address of the DNS server that counts queries.
pub(crate) const DNS: &str = "192.0.2.53";

/// The placeholder in outcomes for the address of a pod.
pub(crate) const POD: &str = "192.0.2.2";

/// The time to wait for queries that follow an answer.
const SETTLE: Duration = Duration::from_millis(300);

/// The pods to run, and their environment.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Scenario {
    /// The namespace of the pods.
    pub(crate) namespace: String,
    /// The search domains of the node.
    pub(crate) node_searches: Vec<String>,
    /// Services: name, namespace, address.
    pub(crate) services: Vec<[String; 3]>,
    /// Names outside the cluster, with their addresses.
    pub(crate) outside: Vec<(String, BTreeSet<IpAddr>)>,
    /// The pods, one after the other, with the names that the container `client` of each looks up.
    pub(crate) pods: Vec<(Value, Vec<String>)>,
}

/// The results of a pod.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Outcome {
    /// The pod that the API server stored.
    pub(crate) stored: Value,
    /// Admission warnings, `/etc/resolv.conf`, `/etc/hosts`.
    pub(crate) texts: [String; 3],
    /// Each name with its addresses or the error.
    pub(crate) lookups: Vec<(String, Found)>,
    /// A and AAAA queries to the DNS server during the lookups.
    pub(crate) queries: u64,
}

/// The addresses of a name, or the text of `gai_strerror`.
pub(crate) type Found = Result<BTreeSet<IpAddr>, String>;

impl Outcome {
    /// Replaces what must differ: addresses, each with its placeholder, and the image of the sidecar.
    pub(crate) fn anonymous(self, addresses: &[(&str, &str)]) -> Result<Self, Failure> {
        let replaced = |text: String| {
            addresses.iter().fold(text, |text, (address, placeholder)| text.replace(address, placeholder))
        };
        let mut stored = parsed(&replaced(self.stored.to_string()))?;
        let containers = stored.pointer_mut("/spec/initContainers").and_then(Value::as_array_mut);
        for container in containers.into_iter().flatten() {
            if container["name"] == CONTAINER_NAME {
                container["image"] = json!("the sidecar");
            }
        }
        Ok(Self { stored, texts: self.texts.map(replaced), ..self })
    }
}

/// Parses a pod.
pub(crate) fn parsed(pod: &str) -> Result<Value, Failure> {
    serde_json::from_str(pod).with_context(|| format!("reading the pod {pod}"))
}

/// Runs a scenario in another process, and returns the outcome of each pod.
pub(crate) async fn run(scenario: &Scenario) -> Result<Vec<Outcome>, Failure> {
    let building = "building the programs of the model";
    spawn_blocking(Programs::build).await.with_context(building)?.with_context(building)?;
    let mut command = Command::new(env::current_exe().with_context("finding this program")?);
    command.arg(ARGUMENT);
    let scenario = serde_json::to_string(scenario).with_context("writing the scenario")?;
    let outcomes = command::run(command, &scenario).await?;
    serde_json::from_str(&outcomes).with_context("reading the outcomes of the model")
}

/// Whether this process must call [`main`], before any thread starts.
pub(crate) fn is_requested() -> bool {
    env::args().nth(1).is_some_and(|argument| argument == ARGUMENT)
}

/// Becomes a node, and runs there the scenario of standard input.
pub(crate) fn main() -> ExitCode {
    let outcomes = match node::enter() {
        Ok(node) => run_on(node),
        Err(refused) => Err(Failure::new(refused.to_string())),
    };
    match outcomes {
        Ok(outcomes) => {
            println!("{outcomes}");
            ExitCode::SUCCESS
        }
        Err(failure) => {
            eprintln!("on the model: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn run_on(mut node: Node) -> Result<String, Failure> {
    let scenario: Scenario =
        serde_json::from_reader(stdin()).with_context("reading the scenario from standard input")?;
    let mut world = World::empty("cluster.local");
    for [name, namespace, address] in &scenario.services {
        world = world.service(Service::cluster_ip(name, namespace, address).port("", "tcp", 80));
    }
    for (name, addresses) in &scenario.outside {
        world = addresses.iter().fold(world, |world, address| world.outside(name, 30, *address));
    }
    node.searches.clone_from(&scenario.node_searches);
    let runtime = Runtime::new().with_context("starting a tokio runtime")?;
    let outcomes = runtime.block_on(async {
        let cluster = Cluster::start(DnsPath::Sidecars, &node, &Programs::built()?, world).await?;
        let mut outcomes = Vec::new();
        for (pod, names) in &scenario.pods {
            outcomes.push(run_pod(&cluster, &scenario.namespace, pod, names).await?);
        }
        Ok::<_, Failure>(outcomes)
    })?;
    serde_json::to_string(&outcomes).with_context("writing the outcomes")
}

async fn run_pod(
    cluster: &Cluster,
    namespace: &str,
    pod: &Value,
    names: &[String],
) -> Result<Outcome, Failure> {
    let dns = cluster.dns.address().ip().to_string();
    let admitted = cluster.admit(parsed(&pod.to_string().replace(DNS, &dns))?, namespace).await?;
    let running = cluster.run(admitted.clone())?;
    running.wait_until_started("client").await?;
    let file = async |path| running.execute("client", &["cat", path]).await.map(|file| file.stdout);
    let texts = [admitted.warnings.join("\n"), file("/etc/resolv.conf").await?, file("/etc/hosts").await?];
    cluster.dns.reset_counts();
    let words: Vec<_> = ["lookup"].into_iter().chain(names.iter().map(String::as_str)).collect();
    let lookups = Lookup::read_all(&running.execute("client", &words).await?.stdout);
    sleep(SETTLE).await;
    let queries = cluster.dns.counts().total();
    let lookups = lookups.into_iter().map(|lookup| (lookup.name, found(lookup.error, lookup.addresses)));
    let outcome = Outcome { stored: admitted.pod, texts, lookups: lookups.collect(), queries };
    outcome.anonymous(&[(&dns, DNS), (&running.address().to_string(), POD)])
}

fn found(error: Option<String>, addresses: Vec<IpAddr>) -> Found {
    match error {
        // std has its own words before the text of the C library.
        Some(error) => Err(error.rsplit(": ").next().unwrap_or_default().to_owned()),
        None => Ok(addresses.into_iter().collect()),
    }
}
