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

const LIMIT_RANGE: &str = "/api/v1/namespaces/web/limitranges/bounds";

/// Annotations of namespaces, the shared tier and LimitRanges: from the first review on, and when they change,
/// also while the API server was down.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reviews_follow_the_cluster_and_use_cached_state_while_the_api_server_is_down() {
    let cluster = TestCluster::start().await;
    let api = &cluster.api;
    cluster.annotate("web", "4");
    cluster.annotate("other", "9");
    cluster.tier("tier", "10.96.0.53", "true");
    cluster.bound("48Mi");
    let webhook = cluster.launch();
    webhook.wait_until_ready();
    let state = || {
        let pod = injected(&webhook);
        let sidecar = &pod["spec"]["initContainers"][0];
        let texts =
            [&pod["spec"]["dnsConfig"]["options"][0]["value"], &sidecar["resources"]["requests"]["memory"]];
        let [ndots, memory] = texts.map(|text| text.as_str().unwrap_or_default().to_owned());
        format!("ndots {ndots}, tier {}, memory {memory}", variable(&pod, &table::SHARED_TIER))
    };
    assert_eq!(state(), "ndots 4, tier 10.96.0.53, memory 48Mi", "the first pod");
    assert_eq!(variable(&injected(&webhook), &table::UPSTREAM), "10.96.0.10", "the fallback stays");
    let tiers = |addresses: usize| format!("podlocal_webhook_shared_tier_addresses {addresses}\n");
    eventually("it is measured", || webhook.admin_page("/metrics").body.contains(&tiers(1)));

    api.set_down(true);
    cluster.annotate("web", "3");
    cluster.bound("56Mi");
    api.remove(&format!("{SERVICES}/tier"));
    eventually("calls fail", || api.objects().failed > 0);
    assert_eq!(state(), "ndots 4, tier 10.96.0.53, memory 48Mi", "what is known holds");
    assert_eq!(webhook.admin_page("/readyz").status, 200);
    api.set_down(false);
    eventually("what changed meanwhile is seen", || state() == "ndots 3, tier none, memory 56Mi");
    eventually("that is measured", || webhook.admin_page("/metrics").body.contains(&tiers(0)));

    api.put_namespace("web", &json!({}), &json!({}));
    api.remove(LIMIT_RANGE);
    cluster.tier("tier", "10.96.0.56", "true");
    eventually("the defaults are back", || state() == "ndots 2, tier 10.96.0.56, memory 12Mi");
    // The first by name is used; a Service without the label is not a tier.
    for (address, label, expected) in [("54", "true", "54"), ("55", "true", "55"), ("55", "false", "56")] {
        cluster.tier("another", &format!("10.96.0.{address}"), label);
        eventually("the change is seen", || {
            variable(&injected(&webhook), &table::SHARED_TIER) == format!("10.96.0.{expected}")
        });
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shared_tier_flag_disables_discovery() {
    let cluster = TestCluster::start().await;
    cluster.api.objects().forbidden.insert(SERVICES.to_owned());
    let flag = table::SHARED_TIER.flag();
    let webhook = cluster.launch_with(&[&flag, "10.20.0.53,10.20.0.54:5353"]);
    webhook.wait_until_ready();
    assert_eq!(variable(&injected(&webhook), &table::SHARED_TIER), "10.20.0.53,10.20.0.54:5353");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_permission_the_webhook_is_ready_and_does_without() {
    for (path, line) in [
        (SERVICES, "cannot watch the Services of the shared tier"),
        ("/api/v1/limitranges", "cannot watch the LimitRanges"),
    ] {
        let cluster = TestCluster::start().await;
        cluster.tier("tier", "10.96.0.53", "true");
        cluster.api.objects().forbidden.insert(path.to_owned());
        let webhook = cluster.launch();
        webhook.log_line(line);
        webhook.wait_until_ready();
        let tier = variable(&injected(&webhook), &table::SHARED_TIER);
        assert_eq!(tier == "none", path == SERVICES, "{tier}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_is_not_ready_before_the_first_list_of_namespaces() {
    let cluster = TestCluster::start().await;
    cluster.api.set_down(true);
    let webhook = cluster.launch();
    eventually("calls fail", || cluster.api.objects().failed > 2);
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
    cluster.api.put_namespace("web", &json!({}), &json!({INJECT_LABEL: INJECT_ENABLED}));
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
    // Fewer than a namespace may cause at once.
    for _ in 0..20 {
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
    let counted = |count: usize| format!("podlocal_webhook_events_total{{result=\"published\"}} {count}\n");
    eventually("it is counted", || webhook.admin_page("/metrics").body.contains(&counted(1)));
    webhook.review(&review_of(&gang));
    eventually("later ones become its series", || webhook.admin_page("/metrics").body.contains(&counted(2)));
    assert_eq!((events_of_web().len(), &events_of_web()[0]["series"]["count"]), (1, &json!(2)));
}

/// Every review here is forged: the client presents no certificate.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forged_reviews_cannot_flood_or_forge_events() {
    let cluster = TestCluster::start().await;
    let enabled = json!({INJECT_LABEL: INJECT_ENABLED});
    for namespace in ["kube-system", "kube-node-lease", "default", "web"] {
        cluster.api.put_namespace(namespace, &json!({}), &enabled);
    }
    cluster.api.put_namespace("quiet", &json!({}), &json!({}));
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
    kubeconfig: tempfile::NamedTempFile,
}

impl TestCluster {
    async fn start() -> Self {
        let api = ApiServer::start().await;
        api.put("/version", json!({"major": "1", "minor": "34", "gitVersion": "v1.34.0"}));
        Self { kubeconfig: api.kubeconfig(), api }
    }

    fn launch(&self) -> Webhook {
        self.launch_with(&[])
    }

    fn launch_with(&self, flags: &[&str]) -> Webhook {
        let kubeconfig = self.kubeconfig.path().to_str().expect("UTF-8");
        Webhook::launch(&[&["--kubeconfig", kubeconfig], flags].concat())
    }

    fn annotate(&self, namespace: &str, ndots: &str) {
        let annotations = json!({table::NDOTS.annotation(): ndots, "other.example/x": "y"});
        self.api.put_namespace(namespace, &annotations, &json!({}));
    }

    /// Adds a Service of a tier, with this value of the label.
    fn tier(&self, name: &str, address: &str, label: &str) {
        let port = |name: &str, protocol: &str| json!({"name": name, "port": 53, "protocol": protocol});
        let ports = [port("dns", "UDP"), port("dns-tcp", "TCP")];
        let spec = json!({"type": "ClusterIP", "clusterIPs": [address], "ports": ports});
        let metadata = json!({"name": name, "namespace": "default", "labels": {SHARED_TIER_LABEL: label}});
        let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec});
        self.api.put(&format!("{SERVICES}/{name}"), service);
    }

    /// Sets the memory that each container of the namespace `web` requests at least.
    fn bound(&self, minimum: &str) {
        let metadata = json!({"name": "bounds", "namespace": "web"});
        let limits = json!([{"type": "Container", "min": {"memory": minimum}}]);
        let range = json!({
            "apiVersion": "v1", "kind": "LimitRange", "metadata": metadata, "spec": {"limits": limits},
        });
        self.api.put(LIMIT_RANGE, range);
    }
}

/// The path of the Events of a namespace.
fn events_of(namespace: &str) -> String {
    format!("/apis/events.k8s.io/v1/namespaces/{namespace}/events")
}

/// A variable of the sidecar; `none` if it is not set.
fn variable(pod: &Value, setting: &Setting) -> String {
    let variables = pod["spec"]["initContainers"][0]["env"].as_array().expect("variables");
    let variable = variables.iter().find(|variable| variable["name"] == setting.variable());
    variable.map_or("none", |variable| variable["value"].as_str().expect("a text")).to_owned()
}

/// A pod of the namespace `web` that requests memory, after its review.
fn injected(webhook: &Webhook) -> Value {
    let mut pod = pod();
    pod["spec"]["containers"][0]["resources"] = json!({"requests": {"memory": "64Mi"}});
    let response = webhook.review(&review_of(&pod));
    let patch = BASE64.decode(response["patch"].as_str().expect("a patch")).expect("base64");
    let patch: json_patch::Patch = serde_json::from_slice(&patch).expect("operations");
    json_patch::patch(&mut pod, &patch).expect("applies");
    pod
}
