//! The manifests of the shared tier: the program accepts their settings, the webhook finds their Service, and
//! an overlay replaces or removes the tier of the base.

mod common;

use common::kustomize::{find, named, render};
use k8s_openapi::api::core::v1::Service;
use podlocal_settings::names::{
    ADMIN_PORT_NAME, INJECT_DISABLED, INJECT_LABEL, PORT_SYSCTL, SHARED_TIER, SHARED_TIER_LABEL,
};
use podlocal_settings::read::{self, Given};
use podlocal_settings::table::{self, Setting};
use podlocal_settings::value::{Quantity, Role};
use podlocal_settings::{Settings, value};
use podlocal_webhook::cluster::tier;
use serde_json::{Value, json};

mod rules {
    pub(crate) mod pod_security;
}

/// Each shape of the tier: the kustomization, and the kind of its workload.
const SHAPES: [(&str, &str); 3] = [
    ("base", "Deployment"),
    ("overlays/shared-autoscaling", "Deployment"),
    ("overlays/shared-daemonset", "DaemonSet"),
];

/// The addresses of a pod, as the downward API writes them.
const POD_IPS: &str = "10.244.1.2,fd00:10:244::2";

#[test]
fn the_program_takes_the_arguments_and_variables() {
    for template in templates() {
        let (spec, container) = (&template["spec"], &template["spec"]["containers"][0]);
        let settings = settings(container);
        assert_eq!(settings.role, Role::Shared);
        assert_eq!(settings.listen, value::addresses(POD_IPS).expect("addresses"));
        let version = env!("CARGO_PKG_VERSION");
        assert_eq!(container["image"], format!("ghcr.io/podlocal-dns/sidecar:{version}"));

        let ports = container["ports"].as_array().expect("ports").iter();
        let ports: Vec<_> = ports.map(|port| (&port["name"], port["containerPort"].clone())).collect();
        let admin = (&json!(ADMIN_PORT_NAME), json!(settings.admin_port));
        assert_eq!(ports, [(&json!("dns"), json!(53)), (&json!("dns-tcp"), json!(53)), admin]);
        for (probe, path) in [("livenessProbe", "/livez"), ("readinessProbe", "/readyz")] {
            assert_eq!(container[probe]["httpGet"], json!({"path": path, "port": ADMIN_PORT_NAME}));
        }
        // The rest is for queries in flight: 4 s at most, plus a margin.
        let grace = spec["terminationGracePeriodSeconds"].as_u64().expect("seconds");
        assert!(grace >= settings.lame_duck.as_secs() + 10, "{grace}");

        let resources = &container["resources"];
        let memory =
            |kind: &str| Quantity::parse(resources[kind]["memory"].as_str().expect("a text")).expect("valid");
        assert!(
            memory("requests") >= settings.memory_request() && memory("limits") >= settings.memory_limit()
        );
        assert!(resources["limits"].get("cpu").is_none(), "a gang that starts is not throttled");
    }
}

#[test]
fn tier_pods_are_restricted_not_injected_and_use_cluster_dns() {
    for template in templates() {
        assert_eq!(rules::pod_security::violations(&template), [""; 0]);
        let spec = &template["spec"];
        assert_eq!(template["metadata"]["labels"][INJECT_LABEL], INJECT_DISABLED);
        assert_eq!(spec["dnsPolicy"], "ClusterFirst");
        let sysctl = json!({"name": PORT_SYSCTL, "value": "0"});
        assert_eq!(spec["securityContext"]["sysctls"], json!([sysctl]));
        assert_eq!(spec["containers"][0]["securityContext"]["readOnlyRootFilesystem"], true);
        // Service links of the namespace would define variables with the prefix of the settings.
        assert_eq!(
            (&spec["enableServiceLinks"], &spec["automountServiceAccountToken"]),
            (&json!(false), &json!(false))
        );
    }
}

