//! Pods as a cluster runs them: with and without injection, from the manifest to the name resolved by libc.

use std::process::ExitCode;

use hickory_proto::rr::RecordType;
use podlocal_settings::names;
use podlocal_tests::failure::Failure;
use podlocal_tests::gang::Lookup;
use podlocal_tests::pod::{Exit, Running, Status};
use podlocal_tests::testbed::{self, Testbed};
use podlocal_tests::tests;
use serde_json::{Value, json};

const SIGTERM: i32 = 15;
const SIGKILL: i32 = 9;

fn main() -> ExitCode {
    testbed::run(tests![
        without_injection_the_pod_has_the_kubelets_resolv_conf,
        without_injection_every_step_of_the_search_list_is_asked,
        an_injected_pod_resolves_what_it_resolved_before_and_asks_less,
        an_injected_pod_asks_only_its_sidecar,
        a_service_name_asked_as_it_is_resolves_as_musl_needs_it,
        with_its_own_ndots_5_a_pod_asks_four_questions_then_two_then_none,
        the_containers_start_when_dns_answers,
        port_53_needs_the_sysctl_and_nothing_else,
        the_sidecar_answers_until_the_application_has_ended_and_exits_0,
        the_sidecar_is_started_again_when_it_dies,
        a_deleted_pod_has_dns_while_its_application_ends,
        in_an_empty_root_a_dynamic_program_does_not_even_find_its_loader,
        a_pod_leaves_no_process_behind,
    ])
}

/// A pod with one container, `app`, that runs `words` once.
fn pod(words: &[&str]) -> Value {
    json!({
        "metadata": { "name": "app" },
        "spec": {
            "restartPolicy": "Never",
            "containers": [{ "name": "app", "image": "example/app:1", "command": words }],
        },
    })
}

/// A pod that does nothing, for long enough.
fn sleeping_pod() -> Value {
    pod(&["sleep", "300"])
}

async fn look_up(running: &Running, words: &[&str]) -> Result<Vec<Lookup>, Failure> {
    let words: Vec<&str> = ["lookup"].iter().chain(words).copied().collect();
    let executed = running.execute("app", &words).await?;
    let lookups = Lookup::read_all(&executed.output);
    assert!(executed.exit.is_success(), "{words:?}: {executed:?}\n{}", running.status().describe());
    Ok(lookups)
}

fn assert_success(status: &Status, container: &str) {
    assert_eq!(status.exit(container), Some(Exit::Code(0)), "{container}\n{}", status.describe());
}

async fn without_injection_the_pod_has_the_kubelets_resolv_conf(testbed: Testbed) -> Result<(), Failure> {
    let cluster = testbed.cluster().await?;
    let status = cluster.create(pod(&["cat", "/etc/resolv.conf"]), "default").await?.finished().await?;
    let expected = format!(
        "search default.svc.cluster.local svc.cluster.local cluster.local\nnameserver {}\noptions ndots:5\n",
        cluster.names.dns
    );
    assert_eq!(status.container("app").map(|app| app.output.as_str()), Some(expected.as_str()));
    Ok(())
}

async fn without_injection_every_step_of_the_search_list_is_asked(testbed: Testbed) -> Result<(), Failure> {
    let cluster = testbed.cluster().await?;
    let status = cluster.create(pod(&["lookup", "api.example.com"]), "default").await?.finished().await?;
    assert_success(&status, "app");
    // Four candidates, each as A and as AAAA.
    let counts = cluster.dns.counts();
    assert_eq!(counts.total(), 8, "{counts}");
    assert_eq!(counts.of("api.example.com.svc.cluster.local", RecordType::AAAA), 1, "{counts}");
    Ok(())
}

async fn an_injected_pod_resolves_what_it_resolved_before_and_asks_less(
    testbed: Testbed,
) -> Result<(), Failure> {
    let words = [
        "kubernetes.default",
        "web",
        "db.prod",
        "db.prod.svc",
        "db.prod.svc.cluster.local",
        "db.prod.svc.cluster.local.",
        "rank-0.peers",
        "www.example.com",
        "api.example.com.",
        "alias.example.com",
        "v6.example.com",
        "store",
        "--expect-missing",
        "missing.example.com",
        "--expect-missing",
        "nobody",
    ];
    let (direct, injected) = (testbed.cluster().await?, testbed.cluster_with_webhook().await?);
    let mut answers = Vec::new();
    for cluster in [&direct, &injected] {
        let running = cluster.create(sleeping_pod(), "default").await?;
        running.ready("app").await?;
        let lookups = look_up(&running, &words).await?;
        let addresses: Vec<_> = lookups
            .into_iter()
            .map(|mut lookup| {
                lookup.addresses.sort();
                lookup.addresses.dedup();
                (lookup.name, lookup.addresses)
            })
            .collect();
        answers.push(addresses);
    }
    assert_eq!(answers[0], answers[1]);
    let (before, after) = (direct.dns.counts(), injected.dns.counts());
    assert!(after.total() < before.total(), "before\n{before}\nafter\n{after}");
    Ok(())
}

