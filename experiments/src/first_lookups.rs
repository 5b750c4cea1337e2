//! Tests whether the first lookup of a starting application fails.
//!
//! Injected pods start in groups on a busy node: an init container resolves a name immediately, then the
//! application does. The pods are BestEffort; a Guaranteed pod uses the CPU up to its limit.

use std::ops::Range;
use std::process::ExitCode;

use futures_util::future::try_join_all;
use podlocal_harness::cluster::client::{Libc, Lookup, container, pod};
use podlocal_harness::cluster::namespace::Namespace;
use podlocal_harness::cluster::pods::container_status;
use podlocal_harness::cluster::{Cluster, product};
use podlocal_harness::failure::Failure;
use podlocal_harness::table::percentiles;
use podlocal_settings::names::{CONTAINER_NAME, INJECT_DISABLED, INJECT_ENABLED, INJECT_LABEL};
use serde_json::{Value, json};

use crate::program::{exit_code, until_signal};

/// The name that each container resolves immediately: a name of the cluster.
const NAME: &str = "kubernetes.default";

/// The containers that resolve it, in the order in which they run.
const CONTAINERS: [&str; 2] = ["first", "client"];

/// Starts injected pods on the cluster of KUBECONFIG (`just cluster up` starts one). The init container and
/// the application of each pod resolve a name immediately, while another pod uses the CPU. Exits with 1 when
/// a lookup failed.
#[derive(Debug, clap::Parser)]
pub struct Options {
    /// Number of pods.
    #[arg(long, value_name = "NUMBER", default_value_t = 1000, value_parser = clap::value_parser!(u16).range(1..))]
    pods: u16,
    /// Number of pods that are created at the same time; the next group starts when all of them have ended.
    #[arg(long, value_name = "NUMBER", default_value_t = 30, value_parser = clap::value_parser!(u16).range(1..=500))]
    group: u16,
    /// CPU that a Guaranteed pod uses in the meantime; "" for none.
    #[arg(long, value_name = "QUANTITY", default_value = "1")]
    load: String,
}

/// The results of the lookups.
#[derive(Debug, Default)]
struct Lookups {
    /// The duration of each, in milliseconds.
    ms: Vec<f64>,
    /// Each failed lookup: its pod, its container, its error and its time.
    errors: Vec<String>,
}

impl Lookups {
    /// A summary in one line.
    fn summary(&self) -> String {
        let [p50, p99, most] = percentiles(self.ms.iter().copied(), [0.5, 0.99, 1.0]);
        let (count, failed) = (self.ms.len(), self.errors.len());
        format!("{count} first lookups, {failed} failed; ms at p50, p99, max: {p50:.1}, {p99:.1}, {most:.1}")
    }
}

/// Runs the program, and returns its exit code.
pub async fn main(options: Options) -> ExitCode {
    let mut lookups = Lookups::default();
    let result = run(&options, &mut lookups).await;
    println!("{}", lookups.summary());
    for error in &lookups.errors {
        println!("  {error}");
    }
    exit_code("first-lookups", result.map(|()| lookups.errors.is_empty()))
}

/// Starts the pods, and adds the lookups of each group as soon as the group has ended.
async fn run(options: &Options, lookups: &mut Lookups) -> Result<(), Failure> {
    let cluster = Cluster::connect().await?;
    product::install(&cluster).await?;
    let labels = json!({ INJECT_LABEL: INJECT_ENABLED });
    let namespace = Namespace::create(&cluster, "first-lookups", labels, &json!({})).await?;
    let result = until_signal(groups(options, &namespace, lookups)).await;
    result.and(namespace.delete_and_wait().await)
}

async fn groups(options: &Options, namespace: &Namespace, lookups: &mut Lookups) -> Result<(), Failure> {
    if !options.load.is_empty() {
        namespace.apply(load(&options.load)).await?;
        namespace.wait_until_ready("load").await?;
    }
    for begin in (0..options.pods).step_by(options.group.into()) {
        group(begin..options.pods.min(begin.saturating_add(options.group)), namespace, lookups).await?;
        eprintln!("first-lookups: {}", lookups.summary());
    }
    Ok(())
}

async fn group(numbers: Range<u16>, namespace: &Namespace, lookups: &mut Lookups) -> Result<(), Failure> {
    let names: Vec<String> = numbers.map(|number| format!("pod-{number}")).collect();
    try_join_all(names.iter().map(|name| namespace.apply(resolving(name)))).await?;
    for name in &names {
        let pod = namespace.wait_until_finished(name).await?;
        if container_status(&pod, CONTAINER_NAME).is_none() {
            return Err(Failure::new(format!(
                "pod {name} is not injected: it has no container {CONTAINER_NAME}"
            )));
        }
        for container in CONTAINERS {
            let log = namespace.log(name, container).await?;
            let Some(lookup) = Lookup::read_all(&log).pop() else {
                return Err(Failure::new(format!("container {container} of pod {name} printed {log:?}")));
            };
            lookups.ms.push(lookup.ms);
            if lookup.is_failure() {
                let Lookup { error, at, ms, .. } = lookup;
                let error = format!("{name}, {container}: {error} after {ms:.1} ms, at Unix time {at:.3}");
                eprintln!("first-lookups: {error}\n{}", namespace.describe().await);
                lookups.errors.push(error);
            }
        }
    }
    try_join_all(names.iter().map(|name| namespace.delete_pod(name))).await.map(drop)
}

fn resolving(name: &str) -> Value {
    // A failing init container would end the pod before the application starts.
    let words = ["sh", "-c", &format!("getaddr 0 {NAME} || true")];
    let [first, client] = CONTAINERS;
    let mut pod = pod(name, Libc::Glibc, &words);
    pod["spec"]["initContainers"] = json!([container(first, Libc::Glibc, &words)]);
    pod["spec"]["containers"] = json!([container(client, Libc::Glibc, &words)]);
    pod
}

/// A Guaranteed pod that uses CPU up to its limit.
fn load(cpu: &str) -> Value {
    let mut pod = pod(
        "load",
        Libc::Glibc,
        &["sh", "-c", "for i in 1 2 3 4 5 6 7 8; do while :; do :; done & done; wait"],
    );
    pod["metadata"]["labels"] = json!({ INJECT_LABEL: INJECT_DISABLED });
    let resources = json!({ "cpu": cpu, "memory": "32Mi" });
    pod["spec"]["containers"][0]["resources"] = json!({ "requests": resources, "limits": resources });
    pod
}