#[test]
fn webhook_finds_the_service_of_each_tier_shape() {
    let services = ["base", "overlays/shared-daemonset"].map(|folder| {
        let mut service = find(&tier_of(folder), "Service");
        assert_eq!(service["metadata"]["labels"][SHARED_TIER_LABEL], SHARED_TIER);
        // The API server sets this field.
        service["spec"]["clusterIPs"] = json!(["10.96.0.53"]);
        serde_json::from_value::<Service>(service).expect("a Service")
    });
    let used = |services: &[Service]| tier::choose(services.iter(), None).used.expect("a tier");
    for (service, name) in services.iter().zip(["podlocal-dns-shared", "podlocal-dns-shared-node"]) {
        let expected = (name.to_owned(), "10.96.0.53:53".parse().expect("an address"));
        assert_eq!(used(std::slice::from_ref(service)), expected);
    }
    assert_eq!(used(&services).0, "podlocal-dns-shared-node");
}

#[test]
fn references_within_each_tier_shape_resolve() {
    for (folder, kind) in SHAPES {
        let objects = tier_of(folder);
        let owner = find(&objects, kind);
        let template = &owner["spec"]["template"];
        let (spec, labels) = (&template["spec"], &template["metadata"]["labels"]);
        assert_eq!(spec["serviceAccountName"], find(&objects, "ServiceAccount")["metadata"]["name"]);
        assert_eq!(spec["priorityClassName"], find(&objects, "PriorityClass")["metadata"]["name"]);

        let (service, policy) = (find(&objects, "Service"), find(&objects, "NetworkPolicy"));
        let mut selectors = vec![&owner["spec"]["selector"]["matchLabels"], &service["spec"]["selector"]];
        selectors.push(&policy["spec"]["podSelector"]["matchLabels"]);
        let budget = objects.iter().find(|object| object["kind"] == "PodDisruptionBudget");
        selectors.extend(budget.map(|budget| &budget["spec"]["selector"]["matchLabels"]));
        for spread in spec["topologySpreadConstraints"].as_array().into_iter().flatten() {
            selectors.push(&spread["labelSelector"]["matchLabels"]);
        }
        for selector in selectors {
            let selector = selector.as_object().expect("labels");
            assert!(!selector.is_empty() && selector.iter().all(|(key, value)| labels[key] == *value));
        }
        if let Some(scaler) = objects.iter().find(|object| object["kind"] == "HorizontalPodAutoscaler") {
            let target = &scaler["spec"]["scaleTargetRef"];
            assert_eq!((&target["kind"], &target["name"]), (&json!(kind), &owner["metadata"]["name"]));
            // The autoscaler measures relative to the request, and `replicas` in the manifest would override
            // its number.
            assert_eq!(spec["containers"][0]["resources"]["requests"]["cpu"], "250m");
            assert!(owner["spec"].get("replicas").is_none());
        } else if kind == "Deployment" {
            assert_eq!(owner["spec"]["replicas"], 2);
        }

        let ports = |list: &Value, key: &str| -> Vec<_> {
            let ports = list.as_array().expect("ports").iter();
            ports.map(|port| (port[key].clone(), port["protocol"].clone())).collect()
        };
        let rules = policy["spec"]["ingress"].as_array().expect("rules").iter();
        let [dns, admin] =
            rules.map(|rule| ports(&rule["ports"], "port")).collect::<Vec<_>>().try_into().expect("two");
        assert_eq!([&dns[..], &admin[..]].concat(), ports(&spec["containers"][0]["ports"], "name"));
        assert_eq!(ports(&service["spec"]["ports"], "targetPort"), dns);
    }
}

/// DNS is open, because a rule about pods would exclude traffic that a node masquerades; egress is not
/// restricted.
#[test]
fn policy_opens_dns_and_restricts_scraping() {
    for (folder, _) in SHAPES {
        let spec = find(&tier_of(folder), "NetworkPolicy")["spec"].clone();
        assert_eq!((&spec["policyTypes"], spec.get("egress")), (&json!(["Ingress"]), None));
        let label = json!([{ "namespaceSelector": { "matchLabels": { "podlocal-dns.io/scrape": "true" } } }]);
        let sources: Vec<_> =
            spec["ingress"].as_array().expect("rules").iter().map(|rule| rule.get("from")).collect();
        assert_eq!(sources, [None, Some(&label)]);
    }
}

