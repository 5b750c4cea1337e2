//! The built program `podlocal-webhook check` with a fake API server, for cases that the shared cluster of
//! `tests/cluster/check` does not have. They are lists of many pages, errors in the middle of them, an old
//! Kubernetes, two address families, defaults and a tier for all pods.

mod common;

use std::process::{Output, Stdio};

use common::api_server::{ApiServer, NAMESPACES};
use common::program;
use podlocal_settings::names::{CONTAINER_NAME, INJECT_ENABLED, INJECT_LABEL, SHARED_TIER_LABEL};
use podlocal_settings::table;
use podlocal_webhook::check::api::{Resource, Seen, list};
use podlocal_webhook::documents::yaml;
use serde_json::{Value, json};

const CONFIGURATIONS: &str = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations";
const SLICES: &str = "/apis/discovery.k8s.io/v1/namespaces/podlocal-dns/endpointslices";
const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/podlocal-dns/deployments";
const SETTINGS: &str = "/api/v1/namespaces/podlocal-dns/configmaps/settings";
const INSTALLED: &str = include_str!("../../manifests/base/mutatingwebhookconfiguration.yaml");

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workload_row_shows_cluster_defaults_and_shared_tier() {
    let cluster = TestCluster::installed().await;
    let output = cluster.check(&["--strict"]);
    let page = page(&output);
    assert_eq!(output.status.code(), Some(0), "{page}{}", stderr(&output));
    for line in [
        "  ok       Service podlocal-dns/podlocal-dns-webhook: 2 ready\n",
        "  ok       the webhook's settings: image registry.example/sidecar:7, cluster-wide defaults: ndots=3\n",
        "  ok       the shared tier: Service tier, 10.96.0.53:53: 1 ready\n",
    ] {
        assert!(page.contains(line), "{line} is not in\n{page}");
    }
    let row = page.lines().find(|line| line.contains("Deployment/web")).expect("a row");
    assert!(row.contains("ndots 5 -> 3, ") && row.contains("uses the shared tier"), "{row}");
    assert!(!page.contains("Deployment/idle"), "what is not opted in is not listed\n{page}");
    assert_eq!(stderr(&output), "", "no bar where there is no terminal");

    let all = self::page(&cluster.check(&["--all", "--verbose"]));
    assert!(all.contains("Deployment/idle"), "{all}");
    assert!(all.contains("+     image: registry.example/sidecar:7\n"), "{all}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unready_cert_controller_is_a_problem_absent_one_is_not() {
    let cluster = TestCluster::installed().await;
    let line = "  problem  Deployment podlocal-dns/podlocal-dns-cert-controller is not ready: ";
    assert!(!page(&cluster.check(&[])).contains(line), "there is none");
    let path = format!("{DEPLOYMENTS}/podlocal-dns-cert-controller");
    for (status, is_named) in [(json!({}), true), (json!({"readyReplicas": 1}), false)] {
        cluster.api.put(&path, json!({"status": status}));
        assert_eq!(page(&cluster.check(&[])).contains(line), is_named, "{status}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limit_range_of_the_namespace_adjusts_sidecar_requests() {
    let cluster = TestCluster::installed().await;
    cluster.pod(
        "jobs",
        "sized",
        "",
        "",
        &json!({"spec": {"containers": [
            {"name": "app", "resources": {"requests": {"memory": "1Gi"}, "limits": {"memory": "1Gi"}}},
        ]}}),
    );
    let row = || {
        let page = page(&cluster.check(&[]));
        page.lines().find(|line| line.contains("Pod/sized")).expect("a row").to_owned()
    };
    assert!(row().contains("+ requests cpu 5m, memory 12Mi"), "{}", row());
    let range = |kind: &str, amounts: Value| {
        let range = json!({
            "metadata": {"name": "bounds", "namespace": "jobs"},
            "spec": {"limits": [{"type": kind, if kind == "Pod" { "max" } else { "min" }: amounts}]},
        });
        cluster.api.put(&format!("{NAMESPACES}/jobs/limitranges/bounds"), range);
    };
    range("Container", json!({"cpu": "50m", "memory": "48Mi"}));
    assert!(row().contains("+ requests cpu 50m, memory 48Mi"), "{}", row());
    range("Pod", json!({"memory": "1Gi"}));
    assert!(row().contains("not: limit_range_conflict"), "{}", row());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_without_native_sidecars_are_a_problem() {
    let cluster = TestCluster::installed().await;
    let node = |name: &str, version: &str| {
        let info = json!({"nodeInfo": {"kubeletVersion": version}});
        cluster
            .api
            .put(&format!("/api/v1/nodes/{name}"), json!({"metadata": {"name": name}, "status": info}));
    };
    node("new", "v1.34.1");
    node("oldest-that-works", "v1.29.0-eks-1234");
    let line = "have a kubelet older than 1.29";
    assert!(!page(&cluster.check(&[])).contains(line));
    node("behind", "v1.28.9-gke.100");
    let page = page(&cluster.check(&[]));
    assert!(
        page.contains(
            "  problem  1 nodes have a kubelet older than 1.29, for example behind (v1.28.9-gke.100)"
        ),
        "{page}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kube_dns_is_reported_with_its_consequence() {
    let cluster = TestCluster::installed().await;
    let line = "  ok       cluster DNS is kube-dns, which answers NXDOMAIN for existing namespaces: ";
    assert!(!page(&cluster.check(&[])).contains(line));
    let variable = format!("name: {}\n", table::LOCAL_NXDOMAIN.variable());
    assert!(!page(&cluster.check(&["--verbose"])).contains(&variable));
    let deployment =
        |container: &str| json!({"spec": {"template": {"spec": {"containers": [{"name": container}]}}}});
    let path = "/apis/apps/v1/namespaces/kube-system/deployments/kube-dns";
    for (container, is_named) in [("coredns", false), ("kubedns", true)] {
        cluster.api.put(path, deployment(container));
        assert_eq!(page(&cluster.check(&[])).contains(line), is_named, "{container}");
    }
    assert!(page(&cluster.check(&["--verbose"])).contains(&variable));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pods_are_paged_and_grouped_by_workload_and_sidecar() {
    let cluster = TestCluster::installed().await;
    for index in 0..1_200 {
        cluster.pod("jobs", &format!("train-{index}"), "Job", "train", &json!({}));
    }
    let ours = json!({"spec": {"initContainers": [{"name": CONTAINER_NAME, "restartPolicy": "Always"}]}});
    for index in 0..7 {
        cluster.pod("jobs", &format!("new-{index}"), "Job", "train", &ours);
        cluster.pod(
            "jobs",
            &format!("over-{index}"),
            "Job",
            "train",
            &json!({"status": {"phase": "Succeeded"}}),
        );
    }
    // The state of the list expires meanwhile.
    cluster.api.expire_next(1);
    let document = cluster.json(&[]);
    let workloads = document["workloads"].as_array().expect("workloads");
    let train: Vec<_> = workloads.iter().filter(|workload| workload["name"] == "train").collect();
    let found: Vec<_> = train.iter().map(|row| (row["verdict"].as_str(), row["pods"].as_u64())).collect();
    assert_eq!(found, [(Some("injected"), Some(1_200)), (Some("already"), Some(7))]);
    assert_eq!(cluster.api.read("/api/v1/pods"), 4, "three pages, one of them twice");
    assert_eq!(document["estimate"]["pods"], 1_203);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failed_page_is_retried_and_forbidden_one_is_not() {
    let cluster = TestCluster::installed().await;
    let pods = Resource { group: "", plural: "pods", namespace: Some("jobs"), name: None };
    let client = cluster.api.client();
    let mut seen = 0;
    cluster.api.fail_next(1);
    let whole = list(&client, pods, None, |page: Vec<Value>, _| seen += page.len()).await;
    assert_eq!((whole, seen, cluster.api.failed()), (Seen::Is(()), 3, 1));
    let path = format!("{NAMESPACES}/jobs/pods");
    cluster.api.forbid(&path);
    let before = cluster.api.read(&path);
    let refused = list(&client, pods, None, |_: Vec<Value>, _| {}).await;
    assert_eq!(refused, Seen::Forbidden("list pods --namespace jobs".to_owned()));
    assert_eq!(cluster.api.read(&path), before + 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn old_kubernetes_is_a_problem_and_missing_dns_service_is_unknown() {
    let cluster = TestCluster::start().await;
    cluster.api.put("/version", json!({"major": "1", "minor": "28+", "gitVersion": "v1.28.9"}));
    cluster.pod("jobs", "alone", "", "", &json!({}));
    let output = cluster.check(&["--strict"]);
    let page = page(&output);
    assert_eq!(output.status.code(), Some(3), "{page}{}", stderr(&output));
    for line in [
        "  problem  Kubernetes 1.28: native sidecars need 1.29\n           next: upgrade the cluster\n",
        "  unknown  cluster DNS: no Service in kube-system has the label",
    ] {
        assert!(page.contains(line), "{line} is not in\n{page}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn check_continues_without_permissions() {
    let cluster = TestCluster::installed().await;
    cluster.api.forbid(NAMESPACES);
    let output = cluster.check(&[]);
    let page = page(&output);
    assert_eq!(output.status.code(), Some(0), "{page}");
    let is_opted_in = |name: &str| page.contains(name);
    assert!(is_opted_in("Deployment/web") && is_opted_in("Deployment/idle"), "all count as opted in\n{page}");

    cluster.api.forbid("/api/v1/pods");
    cluster.api.forbid(SETTINGS);
    let output = cluster.check(&["--namespace", "jobs"]);
    let page = self::page(&output);
    assert_eq!(output.status.code(), Some(0), "one namespace may be seen: {page}");
    let right = "kubectl auth can-i get configmaps/settings --namespace podlocal-dns\n";
    assert!(page.contains(right) && page.contains("Deployment/web"), "{page}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unreachable_cluster_is_one_error_with_a_next_step() {
    let cluster = TestCluster::start().await;
    cluster.api.set_down(true);
    for output in [
        cluster.check(&[]),
        cluster.check(&["--context", "other"]),
        run(program().args(["check", "--kubeconfig", "/no/such/file"])),
        run(program().args(["check"]).env("KUBECONFIG", "/no/such/file")),
    ] {
        assert_eq!(output.status.code(), Some(1), "{}", page(&output));
        let text = stderr(&output);
        assert!(text.starts_with("podlocal-webhook: ") && text.contains("\nnext: "), "{text}");
        assert_eq!(page(&output), "");
    }
}

/// A fake API server and its kubeconfig.
struct TestCluster {
    api: ApiServer,
    folder: tempfile::TempDir,
}

impl TestCluster {
    /// A cluster without the webhook.
    async fn start() -> Self {
        let api = ApiServer::start().await;
        api.put("/version", json!({"major": "1", "minor": "34", "gitVersion": "v1.34.0"}));
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("kubeconfig"), api.kubeconfig()).expect("writes");
        Self { api, folder }
    }

    /// A complete installation, with a namespace that is opted in and one that is not.
    async fn installed() -> Self {
        let cluster = Self::start().await;
        let api = &cluster.api;
        let mut configuration = yaml::read(INSTALLED).expect("YAML").remove(0);
        for entry in configuration["webhooks"].as_array_mut().expect("entries") {
            entry["clientConfig"]["caBundle"] = json!("Q0E=");
        }
        api.put(&format!("{CONFIGURATIONS}/podlocal-dns-webhook"), configuration);
        cluster.slice("podlocal-dns-webhook", &[Some(true), None, Some(false)]);
        let args =
            ["serve", "--sidecar-image=registry.example/sidecar:7", "--settings=/etc/podlocal/settings.yaml"];
        let pod = json!({
            "containers": [{
                "name": "webhook", "args": args,
                "volumeMounts": [{"name": "settings", "mountPath": "/etc/podlocal"}],
            }],
            "volumes": [{"name": "settings", "configMap": {"name": "settings"}}],
        });
        api.put(&format!("{DEPLOYMENTS}/podlocal-dns-webhook"), json!({"spec": {"template": {"spec": pod}}}));
        api.put(SETTINGS, json!({"data": {"settings.yaml": "ndots: 3\n"}}));
        cluster.service("kube-system", "kube-dns", "10.96.0.10", &json!({"k8s-app": "kube-dns"}));
        cluster.service("podlocal-dns", "tier", "10.96.0.53", &json!({SHARED_TIER_LABEL: "true"}));
        cluster.slice("tier", &[Some(true), Some(false)]);
        for (name, labels) in [("jobs", json!({INJECT_LABEL: INJECT_ENABLED})), ("quiet", json!({}))] {
            let namespace = json!({"metadata": {"name": name, "labels": labels}});
            api.put(&format!("{NAMESPACES}/{name}"), namespace);
        }
        for index in 0..3 {
            cluster.pod("jobs", &format!("web-{index}"), "ReplicaSet", "web-7d9f", &json!({}));
        }
        for index in 0..2 {
            cluster.pod("quiet", &format!("idle-{index}"), "ReplicaSet", "idle-7d9f", &json!({}));
        }
        cluster
    }

    /// Adds a pod of that controller, as the API server lists it.
    fn pod(&self, namespace: &str, name: &str, kind: &str, controller: &str, change: &Value) {
        let mut pod = json!({
            "metadata": {"name": name, "namespace": namespace, "labels": {"pod-template-hash": "7d9f"}},
            "spec": {"containers": [{"name": "app"}], "dnsPolicy": "ClusterFirst", "nodeName": "node-1"},
            "status": {"phase": "Running", "podIP": "10.244.0.7"},
        });
        if !kind.is_empty() {
            pod["metadata"]["ownerReferences"] =
                json!([{"kind": kind, "name": controller, "controller": true}]);
        }
        json_patch::merge(&mut pod, change);
        self.api.put(&format!("{NAMESPACES}/{namespace}/pods/{name}"), pod);
    }

    fn service(&self, namespace: &str, name: &str, address: &str, labels: &Value) {
        let port =
            |protocol: &str| json!({"name": protocol.to_lowercase(), "port": 53, "protocol": protocol});
        let service = json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {"name": name, "namespace": namespace, "labels": labels},
            "spec": {"type": "ClusterIP", "clusterIPs": [address], "ports": [port("UDP"), port("TCP")]},
        });
        self.api.put(&format!("{NAMESPACES}/{namespace}/services/{name}"), service);
    }

    /// Adds the pods of a Service, with their ready conditions, in one slice for each address family.
    fn slice(&self, service: &str, ready: &[Option<bool>]) {
        for (family, prefix) in [("IPv4", "10.244.1."), ("IPv6", "fd00::")] {
            let endpoint = |(number, ready): (usize, &Option<bool>)| {
                json!({
                    "addresses": [format!("{prefix}{number}")], "conditions": {"ready": ready},
                    "targetRef": {"kind": "Pod", "name": format!("{service}-{number}")},
                })
            };
            let endpoints: Vec<_> = ready.iter().enumerate().map(endpoint).collect();
            let name = format!("{service}-{}", family.to_lowercase());
            let labels = json!({"kubernetes.io/service-name": service});
            let slice = json!({
                "metadata": {"name": name, "labels": labels}, "addressType": family, "endpoints": endpoints,
            });
            self.api.put(&format!("{SLICES}/{name}"), slice);
        }
    }

    fn check(&self, flags: &[&str]) -> Output {
        let kubeconfig = self.folder.path().join("kubeconfig");
        run(program().arg("check").args(flags).env("KUBECONFIG", kubeconfig))
    }

    fn json(&self, flags: &[&str]) -> Value {
        let output = self.check(&[flags, &["--json"]].concat());
        assert_eq!(output.status.code(), Some(0), "{}{}", page(&output), stderr(&output));
        serde_json::from_slice(&output.stdout).expect("JSON")
    }
}

/// Runs the command to its end, while the tasks of the API server continue.
fn run(command: &mut std::process::Command) -> Output {
    let command = command.stdin(Stdio::null());
    tokio::task::block_in_place(|| command.output().expect("starts"))
}

fn page(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}
