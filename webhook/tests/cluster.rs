//! The built program with a fake API server: what it reads, which Events it writes, and that it works while
//! the API server is down.

mod common;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use common::api_server::{ApiServer, SERVICES};
use common::{Webhook, eventually, pod, review_of};
use podlocal_settings::names::{INJECT_ENABLED, INJECT_LABEL, SHARED_TIER_LABEL};
use podlocal_settings::table::{self, Setting};
use serde_json::{Value, json};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn namespace_annotation_takes_effect_with_the_next_review() {
    let cluster = TestCluster::start().await;
    cluster.annotate("web", "4");
    cluster.annotate("other", "9");
    let webhook = cluster.launch();
    webhook.wait_until_ready();
    assert_eq!(ndots(&webhook), "4");
    cluster.annotate("web", "3");
    eventually("the change is seen", || ndots(&webhook) == "3");
    cluster.api.put_namespace("web", &json!({}));
    eventually("the default is back", || ndots(&webhook) == "2");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reviews_use_cached_state_while_the_api_server_is_down() {
    let cluster = TestCluster::start().await;
    cluster.annotate("web", "4");
    let webhook = cluster.launch();
    webhook.wait_until_ready();
    cluster.api.set_down(true);
    cluster.annotate("web", "3");
    eventually("calls fail", || cluster.api.failed() > 0);
    assert_eq!(ndots(&webhook), "4");
    assert_eq!(webhook.admin_page("/readyz").status, 200);
    cluster.api.set_down(false);
    eventually("what changed meanwhile is seen", || ndots(&webhook) == "3");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn new_pods_use_the_shared_tier_while_its_service_exists() {
    let cluster = TestCluster::start().await;
    cluster.tier("tier", "10.96.0.53", "true");
    let webhook = cluster.launch();
    webhook.wait_until_ready();
    let tier = || variable(&webhook, &table::SHARED_TIER);
    assert_eq!(tier().as_deref(), Some("10.96.0.53"), "the first pod is told");
    assert_eq!(variable(&webhook, &table::UPSTREAM).as_deref(), Some("10.96.0.10"), "the fallback stays");
    let told = |addresses: usize| format!("podlocal_webhook_shared_tier_addresses {addresses}\n");
    eventually("it is measured", || webhook.admin_page("/metrics").body.contains(&told(1)));

    cluster.tier("another", "10.96.0.54", "true");
    eventually("the first by name is used", || tier().as_deref() == Some("10.96.0.54"));
    cluster.tier("another", "10.96.0.55", "true");
    eventually("the change is seen", || tier().as_deref() == Some("10.96.0.55"));
    cluster.tier("another", "10.96.0.55", "false");
    eventually("a Service without the label is none", || tier().as_deref() == Some("10.96.0.53"));

    cluster.api.set_down(true);
    cluster.api.remove(&format!("{SERVICES}/tier"));
    eventually("calls fail", || cluster.api.failed() > 0);
    assert_eq!(tier().as_deref(), Some("10.96.0.53"), "what is known holds");
    cluster.api.set_down(false);
    eventually("it is gone", || tier().is_none());
    eventually("that is measured", || webhook.admin_page("/metrics").body.contains(&told(0)));
    cluster.tier("tier", "10.96.0.56", "true");
    eventually("it is back", || tier().as_deref() == Some("10.96.0.56"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shared_tier_flag_disables_discovery() {
    let cluster = TestCluster::start().await;
    cluster.api.forbid(SERVICES);
    let flag = table::SHARED_TIER.flag();
    let webhook = cluster.launch_with(&[&flag, "10.20.0.53,10.20.0.54:5353"]);
    webhook.wait_until_ready();
    let told = variable(&webhook, &table::SHARED_TIER);
    assert_eq!(told.as_deref(), Some("10.20.0.53,10.20.0.54:5353"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_service_permission_pods_get_no_shared_tier() {
    let cluster = TestCluster::start().await;
    cluster.tier("tier", "10.96.0.53", "true");
    cluster.api.forbid(SERVICES);
    let webhook = cluster.launch();
    webhook.log_line("cannot watch the Services of the shared tier");
    webhook.wait_until_ready();
    assert_eq!(variable(&webhook, &table::SHARED_TIER), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limit_range_applies_from_the_first_review_and_on_change() {
    let cluster = TestCluster::start().await;
    let range = |minimum: &str| {
        let item = json!({"type": "Container", "min": {"memory": minimum}});
        let metadata = json!({"name": "bounds", "namespace": "web"});
        let range = json!({
            "apiVersion": "v1", "kind": "LimitRange", "metadata": metadata, "spec": {"limits": [item]},
        });
        cluster.api.put("/api/v1/namespaces/web/limitranges/bounds", range);
    };
    range("48Mi");
    let webhook = cluster.launch();
    webhook.wait_until_ready();
    let mut sized = pod();
    sized["spec"]["containers"][0]["resources"] = json!({"requests": {"memory": "64Mi"}});
    let requested = || {
        let response = webhook.review(&review_of(&sized));
        let patch = BASE64.decode(response["patch"].as_str().expect("a patch")).expect("base64");
        let patch: Value = serde_json::from_slice(&patch).expect("operations");
        let container =
            patch.as_array().expect("operations").iter().find_map(|of| of["value"].get(0)).cloned();
        container.expect("our container")["resources"]["requests"]["memory"].clone()
    };
    assert_eq!(requested(), "48Mi");
    range("56Mi");
    eventually("the change is seen", || requested() == "56Mi");
    cluster.api.remove("/api/v1/namespaces/web/limitranges/bounds");
    eventually("it is gone", || requested() == "12Mi");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_right_to_see_limit_ranges_it_is_ready() {
    let cluster = TestCluster::start().await;
    cluster.api.forbid("/api/v1/limitranges");
    let webhook = cluster.launch();
    webhook.log_line("cannot watch the LimitRanges");
    webhook.wait_until_ready();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_is_not_ready_before_the_first_list_of_namespaces() {
    let cluster = TestCluster::start().await;
    cluster.api.set_down(true);
    let webhook = cluster.launch();
    eventually("calls fail", || cluster.api.failed() > 2);
    eventually("these are missing, and a shared tier is not", || {
        let page = webhook.admin_page("/readyz");
        (page.status, page.body.as_str()) == (503, "not ready: namespaces\n")
    });
    assert_eq!(webhook.admin_page("/livez").status, 200);
    cluster.api.set_down(false);
    webhook.wait_until_ready();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn skipped_gang_yields_one_event_and_dry_run_none() {
    let cluster = TestCluster::start().await;
    cluster.api.put_labelled_namespace("web", &json!({INJECT_LABEL: INJECT_ENABLED}));
    let webhook = cluster.launch();
    webhook.wait_until_ready();
    let mut gang = pod();
    gang["spec"]["dnsPolicy"] = json!("Default");
    let owner = |name: &str| json!([{"apiVersion": "batch/v1", "kind": "Job", "name": name, "uid": "u-1", "controller": true}]);
    gang["metadata"]["ownerReferences"] = owner("dry");
    let mut dry = review_of(&gang);
    dry["request"]["dryRun"] = json!(true);
    webhook.review(&dry);
    gang["metadata"]["ownerReferences"] = owner("train");
    for _ in 0..50 {
        webhook.review(&review_of(&gang));
    }
    let events_of_web = || cluster.api.below(&events_of("web"));
    eventually("an Event is there", || !events_of_web().is_empty());
    let events = events_of_web();
    assert_eq!(events.len(), 1, "{events:?}");
    let event = &events[0];
    assert_eq!((&event["regarding"]["kind"], &event["regarding"]["name"]), (&json!("Job"), &json!("train")));
    assert_eq!((&event["type"], &event["reason"]), (&json!("Warning"), &json!("PodLocalDNSNotInjected")));
    assert!(event["note"].as_str().is_some_and(|note| note.contains("dnsPolicy is Default")), "{event}");
    let counted = "podlocal_webhook_events_total{result=\"published\"} 1\n";
    eventually("it is counted", || webhook.admin_page("/metrics").body.contains(counted));
}

/// Every review here is forged: the client presents no certificate.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forged_reviews_cannot_flood_or_forge_events() {
    let cluster = TestCluster::start().await;
    let enabled = json!({INJECT_LABEL: INJECT_ENABLED});
    for namespace in ["kube-system", "kube-node-lease", "default", "web"] {
        cluster.api.put_labelled_namespace(namespace, &enabled);
    }
    cluster.api.put_labelled_namespace("quiet", &json!({}));
    let webhook = cluster.launch();
    webhook.wait_until_ready();
    let evil = "call 555-0100";
    let forge = |namespace: &str, number: usize| {
        let owner = json!({"apiVersion": "v1", "kind": "Job", "name": format!("job-{number}"), "uid": "u-1", "controller": true});
        let mut forged = pod();
        forged["metadata"]["labels"] = enabled.clone();
        forged["metadata"]["annotations"] =
            json!({table::NDOTS.annotation(): evil, format!("podlocal-dns.io/{evil}"): "x"});
        forged["metadata"]["ownerReferences"] = json!([owner]);
        let mut review = review_of(&forged);
        review["request"]["namespace"] = json!(namespace);
        webhook.review(&review);
    };
    // Events of the last namespace are published last: once they exist, earlier ones would exist, too.
    for namespace in ["kube-system", "kube-node-lease", "default", "quiet", "no-such", "web"] {
        (0..60).for_each(|number| forge(namespace, number));
    }
    eventually("Events are there", || cluster.api.below(&events_of("web")).len() >= 25);
    for namespace in ["kube-system", "kube-node-lease", "default", "quiet", "no-such"] {
        assert_eq!(cluster.api.below(&events_of(namespace)), Vec::<Value>::new(), "{namespace}");
    }
    let events = cluster.api.below(&events_of("web"));
    // On a slow machine, one more Event is allowed every ten seconds.
    assert!(events.len() < 40, "{} Events", events.len());
    assert!(events.iter().all(|event| !event.to_string().contains(evil)), "{events:?}");
    assert!(events[0]["note"].as_str().is_some_and(|note| note.contains("ignored: ndots, 1 unknown;")));
    let refused = "podlocal_webhook_events_total{result=\"namespace_not_allowed\"} 300\n";
    assert!(webhook.admin_page("/metrics").body.contains(refused));
}

/// A fake API server and its kubeconfig.
struct TestCluster {
    api: ApiServer,
    folder: tempfile::TempDir,
}

impl TestCluster {
    async fn start() -> Self {
        let api = ApiServer::start().await;
        api.put("/version", json!({"major": "1", "minor": "34", "gitVersion": "v1.34.0"}));
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("kubeconfig"), api.kubeconfig()).expect("writes");
        Self { api, folder }
    }

    fn launch(&self) -> Webhook {
        self.launch_with(&[])
    }

    fn launch_with(&self, flags: &[&str]) -> Webhook {
        let kubeconfig = self.folder.path().join("kubeconfig");
        Webhook::launch(&[&["--kubeconfig", kubeconfig.to_str().expect("UTF-8")], flags].concat())
    }

    fn annotate(&self, namespace: &str, ndots: &str) {
        self.api.put_namespace(namespace, &json!({table::NDOTS.annotation(): ndots, "other.example/x": "y"}));
    }

    /// Adds a Service of a tier, with this value of the label.
    fn tier(&self, name: &str, address: &str, label: &str) {
        let port = |name: &str, protocol: &str| json!({"name": name, "port": 53, "protocol": protocol});
        let ports = [port("dns", "UDP"), port("dns-tcp", "TCP")];
        let spec = json!({"type": "ClusterIP", "clusterIPs": [address], "ports": ports});
        self.api.put_service(name, &json!({SHARED_TIER_LABEL: label}), &spec);
    }
}

/// The path of the Events of a namespace.
fn events_of(namespace: &str) -> String {
    format!("/apis/events.k8s.io/v1/namespaces/{namespace}/events")
}

/// The `ndots` that a pod of the namespace `web` gets.
fn ndots(webhook: &Webhook) -> String {
    let injected = injected(webhook);
    let option = injected.pointer("/spec/dnsConfig/options/0/value").and_then(Value::as_str);
    option.expect("an option").to_owned()
}

/// The variable of the sidecar in such a pod.
fn variable(webhook: &Webhook, setting: &Setting) -> Option<String> {
    let injected = injected(webhook);
    let variables = injected.pointer("/spec/initContainers/0/env").and_then(Value::as_array);
    let named = |variable: &&Value| variable["name"] == setting.variable();
    let variable = variables.expect("variables").iter().find(named)?;
    Some(variable["value"].as_str().expect("a text").to_owned())
}

fn injected(webhook: &Webhook) -> Value {
    let response = webhook.review(&review_of(&pod()));
    let patch = BASE64.decode(response["patch"].as_str().expect("a patch")).expect("base64");
    let patch: json_patch::Patch = serde_json::from_slice(&patch).expect("operations");
    let mut injected = pod();
    json_patch::patch(&mut injected, &patch).expect("applies");
    injected
}