#[test]
fn overlays_replace_or_remove_the_tier() {
    let without = |folder: &str| render(folder).into_iter().filter(|object| !is_of_tier(object)).collect();
    let kinds = |folder: &str| -> Vec<String> {
        let objects = tier_of(folder);
        objects.iter().map(|object| object["kind"].as_str().expect("a kind").to_owned()).collect()
    };
    let rest: Vec<_> = without("base");
    let common = ["ServiceAccount", "PriorityClass", "NetworkPolicy"];
    let replicated = [&common[..], &["Deployment", "Service", "PodDisruptionBudget"]].concat();
    for (folder, expected) in [
        ("base", replicated.clone()),
        ("base/shared-tier", replicated.clone()),
        ("overlays/without-shared-tier", vec![]),
        ("overlays/shared-daemonset", [&common[..], &["DaemonSet", "Service"]].concat()),
        ("overlays/shared-autoscaling", [&replicated[..], &["HorizontalPodAutoscaler"]].concat()),
    ] {
        assert_eq!(kinds(folder), expected, "{folder}");
        if folder != "base/shared-tier" {
            assert_eq!(without(folder), rest, "{folder}");
        }
    }
    for object in tier_of("base").iter().chain(&tier_of("overlays/shared-daemonset")) {
        let namespace = &object["metadata"]["namespace"];
        assert!(namespace == "podlocal-dns" || object["kind"] == "PriorityClass", "{object}");
    }
}

#[test]
fn tier_updates_keep_capacity_and_never_preempt() {
    for (folder, kind) in SHAPES {
        let objects = tier_of(folder);
        let owner = find(&objects, kind);
        let strategy = if kind == "DaemonSet" { "updateStrategy" } else { "strategy" };
        let expected = json!({"maxUnavailable": 0, "maxSurge": 1});
        assert_eq!(owner["spec"][strategy]["rollingUpdate"], expected);
        let priority = find(&objects, "PriorityClass");
        assert_eq!(priority["preemptionPolicy"], "Never");
        let webhook = named(&render("base"), "PriorityClass", "podlocal-dns");
        assert!(priority["value"].as_i64() < webhook["value"].as_i64());
    }
}

/// The pods of each shape.
fn templates() -> [Value; 3] {
    SHAPES.map(|(folder, kind)| find(&tier_of(folder), kind)["spec"]["template"].clone())
}

/// The objects of the tier in a kustomization.
fn tier_of(folder: &str) -> Vec<Value> {
    render(folder).into_iter().filter(is_of_tier).collect()
}

fn is_of_tier(object: &Value) -> bool {
    object["metadata"]["labels"]["app.kubernetes.io/component"] == "shared-tier"
}

/// The settings in the container's arguments and variables; each one must be a valid setting of the program.
fn settings(container: &Value) -> Settings {
    let texts = |value: &Value| value.as_str().expect("a text").to_owned();
    let arguments: Vec<_> = container["args"].as_array().expect("arguments").iter().map(texts).collect();
    assert_eq!(arguments[0], "serve");
    let mut given: Vec<(String, String)> =
        arguments[1..].chunks(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect();
    for variable in container["env"].as_array().expect("variables") {
        let text = match &variable["valueFrom"]["fieldRef"]["fieldPath"] {
            Value::Null => texts(&variable["value"]),
            path => {
                assert_eq!(path, "status.podIPs");
                POD_IPS.to_owned()
            }
        };
        given.push((texts(&variable["name"]), text));
    }
    let of_setting = |setting: &Setting| {
        let names = [setting.flag(), setting.variable()];
        let of_setting = given.iter().filter(|(name, _)| setting.is_for_sidecar() && names.contains(name));
        of_setting.map(|(origin, text)| Given { origin: origin.clone(), text: text.clone() }).collect()
    };
    let read = read::read(of_setting);
    assert_eq!((read.errors, read.accepted.len()), (Vec::new(), given.len()), "{given:?}");
    assert!(read.accepted.iter().any(|(setting, _)| **setting == table::ROLE));
    read.settings
}
