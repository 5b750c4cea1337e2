//! A sidecar is killed, or its pod ends.

use std::time::Duration;

use podlocal_harness::cluster::client::{Libc, Lookup, SLEEP, container, pod};
use podlocal_harness::cluster::load::{self, Load, Summary};
use podlocal_harness::cluster::namespace::Namespace;
use podlocal_harness::cluster::pods::{container_status, restarts};
use podlocal_harness::cluster::{eventually, kubectl, on_node};
use podlocal_harness::failure::Failure;
use podlocal_harness::metrics::sum;
use podlocal_harness::time::now;
use podlocal_settings::names::{CONTAINER_NAME, SIDECAR_USER};
use serde_json::{Value, json};
use tokio::time::sleep;

use super::{NAMES, annotate, assert_none_failed};
use crate::runner::Context;

/// The time in which a pod may be without DNS after its whole sidecar was killed. The kubelet restarts it in
/// half a second, or later on two busy cores, and resolvers wait for five seconds.
const RESTART_MS: f64 = 5_000.0;

/// The same time after a crash of the proxy alone, which its supervisor restarts.
const CRASH_MS: f64 = 1_000.0;

/// Kills the proxy, which is the newer of the two processes.
const CRASH: &str = "kill -9 $(pidof podlocal-sidecar | tr ' ' '\\n' | sort -n | tail -n 1)";

/// Kills both processes, and so the container.
const KILL: &str = "kill -9 $(pidof podlocal-sidecar)";

/// Allocates memory in the container with this id until the kernel kills the sidecar there, whose
/// `oom_score_adj` is far above that of a process of the node; then the kernel kills this script. `tail`
/// keeps an endless line in memory.
const EXHAUST_MEMORY: &str = r#"
    pid=$(ctr --namespace k8s.io task ls | awk -v id="$1" '$1 == id { print $2 }')
    path=$(grep -E ':memory:|^0::' "/proc/$pid/cgroup" | head -n 1 | cut -d : -f 3)
    for root in /sys/fs/cgroup/memory /sys/fs/cgroup; do
        if [ -e "$root$path/cgroup.procs" ]; then group=$root$path; break; fi
    done
    (echo 0 >"$group/cgroup.procs" && exec head -c 64M /dev/zero | tail >/dev/null) || true
"#;

pub(crate) async fn lookups_succeed_soon_after_the_sidecar_is_killed(
    context: Context,
) -> Result<(), Failure> {
    let load = Load::start(&context.namespace, with_killer(load::pod(Libc::Glibc, &NAMES))).await?;
    context.release_installation();
    let begin = now();
    kill(&context.namespace, &load, KILL).await?;
    wait_until_sidecar_restarted(&context.namespace, &load, 1).await?;
    let summary = wait_until_lookups_succeed(&load, begin).await?;
    eprintln!("sidecar killed: {summary}");
    assert!(summary.outage_ms < RESTART_MS, "{summary}");
    Ok(())
}

pub(crate) async fn lookups_succeed_at_once_after_the_proxy_crashes_twice(
    context: Context,
) -> Result<(), Failure> {
    let namespace = &context.namespace;
    let load = Load::start(namespace, with_killer(load::pod(Libc::Glibc, &NAMES))).await?;
    context.release_installation();
    let begin = now();
    for crashes in [1.0, 2.0] {
        kill(namespace, &load, CRASH).await?;
        wait_until_proxy_restarted(&load, crashes).await?;
    }
    let summary = wait_until_lookups_succeed(&load, begin).await?;
    eprintln!("proxy crashed twice: {summary}");
    assert!(summary.outage_ms < CRASH_MS, "{summary}");
    assert_eq!(restarts(&namespace.pod(&load.pod).await?, CONTAINER_NAME), 0, "the container keeps running");
    Ok(())
}

