//! The second part of the report: its verdicts about workloads match what the API server does. And `inject`
//! prints the pod that the API server stores.

use podlocal_harness::cluster::client::{Libc, SLEEP, pod_spec};
use podlocal_harness::cluster::coredns::CoreDns;
use podlocal_harness::cluster::{eventually, kubectl, product, tier};
use podlocal_harness::failure::Failure;
use podlocal_settings::names::{CONTAINER_NAME, INJECT_DISABLED, INJECT_ENABLED, INJECT_LABEL, PORT_SYSCTL};
use serde_json::{Value, json};

use super::{pending_pod, report, run, run_with_input};
use crate::injection::workloads;
use crate::runner::Context;

/// Changes a pod into one that is injected, or into one that is skipped for a reason.
type Change = fn(&mut Value);

/// Pods, and the reason why each is not injected; `None` for an injected pod.
///
/// The API server itself refuses pods that would have the other reasons: more than three nameservers, an
/// unknown dnsPolicy, no container.
const PODS: [(&str, Option<&str>, Change); 16] = [
    ("plain", None, |_| {}),
    ("own-ndots", None, |pod| {
        pod["spec"]["dnsConfig"] =
            json!({ "options": [{ "name": "ndots", "value": "4" }], "searches": ["corp.example"] });
    }),
    ("guaranteed", None, |pod| {
        pod["spec"]["containers"][0]["resources"] = json!({ "limits": { "cpu": "1", "memory": "1Gi" } });
    }),
    ("own-servers", None, |pod| {
        pod["metadata"]["labels"] = json!({ INJECT_LABEL: INJECT_ENABLED });
        pod["spec"]["dnsPolicy"] = json!("None");
        pod["spec"]["dnsConfig"] = json!({ "nameservers": ["192.0.2.1"] });
    }),
    ("tuned", None, |pod| {
        pod["metadata"]["annotations"] =
            json!({ "podlocal-dns.io/ndots": "many", "podlocal-dns.io/prefetch-names": "www.example.com" });
    }),
    ("opted-out", Some("opted_out"), |pod| {
        pod["metadata"]["labels"] = json!({ INJECT_LABEL: INJECT_DISABLED });
    }),
    ("windows", Some("windows_pod"), |pod| {
        pod["spec"]["nodeSelector"] = json!({ "kubernetes.io/os": "windows" });
    }),
    ("name-taken", Some("container_name_taken"), |pod| {
        pod["spec"]["containers"][0]["name"] = json!(CONTAINER_NAME);
    }),
    ("host-network", Some("host_network"), |pod| pod["spec"]["hostNetwork"] = json!(true)),
    ("policy-default", Some("dns_policy_default"), |pod| pod["spec"]["dnsPolicy"] = json!("Default")),
    ("policy-none", Some("dns_policy_none"), |pod| {
        pod["spec"]["dnsPolicy"] = json!("None");
        pod["spec"]["dnsConfig"] = json!({ "nameservers": ["192.0.2.1"] });
    }),
    ("dns-port", Some("dns_port_taken"), |pod| {
        pod["spec"]["containers"][0]["ports"] = json!([{ "containerPort": 53, "protocol": "UDP" }]);
    }),
    ("admin-port", Some("admin_port_taken"), |pod| {
        pod["spec"]["containers"][0]["ports"] = json!([{ "containerPort": 9353 }]);
    }),
    ("sysctl", Some("privileged_port_sysctl"), |pod| {
        pod["spec"]["securityContext"]["sysctls"] = json!([{ "name": PORT_SYSCTL, "value": "1024" }]);
    }),
    ("many-domains", Some("too_many_search_domains"), |pod| {
        let domains: Vec<_> = (0..30).map(|number| format!("s{number}.example")).collect();
        pod["spec"]["dnsConfig"] = json!({ "searches": domains });
    }),
    ("long-list", Some("search_list_too_long"), |pod| {
        let label = "x".repeat(63);
        let domains: Vec<_> =
            (0..10).map(|number| format!("s{number}.{label}.{label}.{label}.example")).collect();
        pod["spec"]["dnsConfig"] = json!({ "searches": domains });
    }),
];