async fn an_injected_pod_asks_only_its_sidecar(testbed: Testbed) -> Result<(), Failure> {
    let cluster = testbed.cluster_with_webhook().await?;
    let running = cluster.create(sleeping_pod(), "default").await?;
    running.ready("app").await?;
    let resolv_conf = running.execute("app", &["cat", "/etc/resolv.conf"]).await?.output;
    let nameservers: Vec<_> = resolv_conf.lines().filter(|line| line.starts_with("nameserver")).collect();
    assert_eq!(nameservers, ["nameserver 127.0.0.1"], "{resolv_conf}");
    look_up(&running, &["www.example.com"]).await?;
    let once = cluster.dns.counts();
    look_up(&running, &["www.example.com", "www.example.com"]).await?;
    assert_eq!(cluster.dns.counts(), once, "what is cached is not asked again");
    Ok(())
}

async fn a_service_name_asked_as_it_is_resolves_as_musl_needs_it(testbed: Testbed) -> Result<(), Failure> {
    let cluster = testbed.cluster_with_webhook().await?;
    let running = cluster.create(sleeping_pod(), "default").await?;
    running.ready("app").await?;
    // The final dot keeps glibc from searching, as two dots keep musl.
    let lookups = look_up(&running, &["db.prod.svc.", "rank-0.peers.default.svc."]).await?;
    let addresses: Vec<_> =
        lookups.iter().flat_map(|lookup| &lookup.addresses).map(ToString::to_string).collect();
    assert!(addresses.contains(&"10.96.8.8".to_owned()), "{addresses:?}");
    assert!(addresses.contains(&"10.244.1.10".to_owned()), "{addresses:?}");
    Ok(())
}

async fn with_its_own_ndots_5_a_pod_asks_four_questions_then_two_then_none(
    testbed: Testbed,
) -> Result<(), Failure> {
    let cluster = testbed.cluster_with_webhook().await?;
    let mut pod = sleeping_pod();
    pod["spec"]["dnsConfig"] = json!({ "options": [{ "name": "ndots", "value": "5" }] });
    let running = cluster.create(pod, "default").await?;
    running.ready("app").await?;
    for (name, most) in [("api.example.com", 4), ("www.example.com", 2), ("api.example.com", 0)] {
        cluster.dns.reset_counts();
        look_up(&running, &[name]).await?;
        let counts = cluster.dns.counts();
        assert!(counts.total() <= most, "{name}: {counts}");
    }
    Ok(())
}

async fn the_containers_start_when_dns_answers(testbed: Testbed) -> Result<(), Failure> {
    let cluster = testbed.cluster_with_webhook().await?;
    let mut pod = pod(&["lookup", "kubernetes.default"]);
    pod["spec"]["initContainers"] =
        json!([{ "name": "first", "image": "example/first:1", "command": ["lookup", "www.example.com"] }]);
    let status = cluster.create(pod, "default").await?.finished().await?;
    assert_success(&status, "first");
    assert_success(&status, "app");
    let at = |name: &str| status.container(name).map(|container| (container.started_at, container.ready_at));
    let (Some((_, Some(sidecar_ready))), Some((first, _)), Some((app, _))) =
        (at(names::CONTAINER_NAME), at("first"), at("app"))
    else {
        panic!("{}", status.describe())
    };
    assert!(sidecar_ready <= first && first < app, "{}", status.describe());
    Ok(())
}

/// The same pod with the sysctl taken out again: the sidecar, uid 65532 without capabilities, is refused.
async fn port_53_needs_the_sysctl_and_nothing_else(testbed: Testbed) -> Result<(), Failure> {
    let cluster = testbed.cluster_with_webhook().await?;
    let admitted = cluster.admit(sleeping_pod(), "default").await?;

    let with = cluster.run(cluster.spec(admitted.clone(), "default"))?;
    let status = with.ready("app").await?;
    let sidecar = status.container(names::CONTAINER_NAME);
    assert!(sidecar.is_some_and(|sidecar| sidecar.exits.is_empty()), "{}", status.describe());
    let identity = with.execute(names::CONTAINER_NAME, &["cat", "/proc/self/status"]).await?.output;
    assert_eq!(line_of(&identity, "Uid:"), ["65532"; 4], "{identity}");
    assert_eq!(line_of(&identity, "CapEff:"), ["0000000000000000"], "{identity}");
    assert_eq!(line_of(&identity, "NoNewPrivs:"), ["1"], "{identity}");

    let mut without = admitted;
    without.pod["spec"]["securityContext"]["sysctls"] = json!([]);
    let without = cluster.run(cluster.spec(without, "default"))?;
    let has_failed = |status: &Status| status.exit(names::CONTAINER_NAME).is_some();
    let status = without.wait_for("the sidecar to fail", has_failed).await?;
    assert_ne!(status.exit(names::CONTAINER_NAME), Some(Exit::Code(0)), "{}", status.describe());
    let said = status.container(names::CONTAINER_NAME).map(|sidecar| sidecar.error.as_str());
    assert!(said.is_some_and(|said| said.contains("ermission denied")), "{}", status.describe());
    Ok(())
}