/// With cgroup v1 the kernel kills the proxy alone, and the supervisor restarts it. With cgroup v2
/// (memory.oom.group) the kernel kills the whole container, and the kubelet restarts it.
pub(crate) async fn lookups_succeed_soon_after_the_sidecar_ran_out_of_memory(
    context: Context,
) -> Result<(), Failure> {
    let namespace = &context.namespace;
    let mut pod = load::pod(Libc::Glibc, &NAMES);
    // A sidecar has limits only when its pod has resources, so that the pod keeps its QoS class.
    pod["spec"]["containers"][0]["resources"] = json!({ "requests": { "cpu": "5m", "memory": "8Mi" } });
    let load = Load::start(namespace, pod).await?;
    context.release_installation();
    let running = namespace.pod(&load.pod).await?;
    let id = container_status(&running, CONTAINER_NAME).and_then(|status| status["containerID"].as_str());
    let id = id.and_then(|id| id.split_once("://")).map_or("", |(_, id)| id);
    let begin = now();
    let exhausted = on_node(&["sh", "-c", EXHAUST_MEMORY, "sh", id]).await;
    exhausted.unwrap_or_else(|| Err(Failure::new("no access to the node")))?;
    eventually("the restart of the proxy or its container", async || {
        let pod = namespace.pod(&load.pod).await?;
        let container = restarts(&pod, CONTAINER_NAME) as f64;
        let proxy = if is_running(&pod, CONTAINER_NAME) { crashes(&load).await? } else { 0.0 };
        Ok((container + proxy > 0.0).then_some(()))
    })
    .await?;
    let summary = wait_until_lookups_succeed(&load, begin).await?;
    eprintln!("sidecar out of memory: {summary}");
    assert!(summary.outage_ms < RESTART_MS, "{summary}");
    Ok(())
}

/// The application runs for a while after SIGTERM, like one that finishes its work.
pub(crate) async fn a_deleted_pod_resolves_names_until_it_ends(context: Context) -> Result<(), Failure> {
    let namespace = &context.namespace;
    let script = format!(
        "getaddr --every 50 {} & load=$!; trap 'sleep 5; kill $load; wait; echo ended; exit 0' TERM; wait",
        NAMES.join(" ")
    );
    let mut pod = pod("app", Libc::Glibc, &["sh", "-c", &script]);
    pod["spec"]["terminationGracePeriodSeconds"] = json!(20);
    annotate(&mut pod, "max-ttl", "1s");
    let name = namespace.run(pod).await?;
    context.release_installation();
    // The log is deleted with the pod.
    let follow = ["-n", &namespace.name, "logs", "--follow", &name, "--container=client"];
    let (log, deleted) = tokio::join!(kubectl(&follow), async {
        sleep(Duration::from_secs(1)).await;
        let begin = now();
        namespace.delete_pod(&name).await.map(|()| begin)
    });
    let (log, deleted) = (log?, deleted?);
    assert!(log.ends_with("ended\n"), "the application did not end by itself: {log}");
    let summary = Summary::between(&Lookup::read_all(&log), deleted, now());
    assert!(summary.lookups > 50, "{summary}");
    assert_none_failed("pod deleted", summary);
    Ok(())
}

/// Adds a container that may kill the sidecar, because both share a process namespace and a user.
fn with_killer(mut pod: Value) -> Value {
    let mut killer = container("killer", Libc::Glibc, &SLEEP);
    killer["securityContext"]["runAsUser"] = json!(SIDECAR_USER);
    pod["spec"]["shareProcessNamespace"] = json!(true);
    if let Some(containers) = pod["spec"]["containers"].as_array_mut() {
        containers.push(killer);
    }
    pod
}

async fn kill(namespace: &Namespace, load: &Load, command: &str) -> Result<(), Failure> {
    let killed = namespace.exec(&load.pod, "killer", &["sh", "-c", command]).await?;
    assert!(killed.is_success, "{killed:?}");
    Ok(())
}

/// Waits until the proxy was restarted this number of times.
async fn wait_until_proxy_restarted(load: &Load, times: f64) -> Result<(), Failure> {
    eventually("the restart of the proxy", async || Ok((crashes(load).await? >= times).then_some(()))).await
}

async fn crashes(load: &Load) -> Result<f64, Failure> {
    Ok(sum(&load.scrape().await?, "podlocal_dns_process_restarts_total", &[]))
}

/// Waits until the sidecar was restarted this number of times, and runs.
async fn wait_until_sidecar_restarted(
    namespace: &Namespace,
    load: &Load,
    restarted: u64,
) -> Result<Value, Failure> {
    let has_restarted =
        |pod: &Value| restarts(pod, CONTAINER_NAME) >= restarted && is_running(pod, CONTAINER_NAME);
    namespace.wait_for(&load.pod, "the restart of its sidecar", has_restarted).await
}

/// Waits until lookups succeed again, and returns the results since `begin`.
async fn wait_until_lookups_succeed(load: &Load, begin: f64) -> Result<Summary, Failure> {
    eventually("lookups succeed again", async || {
        let lookups = load.lookups().await?;
        Ok(lookups.last().is_some_and(|last| last.at > begin && !last.is_failure()).then_some(()))
    })
    .await?;
    load.between(begin, now()).await
}

fn is_running(pod: &Value, container: &str) -> bool {
    container_status(pod, container).is_some_and(|status| status["state"]["running"].is_object())
}
