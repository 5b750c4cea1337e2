//! The manifests of the shared tier: the program accepts their settings, and they keep the tier available.
//! `tests/cluster/install/overlays.rs` shows that the tier answers, and that overlays replace or remove it.

mod common;

use common::manifests::{assert_selects, object, text};
use podlocal_settings::names::{ADMIN_PORT_NAME, INJECT_DISABLED, INJECT_LABEL, PORT_SYSCTL};
use podlocal_settings::read::{self, Given};
use podlocal_settings::table::{self, Setting};
use podlocal_settings::value::{Quantity, Role};
use podlocal_settings::{Settings, value};
use serde_json::{Value, json};

/// The workload of each shape of the tier.
const WORKLOADS: [&str; 2] = ["base/shared-tier/deployment", "components/shared-daemonset/daemonset"];

/// The addresses of a pod, as the downward API writes them.
const POD_IPS: &str = "10.244.1.2,fd00:10:244::2";

#[test]
fn the_program_takes_the_arguments_and_variables() {
    for workload in WORKLOADS {
        let spec = &object(workload)["spec"]["template"]["spec"];
        let container = &spec["containers"][0];
        let settings = settings(container);
        assert_eq!(settings.role, Role::Shared);
        assert_eq!(settings.listen, value::addresses(POD_IPS).expect("addresses"));

        let ports = container["ports"].as_array().expect("ports").iter();
        let ports: Vec<_> = ports.map(|port| json!([port["name"], port["containerPort"]])).collect();
        let admin = json!([ADMIN_PORT_NAME, settings.admin_port]);
        assert_eq!(ports, [json!(["dns", 53]), json!(["dns-tcp", 53]), admin]);
        for (probe, path) in [("livenessProbe", "/livez"), ("readinessProbe", "/readyz")] {
            assert_eq!(container[probe]["httpGet"], json!({"path": path, "port": ADMIN_PORT_NAME}));
        }
        // The rest is for queries in flight: 4 s at most, plus a margin.
        let grace = spec["terminationGracePeriodSeconds"].as_u64().expect("seconds");
        assert!(grace >= settings.lame_duck.as_secs() + 10, "{grace}");

        let resources = &container["resources"];
        let memory = |kind: &str| Quantity::parse(&text(&resources[kind]["memory"])).expect("valid");
        assert!(
            memory("requests") >= settings.memory_request() && memory("limits") >= settings.memory_limit()
        );
        assert!(resources["limits"].get("cpu").is_none(), "a gang that starts is not throttled");
    }
    let image = json!([{"name": "ghcr.io/podlocal-dns/sidecar", "newTag": env!("CARGO_PKG_VERSION")}]);
    for folder in ["base/shared-tier", "components/shared-daemonset"] {
        assert_eq!(object(&format!("{folder}/kustomization"))["images"], image);
    }
}

#[test]
fn tier_pods_are_not_injected_and_use_cluster_dns() {
    for workload in WORKLOADS {
        let template = object(workload)["spec"]["template"].clone();
        let spec = &template["spec"];
        assert_eq!(template["metadata"]["labels"][INJECT_LABEL], INJECT_DISABLED);
        assert_eq!(spec["dnsPolicy"], "ClusterFirst");
        assert_eq!(spec["securityContext"]["sysctls"], json!([{"name": PORT_SYSCTL, "value": "0"}]));
        assert_eq!(spec["containers"][0]["securityContext"]["readOnlyRootFilesystem"], true);
        // Service links of the namespace would define variables with the prefix of the settings.
        assert_eq!(spec["enableServiceLinks"], false);
        assert_eq!(spec["automountServiceAccountToken"], false);
    }
}

