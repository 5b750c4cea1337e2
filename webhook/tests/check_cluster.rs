//! The built program `podlocal-webhook check` with a fake API server, for cases that the shared cluster of
//! `tests/cluster/check` does not have. They are lists of many pages, errors in the middle of them, an old
//! Kubernetes, two address families, defaults and a tier for all pods.

mod common;

use std::path::Path;
use std::process::{Output, Stdio};

use common::api_server::{ApiServer, NAMESPACES};
use common::program;
use podlocal_webhook::check::api::{Resource, Unseen, list};
use podlocal_webhook::documents::yaml;
use serde_json::{Value, json};

const CONFIGURATION: &str =
    "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/podlocal-dns-webhook";
const CERT_CONTROLLER: &str =
    "/apis/apps/v1/namespaces/podlocal-dns/deployments/podlocal-dns-cert-controller";
const KUBE_DNS: &str = "/apis/apps/v1/namespaces/kube-system/deployments/kube-dns";
const SETTINGS: &str = "/api/v1/namespaces/podlocal-dns/configmaps/settings";
const INSTALLED: &str = include_str!("../../manifests/base/mutatingwebhookconfiguration.yaml");
const OBJECTS: &str = include_str!("check_cluster/objects.yaml");

/// `UPDATE=1 cargo test -p podlocal-webhook --test check_cluster` updates the page.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn page_of_a_cluster_matches_the_golden_file() {
    let cluster = TestCluster::installed().await;
    let output = cluster.check(&["--all", "--verbose"]);
    assert_eq!((output.status.code(), stderr(&output).as_str()), (Some(0), ""), "no bar, no error");
    let page = page(&output).replace(&cluster.api.address.to_string(), "ADDRESS");
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/check_cluster/page.txt");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&file, &page).expect("writes");
    }
    assert_eq!(page, std::fs::read_to_string(file).expect("reads"));

    let strict = cluster.check(&["--strict"]);
    assert_eq!(strict.status.code(), Some(3));
    assert!(!self::page(&strict).contains("Pod/idle"), "what is not opted in is not listed");

    // Without these problems, the page has no line about them.
    let coredns = json!({"spec": {"template": {"spec": {"containers": [{"name": "coredns"}]}}}});
    cluster.api.put(KUBE_DNS, coredns);
    cluster.api.put(CERT_CONTROLLER, json!({"status": {"readyReplicas": 1}}));
    cluster.api.remove("/api/v1/nodes/behind");
    let healthy = self::page(&cluster.check(&["--verbose"]));
    for part in ["is kube-dns", "PODLOCAL_LOCAL_NXDOMAIN", "cert-controller", "kubelet"] {
        assert!(page.contains(part) && !healthy.contains(part), "{part}: {healthy}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pods_are_paged_and_grouped_by_workload_and_sidecar() {
    let cluster = TestCluster::installed().await;
    for index in 0..1_200 {
        cluster.pod_of_train(&format!("new-{index}"));
    }
    // The state of the list expires meanwhile.
    cluster.api.objects().to_expire = 1;
    let output = cluster.check(&["--json"]);
    let document: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let workloads = document["workloads"].as_array().expect("workloads");
    let train: Vec<_> = workloads.iter().filter(|workload| workload["name"] == "train").collect();
    let found: Vec<_> = train.iter().map(|row| (row["verdict"].as_str(), row["pods"].as_u64())).collect();
    assert_eq!(found, [(Some("injected"), Some(1_200)), (Some("already"), Some(1))]);
    assert_eq!(cluster.api.read("/api/v1/pods"), 4, "three pages, one of them twice");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failed_page_is_retried_and_forbidden_one_is_not() {
    let cluster = TestCluster::installed().await;
    let pods = Resource::list("", "pods", Some("quiet"));
    let client = cluster.api.client();
    let mut seen = 0;
    cluster.api.objects().to_fail = 1;
    let whole = list(&client, pods, None, |page: Vec<Value>, _| seen += page.len()).await;
    assert_eq!((whole, seen, cluster.api.objects().failed), (Ok(()), 1, 1));
    let path = format!("{NAMESPACES}/quiet/pods");
    cluster.api.objects().forbidden.insert(path.clone());
    let before = cluster.api.read(&path);
    let refused = list(&client, pods, None, |_: Vec<Value>, _| {}).await;
    assert_eq!(refused, Err(Unseen::Forbidden("list pods --namespace quiet".to_owned())));
    assert_eq!(cluster.api.read(&path), before + 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn old_kubernetes_is_a_problem_and_missing_dns_service_is_unknown() {
    let cluster = TestCluster::start().await;
    cluster.api.put("/version", json!({"major": "1", "minor": "28+", "gitVersion": "v1.28.9"}));
    cluster.pod_of_train("one");
    let output = cluster.check(&["--strict"]);
    assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
    for line in [
        "  problem  Kubernetes 1.28: native sidecars need 1.29\n           next: upgrade the cluster\n",
        "  unknown  cluster DNS: no Service in kube-system has the label",
    ] {
        assert!(page(&output).contains(line), "{line} is not in\n{}", page(&output));
    }
    cluster.api.set_down(true);
    let output = cluster.check(&[]);
    assert_eq!((output.status.code(), page(&output).as_str()), (Some(1), ""));
    assert!(stderr(&output).contains("/: the API server answered 500"), "{}", stderr(&output));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn check_continues_without_permissions() {
    let cluster = TestCluster::installed().await;
    cluster.api.objects().forbidden.insert(NAMESPACES.to_owned());
    let output = cluster.check(&[]);
    let page = page(&output);
    assert_eq!(output.status.code(), Some(0), "{page}");
    assert!(page.contains("Pod/idle"), "every namespace counts as opted in\n{page}");

    cluster.api.objects().forbidden.insert("/api/v1/pods".to_owned());
    cluster.api.objects().forbidden.insert(SETTINGS.to_owned());
    let output = cluster.check(&["--namespace", "jobs"]);
    let page = self::page(&output);
    assert_eq!(output.status.code(), Some(0), "one namespace may be seen: {page}");
    let right = "kubectl auth can-i get configmaps/settings --namespace podlocal-dns\n";
    assert!(page.contains(right) && page.contains("Deployment/web"), "{page}");
}

/// A fake API server and its kubeconfig.
struct TestCluster {
    api: ApiServer,
    kubeconfig: tempfile::NamedTempFile,
}

impl TestCluster {
    /// A cluster without the webhook.
    async fn start() -> Self {
        let api = ApiServer::start().await;
        Self { kubeconfig: api.kubeconfig(), api }
    }

    /// The objects of `check_cluster/objects.yaml`, and the webhook configuration of the manifests with a CA.
    async fn installed() -> Self {
        let cluster = Self::start().await;
        for (path, object) in yaml::read(OBJECTS).expect("YAML")[0].as_object().expect("a map") {
            cluster.api.put(path, object.clone());
        }
        let mut configuration = yaml::read(INSTALLED).expect("YAML").remove(0);
        for entry in configuration["webhooks"].as_array_mut().expect("entries") {
            entry["clientConfig"]["caBundle"] = json!("Q0E=");
        }
        cluster.api.put(CONFIGURATION, configuration);
        cluster
    }

    /// Adds a pod of the Job `train`.
    fn pod_of_train(&self, name: &str) {
        let owner = json!([{"kind": "Job", "name": "train", "controller": true}]);
        let metadata = json!({"name": name, "namespace": "jobs", "ownerReferences": owner});
        let pod = json!({"metadata": metadata, "spec": {"containers": [{"name": "app"}]}});
        self.api.put(&format!("{NAMESPACES}/jobs/pods/{name}"), pod);
    }

    /// Runs the command to its end, while the tasks of the API server continue.
    fn check(&self, flags: &[&str]) -> Output {
        let mut command = program();
        command.arg("check").args(flags).env("KUBECONFIG", self.kubeconfig.path());
        tokio::task::block_in_place(|| command.stdin(Stdio::null()).output().expect("starts"))
    }
}

fn page(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}
