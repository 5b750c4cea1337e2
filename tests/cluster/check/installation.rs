//! The first part of the report: whether the webhook is installed and works.
//!
//! Each problem is created in a separate configuration and in separate Services, which
//! `--webhook-configuration` names, so that the installation of the other tests stays as it is. Two problems
//! need another cluster and are not tested: a Kubernetes older than 1.29, and cluster DNS without its
//! Service.

use podlocal_harness::cluster::client::{Libc, SLEEP, pod};
use podlocal_harness::cluster::namespace::Namespace;
use podlocal_harness::cluster::{eventually, kubectl, object};
use podlocal_harness::failure::{Failure, WithContext as _};
use podlocal_settings::names::{SHARED_TIER, SHARED_TIER_LABEL};
use serde_json::{Value, json};

use super::{report, run};
use crate::runner::Context;

/// The name of the separate Service and Deployment.
const COPY: &str = "copy";

pub(crate) async fn check_finds_nothing_wrong_with_the_installation(context: Context) -> Result<(), Failure> {
    context.namespace.run(pod("injected", Libc::Glibc, &SLEEP)).await?;
    let ran = run(&["check", "--strict", "--namespace", &context.namespace.name]).await?;
    let rows = ran.stdout.split("\nInstallation\n").nth(1).unwrap_or_default();
    let rows: Vec<_> = rows.lines().take_while(|line| !line.is_empty()).collect();
    let expected = [
        "  ok       Kubernetes 1.",
        "  ok       MutatingWebhookConfiguration podlocal-dns-webhook with its caBundle",
        "  ok       Service podlocal-dns/podlocal-dns-webhook: ",
        "  ok       the webhook's settings: image ",
        "  ok       cluster DNS: ",
        "  ok       the shared tier: Service podlocal-dns-shared, ",
        "  ok       injected pods that use the shared tier: 1 of 1",
    ];
    assert_eq!(rows.len(), expected.len(), "{ran:?}");
    for (row, expected) in rows.iter().zip(expected) {
        assert!(row.starts_with(expected), "expected {expected:?} in {row:?}");
    }
    assert_eq!(ran.code, Some(0), "{ran:?}");
    Ok(())
}

pub(crate) async fn check_says_what_is_wrong_with_an_installation(context: Context) -> Result<(), Failure> {
    let namespace = &context.namespace;
    let name = namespace.name.as_str();
    assert_rows(namespace, &["problem MutatingWebhookConfiguration NAME not found"]).await?;

    let api = context.cluster.api("admissionregistration.k8s.io/v1", "MutatingWebhookConfiguration", None);
    let installed = context.cluster.get(&api, "podlocal-dns-webhook").await?;
    let mut copy = json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingWebhookConfiguration",
        "metadata": { "name": name },
        "webhooks": [],
    });
    namespace.apply_to_cluster(copy.clone()).await?;
    assert_rows(namespace, &["problem MutatingWebhookConfiguration NAME has no webhooks"]).await?;

    copy["webhooks"] = json!([harmless(&installed["webhooks"][0], name)]);
    context.cluster.patch(&api, name, &json!({ "webhooks": copy["webhooks"] })).await?;
    let labels = json!({ SHARED_TIER_LABEL: SHARED_TIER });
    // A shared tier needs TCP as well.
    let ports = json!([{ "name": "dns", "port": 53, "protocol": "UDP" }]);
    namespace.apply(service("half", &labels, &ports)).await?;
    let rows = [
        "problem MutatingWebhookConfiguration NAME has no caBundle",
        "unknown MutatingWebhookConfiguration NAME has custom match conditions",
        "problem Service NAME/copy: no endpoint is ready",
        "unknown the webhook's settings: no Deployment has the name of the Service",
        "problem the shared tier: Services half have its label",
    ];
    assert_rows(namespace, &rows).await?;

    // Two errors of an operator that would keep a webhook from starting.
    namespace.apply(deployment(&["serve", "--sidecar-image=x", "--shutdown-delay=soon"])).await?;
    assert_rows(namespace, &["problem the webhook's settings: invalid arguments or settings"]).await?;
    let volumes = json!([{ "name": "settings", "configMap": { "name": "gone" } }]);
    let mounts = json!([{ "name": "settings", "mountPath": "/settings" }]);
    let mut template = deployment(&["serve"])["spec"]["template"]["spec"].clone();
    template["volumes"] = volumes;
    template["containers"][0]["volumeMounts"] = mounts;
    let patch = json!({ "spec": { "template": { "spec": template } } });
    namespace.patch("apps/v1", "Deployment", COPY, &patch).await?;
    let row = "problem the webhook's settings: ConfigMap gone, which its Deployment mounts, not found";
    assert_rows(namespace, &[row]).await?;

    let ports = json!([
        { "name": "dns", "port": 53, "protocol": "UDP" }, { "name": "dns-tcp", "port": 53, "protocol": "TCP" },
    ]);
    namespace.apply(service("whole", &labels, &ports)).await?;
    // No server answers at that address.
    assert_rows(namespace, &["problem the shared tier: Service whole, "]).await
}