/// Creates the same pods in a namespace that is not opted in and in one that is. `check` predicts for the
/// first what the API server does in the second.
pub(crate) async fn every_verdict_about_a_pod_is_what_the_api_server_does(
    context: Context,
) -> Result<(), Failure> {
    let before = context.namespace_with(json!({}), json!({})).await?;
    let after = &context.namespace;
    for (name, reason, change) in PODS {
        let mut pod = pending_pod(name);
        change(&mut pod);
        let stored = after.apply(pod.clone()).await?.object;
        let containers = &stored["spec"]["initContainers"];
        let is_injected = containers[0]["name"] == CONTAINER_NAME;
        assert_eq!(is_injected, reason.is_none(), "{name} has init containers: {containers}");
        // In this namespace the pod's label alone would inject it; it replaces the label of the namespace.
        if pod["metadata"]["labels"][INJECT_LABEL] != INJECT_ENABLED {
            before.apply(pod).await?;
        }
    }
    let predicted = report(&["--namespace", &before.name, "--as-if-enabled"]).await?;
    let seen = report(&["--namespace", &after.name]).await?;
    for (name, reason, _) in PODS {
        let verdict =
            |injected| reason.map_or_else(|| json!([injected, null]), |reason| json!(["not", reason]));
        assert_eq!(verdict_of(&seen, "Pod", name), verdict("already"), "{name} after its creation");
        if name != "own-servers" {
            let before = verdict_of(&predicted, "Pod", name);
            assert_eq!(before, verdict("injected"), "{name} before it is opted in");
        }
    }
    let unlabelled = report(&["--namespace", &before.name]).await?;
    assert_eq!(verdict_of(&unlabelled, "Pod", "plain"), json!(["not", "not_opted_in"]));
    let system = report(&["--namespace", "kube-system", "--as-if-enabled"]).await?;
    assert_eq!(system["workloads"][0]["reason"]["label"], "namespace_excluded", "{system}");

    // In the printed report: the row of the table, the meaning of each reason, and a warning about ignored
    // settings.
    let page = run(&["check", "--namespace", &after.name, "--strict"]).await?;
    for text in ["Pod/plain", "already", "not: dns_port_taken", "\nNot injected\n", "\nIgnored settings\n"] {
        assert!(page.stdout.contains(text), "{text:?} is missing in\n{}", page.stdout);
    }
    assert_eq!(page.code, Some(3), "--strict: {page:?}");
    Ok(())
}

/// Pods of controllers: `check` counts them under the workload of their controller.
pub(crate) async fn verdicts_about_workloads_follow_their_injection(context: Context) -> Result<(), Failure> {
    let namespace = context.namespace_with(json!({}), json!({})).await?;
    let mut spec = pod_spec(Libc::Musl, &SLEEP);
    spec["schedulerName"] = json!("nobody");
    workloads::create(&namespace, spec.clone(), spec).await?;
    // The Job of the CronJob counts as the CronJob's workload; a DaemonSet has one pod on each node.
    let kinds = [&workloads::CONTROLLERS[..], &["Job", "CronJob"]].concat();
    let arguments = ["--namespace", &namespace.name, "--as-if-enabled"];
    let predicted = eventually("every workload has a pod", async || {
        let report = report(&arguments).await?;
        let rows = report["workloads"].as_array().map_or(0, Vec::len);
        Ok((rows >= kinds.len()).then_some(report))
    })
    .await?;
    for kind in &kinds {
        let verdict = verdict_of(&predicted, kind, &kind.to_lowercase());
        assert_eq!(verdict, json!(["injected", null]), "{predicted}");
    }
    let nodes = context.cluster.list(&context.cluster.api("v1", "Node", None), "").await?.len();
    assert_eq!(predicted["summary"]["injected"]["pods"], 2 + 1 + nodes + 1 + 1, "{predicted}");

    kubectl(&["label", "namespace", &namespace.name, &format!("{INJECT_LABEL}={INJECT_ENABLED}")]).await?;
    kubectl(&["--namespace", &namespace.name, "delete", "pods", "--all", "--wait=false"]).await?;
    eventually("every new pod has the sidecar", async || {
        let report = report(&arguments[..2]).await?;
        let is_done =
            |kind: &&str| verdict_of(&report, kind, &kind.to_lowercase()) == json!(["already", null]);
        Ok(kinds[..3].iter().all(is_done).then_some(()))
    })
    .await
}

pub(crate) async fn inject_prints_the_pod_that_the_api_server_stores(
    context: Context,
) -> Result<(), Failure> {
    let namespace = &context.namespace;
    let dns = format!("--cluster-dns={}", CoreDns::find(&context.cluster).await?.address);
    let tier = product::namespace(&context.cluster).get("v1", "Service", tier::NAME).await?;
    let tier = format!("--shared-tier={}", tier["spec"]["clusterIP"].as_str().unwrap_or_default());
    let arguments = ["inject", "-f", "-", "--namespace", &namespace.name, &dns, &tier, "--output=json"];
    for (name, reason, change) in PODS {
        let mut pod = pending_pod(name);
        change(&mut pod);
        // The webhook has probed cluster DNS for the properties that the sidecar may rely on; `inject` sends
        // no query.
        pod["metadata"]["annotations"]["podlocal-dns.io/local-nxdomain"] = json!("full");
        let printed = run_with_input(&arguments, &pod.to_string()).await?;
        let injected: Value = serde_json::from_str(&printed.stdout).unwrap_or_default();
        let said = reason.map_or_else(|| "injected".to_owned(), |reason| format!("({reason})"));
        assert!(injected["spec"].is_object() && printed.stderr.contains(&said), "{said}: {printed:?}");
        // Both get the defaults of the API server. The webhook skips a pod that already has the sidecar.
        let stored = namespace.apply_with(pod, "dryRun=All").await?.object;
        let printed = namespace.apply_with(injected, "dryRun=All").await?.object;
        for part in ["/spec", "/metadata/annotations", "/metadata/labels"] {
            assert_eq!(printed.pointer(part), stored.pointer(part), "{part} of {name}, {reason:?}");
        }
    }
    Ok(())
}

/// The verdict about a workload, and its reason.
fn verdict_of(report: &Value, kind: &str, name: &str) -> Value {
    let workloads = report["workloads"].as_array().into_iter().flatten();
    let found = workloads.into_iter().find(|one| one["kind"] == kind && one["name"] == name);
    found.map_or(Value::Null, |one| json!([one["verdict"], one["reason"]["label"]]))
}