fn line_of<'a>(status: &'a str, key: &str) -> Vec<&'a str> {
    let line = status.lines().find_map(|line| line.strip_prefix(key));
    line.unwrap_or_default().split_whitespace().collect()
}

async fn the_sidecar_answers_until_the_application_has_ended_and_exits_0(
    testbed: Testbed,
) -> Result<(), Failure> {
    let cluster = testbed.cluster_with_webhook().await?;
    let status = cluster.create(pod(&["lookup", "www.example.com"]), "default").await?.finished().await?;
    assert_success(&status, "app");
    assert_success(&status, names::CONTAINER_NAME);
    let ended = |name: &str| status.container(name).and_then(|container| Some(container.exits.first()?.1));
    assert!(ended("app") <= ended(names::CONTAINER_NAME), "{}", status.describe());
    Ok(())
}

async fn the_sidecar_is_started_again_when_it_dies(testbed: Testbed) -> Result<(), Failure> {
    let cluster = testbed.cluster_with_webhook().await?;
    let running = cluster.create(sleeping_pod(), "default").await?;
    running.ready("app").await?;
    running.signal(names::CONTAINER_NAME, SIGKILL).await?;
    let is_back = |status: &Status| {
        let sidecar = status.container(names::CONTAINER_NAME);
        sidecar.is_some_and(|sidecar| sidecar.starts == 2 && sidecar.exits.len() == 1)
    };
    running.wait_for("the sidecar to be started again", is_back).await?;
    // Its gate tells when it answers, as it does at the pod's start.
    let gate = running.execute(names::CONTAINER_NAME, &[names::SIDECAR_PATH, "await"]).await?;
    assert!(gate.exit.is_success(), "{gate:?}");
    look_up(&running, &["www.example.com"]).await?;
    Ok(())
}

/// The application looks a name up in its preStop hook, after the deletion; then it gets SIGTERM.
async fn a_deleted_pod_has_dns_while_its_application_ends(testbed: Testbed) -> Result<(), Failure> {
    let cluster = testbed.cluster_with_webhook().await?;
    let mut pod = sleeping_pod();
    pod["spec"]["containers"][0]["lifecycle"] =
        json!({ "preStop": { "exec": { "command": ["lookup", "api.example.com"] } } });
    let running = cluster.create(pod, "default").await?;
    running.ready("app").await?;
    running.delete().await?;
    let status = running.finished().await?;
    assert_eq!(status.exit("app"), Some(Exit::Signal(SIGTERM)), "{}", status.describe());
    assert_success(&status, names::CONTAINER_NAME);
    assert!(cluster.dns.counts().of("api.example.com", RecordType::A) > 0, "{}", cluster.dns.counts());
    Ok(())
}

/// `lookup` is dynamic; that it cannot start shows that nothing of the machine is there. The static programs
/// of the images can.
async fn in_an_empty_root_a_dynamic_program_does_not_even_find_its_loader(
    testbed: Testbed,
) -> Result<(), Failure> {
    let cluster = testbed.cluster().await?;
    let mut pod = pod(&["lookup", "www.example.com"]);
    pod["spec"]["containers"][0]["securityContext"] = json!({ "runAsUser": 65532, "runAsNonRoot": true });
    let admitted = cluster.admit(pod, "default").await?;
    let running = cluster.run(cluster.spec(admitted, "default").with_empty_root("app"))?;
    let status = running.finished().await?;
    assert_eq!(status.exit("app"), Some(Exit::Code(127)), "{}", status.describe());
    let said = status.container("app").map(|app| app.error.as_str());
    assert!(said.is_some_and(|said| said.contains("No such file")), "{}", status.describe());
    Ok(())
}

/// A program that has left its container's process group and its parent is still the pod's.
async fn a_pod_leaves_no_process_behind(testbed: Testbed) -> Result<(), Failure> {
    let cluster = testbed.cluster().await?;
    let running = cluster.create(pod(&["sh", "-c", "sleep 4711 & echo left"]), "default").await?;
    let status = running.finished().await?;
    assert_success(&status, "app");
    let mut attempts = 0;
    while processes_with("4711") > 0 {
        attempts += 1;
        assert!(attempts < 1000, "a process of the pod is left");
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    Ok(())
}

/// Processes of this machine whose arguments contain a text.
fn processes_with(argument: &str) -> usize {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let arguments = entries.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
    arguments.filter(|bytes| bytes.split(|byte| *byte == 0).any(|word| word == argument.as_bytes())).count()
}