/// Runs `check` as a user without permissions, and then with the one permission that `check` needs to
/// continue.
pub(crate) async fn check_names_the_right_that_is_missing(context: Context) -> Result<(), Failure> {
    let namespace = &context.namespace;
    let name = namespace.name.as_str();
    let folder = tempfile::tempdir().with_context("creating a directory")?;
    let file = folder.path().join("kubeconfig");
    let kubeconfig = kubectl(&["config", "view", "--raw", "--minify", "--flatten", "--output=json"]).await?;
    let mut kubeconfig: Value = serde_json::from_str(&kubeconfig).with_context("reading KUBECONFIG")?;
    kubeconfig["users"][0]["user"]["as"] = json!(format!("system:serviceaccount:{name}:default"));
    std::fs::write(&file, kubeconfig.to_string()).with_context(|| format!("writing {}", file.display()))?;
    let file = file.to_string_lossy().into_owned();
    let forbidden = async || run(&["check", "--kubeconfig", &file]).await;

    let ran = forbidden().await?;
    assert_eq!(ran.code, Some(1), "the pods cannot be read: {ran:?}");
    for right in [
        "get mutatingwebhookconfigurations.admissionregistration.k8s.io/podlocal-dns-webhook",
        "list services --namespace kube-system",
        "list services --namespace podlocal-dns",
        "list namespaces",
        "list pods --all-namespaces",
    ] {
        assert_names_right(&ran.stdout, right);
    }

    let rule = json!({
        "apiGroups": ["admissionregistration.k8s.io"],
        "resources": ["mutatingwebhookconfigurations"],
        "verbs": ["get"],
    });
    let rbac = |kind: &str| json!({ "apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind, "metadata": { "name": name } });
    let mut role = rbac("ClusterRole");
    role["rules"] = json!([rule]);
    let mut binding = rbac("ClusterRoleBinding");
    binding["roleRef"] =
        json!({ "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name });
    binding["subjects"] = json!([{ "kind": "ServiceAccount", "namespace": name, "name": "default" }]);
    namespace.apply_to_cluster(role).await?;
    namespace.apply_to_cluster(binding).await?;
    let ran = eventually("the right is there", async || {
        let ran = forbidden().await?;
        Ok(ran.stdout.contains("podlocal-dns-webhook with its caBundle").then_some(ran))
    })
    .await?;
    for right in [
        "list endpointslices.discovery.k8s.io --namespace podlocal-dns",
        "get deployments.apps/podlocal-dns-webhook --namespace podlocal-dns",
    ] {
        assert_names_right(&ran.stdout, right);
    }
    Ok(())
}

fn assert_names_right(page: &str, right: &str) {
    let line = format!("next: ask for this permission: kubectl auth can-i {right}\n");
    assert!(page.contains(&line), "{line}is missing in\n{page}");
}

/// Checks the configuration that has the namespace's name. Each row is a state and the beginning of its text;
/// `NAME` stands for that name.
async fn assert_rows(namespace: &Namespace, rows: &[&str]) -> Result<(), Failure> {
    let name = namespace.name.as_str();
    let found = report(&["--namespace", name, "--webhook-configuration", name]).await?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let findings = found["installation"].as_array().cloned().unwrap_or_default();
    let found: Vec<_> =
        findings.iter().map(|one| format!("{} {}", text(&one["state"]), text(&one["what"]))).collect();
    for row in rows {
        let row = row.replace("NAME", name);
        assert!(found.iter().any(|found| found.starts_with(&row)), "{row:?} is not among {found:#?}");
    }
    let is_advised = |finding: &Value| finding["state"] == "ok" || finding["next"].is_string();
    assert!(findings.iter().all(is_advised), "what to do about each problem: {findings:#?}");
    Ok(())
}

/// An entry that selects no pod, without `caBundle`, with a match condition that the product does not have,
/// for a Service of the namespace.
fn harmless(entry: &Value, namespace: &str) -> Value {
    let mut entry = entry.clone();
    entry["clientConfig"] = json!({ "service": { "namespace": namespace, "name": COPY, "path": "/mutate" } });
    entry["namespaceSelector"] = json!({ "matchLabels": { "kubernetes.io/metadata.name": "nowhere" } });
    entry["matchConditions"] = json!([{ "name": "nothing", "expression": "false" }]);
    entry
}

fn service(name: &str, labels: &Value, ports: &Value) -> Value {
    let mut service = object("v1", "Service", name, &json!({ "ports": ports }));
    service["metadata"]["labels"] = labels.clone();
    service
}

/// A Deployment without pods.
fn deployment(arguments: &[&str]) -> Value {
    let labels = json!({ "app": COPY });
    let container = json!({ "name": "webhook", "image": "nobody/pulls:this", "args": arguments });
    let template = json!({ "metadata": { "labels": labels }, "spec": { "containers": [container] } });
    let spec = json!({ "replicas": 0, "selector": { "matchLabels": labels }, "template": template });
    object("apps/v1", "Deployment", COPY, &spec)
}