#[test]
fn selectors_and_ports_of_the_tier_match() {
    for workload in WORKLOADS {
        let template = object(workload)["spec"]["template"].clone();
        let (spec, labels) = (&template["spec"], &template["metadata"]["labels"]);
        let policy = object("base/shared-tier/networkpolicy")["spec"].clone();
        assert_selects(&policy["podSelector"]["matchLabels"], labels);
        if workload.starts_with("base") {
            let budget = object("base/shared-tier/poddisruptionbudget");
            assert_selects(&budget["spec"]["selector"]["matchLabels"], labels);
        }
        for spread in spec["topologySpreadConstraints"].as_array().into_iter().flatten() {
            assert_selects(&spread["labelSelector"]["matchLabels"], labels);
        }
        let ports = spec["containers"][0]["ports"].as_array().expect("ports").iter();
        let opened = policy["ingress"].as_array().expect("rules").iter();
        let opened = opened.flat_map(|rule| rule["ports"].as_array().expect("ports"));
        let opened = opened.map(|port| [&port["port"], &port["protocol"]]);
        assert!(ports.map(|port| [&port["name"], &port["protocol"]]).eq(opened));
    }
}

/// DNS is open, because a rule about pods would exclude traffic that a node masquerades; egress is not
/// restricted.
#[test]
fn policy_opens_dns_and_restricts_scraping() {
    let spec = object("base/shared-tier/networkpolicy")["spec"].clone();
    assert_eq!((&spec["policyTypes"], spec.get("egress")), (&json!(["Ingress"]), None));
    let label = json!([{ "namespaceSelector": { "matchLabels": { "podlocal-dns.io/scrape": "true" } } }]);
    let sources = [0, 1].map(|rule| spec["ingress"][rule].get("from"));
    assert_eq!(sources, [None, Some(&label)]);
}

#[test]
fn tier_updates_keep_capacity_and_never_preempt() {
    for (workload, strategy) in WORKLOADS.into_iter().zip(["strategy", "updateStrategy"]) {
        let expected = json!({"maxUnavailable": 0, "maxSurge": 1});
        assert_eq!(object(workload)["spec"][strategy]["rollingUpdate"], expected);
    }
    let priority = object("base/shared-tier/priorityclass");
    assert_eq!(priority["preemptionPolicy"], "Never");
    assert!(priority["value"].as_i64() < object("base/priorityclass")["value"].as_i64());
}

/// The autoscaler measures relative to the request, and `replicas` in the manifest would override its number.
#[test]
fn autoscaler_scales_the_deployment_which_sets_no_number() {
    let deployment = object("base/shared-tier/deployment");
    let scaler = object("components/shared-autoscaling/horizontalpodautoscaler");
    let target = &scaler["spec"]["scaleTargetRef"];
    assert_eq!([&target["kind"], &target["name"]], [&deployment["kind"], &deployment["metadata"]["name"]]);
    assert_eq!(deployment["spec"]["replicas"], 2);
    let patch = object("components/shared-autoscaling/kustomization")["patches"][0]["patch"].clone();
    let patch = podlocal_webhook::documents::yaml::read(&text(&patch)).expect("YAML").remove(0);
    let patch: json_patch::Patch = serde_json::from_value(patch).expect("operations");
    let mut scaled = deployment.clone();
    json_patch::patch(&mut scaled, &patch).expect("applies");
    assert!(scaled["spec"].get("replicas").is_none());
    assert_eq!(scaled["spec"]["template"]["spec"]["containers"][0]["resources"]["requests"]["cpu"], "250m");
}

/// The settings in the container's arguments and variables; each one must be a valid setting of the program.
fn settings(container: &Value) -> Settings {
    let arguments: Vec<_> = container["args"].as_array().expect("arguments").iter().map(text).collect();
    let (command, flags) = arguments.split_first().expect("arguments");
    assert_eq!(command, "serve");
    let mut given: Vec<_> = flags.chunks(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect();
    for variable in container["env"].as_array().expect("variables") {
        let path = &variable["valueFrom"]["fieldRef"]["fieldPath"];
        assert!(path.is_null() || path == "status.podIPs", "{path}");
        let value = if path.is_null() { text(&variable["value"]) } else { POD_IPS.to_owned() };
        given.push((text(&variable["name"]), value));
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
