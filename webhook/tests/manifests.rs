//! The manifests and the program use the same names. `tests/cluster/install` installs them on a cluster.

mod common;

use std::ffi::OsString;
use std::fs;
use std::path::Path;

use common::manifests::{assert_selects, folder, objects, text};
use podlocal_settings::names::{INJECT_DISABLED, INJECT_LABEL, SIDECAR_USER};
use podlocal_webhook::config::{self, CertController, Command, Serve};
use serde_json::{Value, json};

#[test]
fn the_arguments_of_the_deployment_are_flags_of_the_program() {
    let serve = serve();
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(serve.common.image, format!("ghcr.io/podlocal-dns/sidecar:{version}"));
    let images = &object("kustomization")["images"][0];
    assert_eq!((&images["name"], &images["newTag"]), (&container()["image"], &json!(version)));
}

#[test]
fn the_certificate_is_for_the_service_and_kept_where_the_rules_allow_it() {
    let (serve, controller, service) = (serve(), cert_controller(), object("service"));
    let host =
        format!("{}.{}.svc", text(&service["metadata"]["name"]), text(&service["metadata"]["namespace"]));
    assert_eq!(controller.dns_names, [host]);
    let rules = |name: &str| object(name)["rules"][0]["resourceNames"].clone();
    assert_eq!(rules("cert-controller/role"), json!([controller.certificate_secret]));
    assert_eq!(rules("cert-controller/clusterrole"), json!([controller.webhook_configuration]));
    assert_eq!(
        object("mutatingwebhookconfiguration")["metadata"]["name"],
        json!(controller.webhook_configuration)
    );

    let secret = object("cert-controller/secret");
    let volume = object("deployment")["spec"]["template"]["spec"]["volumes"][0].clone();
    assert_eq!(secret["metadata"]["name"], json!(controller.certificate_secret));
    assert_eq!(volume["secret"]["secretName"], json!(controller.certificate_secret));
    // Applying it again keeps the data that the controller has written; a type cannot be changed.
    assert!(
        secret.get("data").is_none() && secret.get("stringData").is_none() && secret.get("type").is_none()
    );
    // Without the key of the CA; and not optional, or the pod would start without the files, and fail.
    let items = json!([{"key": "tls.crt", "path": "tls.crt"}, {"key": "tls.key", "path": "tls.key"}]);
    assert_eq!((&volume["secret"]["items"], volume["secret"].get("optional")), (&items, None));
    let mount = container()["volumeMounts"][0].clone();
    assert_eq!((&mount["name"], &mount["readOnly"]), (&volume["name"], &json!(true)));
    let path = Path::new(mount["mountPath"].as_str().expect("a path"));
    assert_eq!(serve.tls_files(), Some((path.join("tls.crt"), path.join("tls.key"))));
}

#[test]
fn rbac_grants_exactly_what_the_program_needs() {
    let rights = |name: &str| -> Value {
        let rules = object(name)["rules"].clone();
        let rules = rules.as_array().expect("rules").iter();
        rules.map(|rule| json!([rule["apiGroups"], rule["resources"], rule["verbs"]])).collect()
    };
    let of_cluster = json!([
        [[""], ["namespaces"], ["list", "watch"]],
        [[""], ["limitranges"], ["list", "watch"]],
        [["events.k8s.io"], ["events"], ["create", "patch"]],
    ]);
    let of_our_namespace = json!([[[""], ["services"], ["list", "watch"]]]);
    assert_eq!([rights("clusterrole"), rights("role")], [of_cluster, of_our_namespace]);
    let of_cluster =
        json!([[["admissionregistration.k8s.io"], ["mutatingwebhookconfigurations"], ["get", "patch"]]]);
    let of_our_namespace = json!([[[""], ["secrets"], ["get", "update"]]]);
    let of_controller = [rights("cert-controller/clusterrole"), rights("cert-controller/role")];
    assert_eq!(of_controller, [of_cluster, of_our_namespace]);
}

/// Only the pod that needs the token mounts it, not every pod with this account.
#[test]
fn only_our_pods_mount_the_tokens_of_their_accounts() {
    for folder in ["", "cert-controller/"] {
        let account = object(&format!("{folder}serviceaccount"));
        let spec = object(&format!("{folder}deployment"))["spec"]["template"]["spec"].clone();
        let mounts = [account, spec].map(|of| of["automountServiceAccountToken"].clone());
        assert_eq!(mounts, [json!(false), json!(true)], "{folder}");
    }
}

/// The highest value that users may set (`HighestUserDefinablePriority` in
/// `k8s.io/kubernetes/pkg/apis/scheduling`).
#[test]
fn webhook_has_the_highest_user_priority() {
    let class = object("priorityclass");
    assert_eq!(class["value"], 1_000_000_000);
    // Every pod may use this class.
    assert_eq!(class["preemptionPolicy"], "Never");
}

/// The cert-controller may patch the webhook configuration, so only its kubelet can connect to it.
#[test]
fn cert_controller_accepts_no_ingress() {
    let deployment = object("cert-controller/deployment");
    let labels = deployment["spec"]["template"]["metadata"]["labels"].clone();
    let policy = object("cert-controller/networkpolicy")["spec"].clone();
    assert_eq!((&policy["policyTypes"], &policy["ingress"]), (&json!(["Ingress"]), &json!([])));
    assert_selects(&policy["podSelector"]["matchLabels"], &labels);
    // No Service selects it, and one label removes all of its objects (overlays/cert-manager).
    let service = object("service")["spec"]["selector"].clone();
    assert!(service.as_object().expect("labels").iter().any(|(key, value)| labels[key] != *value));
    for file in files("base/cert-controller") {
        let object = object(&format!("cert-controller/{file}"));
        if object["kind"] != "Kustomization" {
            let label = &object["metadata"]["labels"]["app.kubernetes.io/name"];
            assert_eq!(label, "podlocal-dns-cert-controller", "{object}");
        }
    }
}

/// The address of the API server is different in every cluster.
#[test]
fn network_policy_does_not_restrict_egress() {
    let spec = object("networkpolicy")["spec"].clone();
    assert_eq!((&spec["policyTypes"], spec.get("egress")), (&json!(["Ingress"]), None));
    assert!(spec["ingress"].as_array().expect("rules").iter().all(|rule| rule.get("from").is_none()));
}

#[test]
fn webhooks_call_the_service_and_exclude_system_namespaces() {
    let (configuration, service) = (object("mutatingwebhookconfiguration"), object("service"));
    let webhooks = configuration["webhooks"].as_array().expect("webhooks");
    assert_eq!(webhooks.len(), 2);
    for webhook in webhooks {
        let called = &webhook["clientConfig"]["service"];
        assert_eq!(called["name"], service["metadata"]["name"]);
        assert_eq!(called["namespace"], service["metadata"]["namespace"]);
        assert_eq!(
            (&called["path"], &called["port"]),
            (&json!("/mutate"), &service["spec"]["ports"][0]["port"])
        );
        assert_eq!((&webhook["failurePolicy"], &webhook["timeoutSeconds"]), (&json!("Ignore"), &json!(5)));
        assert_eq!(
            (&webhook["sideEffects"], &webhook["reinvocationPolicy"]),
            (&json!("NoneOnDryRun"), &json!("IfNeeded"))
        );
        let excluded = json!({
            "key": "kubernetes.io/metadata.name", "operator": "NotIn",
            "values": ["kube-system", "kube-node-lease", service["metadata"]["namespace"]],
        });
        let expressions = webhook["namespaceSelector"]["matchExpressions"].as_array().expect("expressions");
        assert!(expressions.contains(&excluded), "{expressions:?}");
    }
}

#[test]
fn one_drain_fits_into_the_time_that_a_pod_has_to_end() {
    let deployment = object("deployment");
    let grace = deployment["spec"]["template"]["spec"]["terminationGracePeriodSeconds"].as_u64();
    let drain = serve().shutdown_delay + podlocal_webhook::app::DRAIN_DEADLINE;
    assert!(drain.as_secs() < grace.expect("seconds"), "{drain:?}");
}

#[test]
fn selectors_and_ports_of_the_webhook_match() {
    let labels = object("deployment")["spec"]["template"]["metadata"]["labels"].clone();
    assert_selects(&object("poddisruptionbudget")["spec"]["selector"]["matchLabels"], &labels);
    assert_selects(&object("networkpolicy")["spec"]["podSelector"]["matchLabels"], &labels);
    let ports: Vec<_> =
        container()["ports"].as_array().expect("ports").iter().map(|port| port["name"].clone()).collect();
    let open = object("networkpolicy")["spec"]["ingress"][0]["ports"].clone();
    let open: Vec<_> = open.as_array().expect("ports").iter().map(|port| port["port"].clone()).collect();
    assert_eq!((&open, &object("service")["spec"]["ports"][0]["targetPort"]), (&ports, &ports[0]));
}

#[test]
fn our_own_pods_are_opted_out() {
    let deployment = object("deployment");
    let controller = object("cert-controller/deployment");
    for labels in [
        &object("namespace")["metadata"]["labels"],
        &deployment["spec"]["template"]["metadata"]["labels"],
        &controller["spec"]["template"]["metadata"]["labels"],
    ] {
        assert_eq!(labels[INJECT_LABEL], INJECT_DISABLED);
    }
}

/// OpenShift assigns users to each namespace, and would not start pods with another user from the manifests.
#[test]
fn images_define_the_user_of_our_pods() {
    for file in [
        "base/deployment",
        "base/cert-controller/deployment",
        "base/shared-tier/deployment",
        "components/shared-daemonset/daemonset",
    ] {
        let spec = common::manifests::object(file)["spec"]["template"]["spec"].clone();
        for context in [&spec["securityContext"], &spec["containers"][0]["securityContext"]] {
            assert!(context.get("runAsUser").is_none() && context.get("runAsGroup").is_none(), "{file}");
        }
        assert_eq!(spec["securityContext"]["runAsNonRoot"], true, "{file}");
    }
    for program in ["sidecar", "webhook"] {
        let file = folder().join("..").join(format!("Dockerfile.{program}"));
        let text = fs::read_to_string(file).expect("a Dockerfile");
        assert!(text.contains(&format!("\nUSER {SIDECAR_USER}:{SIDECAR_USER}\n")), "{program}");
    }
}

#[test]
fn every_file_of_the_base_holds_one_object_and_is_applied() {
    for folder in ["base", "base/cert-controller", "base/shared-tier"] {
        let kustomization = common::manifests::object(&format!("{folder}/kustomization"));
        let mut applied: Vec<_> =
            kustomization["resources"].as_array().expect("resources").iter().map(text).collect();
        applied.push("kustomization.yaml".to_owned());
        applied.sort();
        assert_eq!(files(folder), applied);
        for file in applied.iter().filter_map(|file| file.strip_suffix(".yaml")) {
            let object = common::manifests::object(&format!("{folder}/{file}"));
            assert_eq!(text(&object["kind"]).to_lowercase(), file);
        }
    }
}

/// With a new CA for each certificate, the API server would reject the webhook until both have been updated.
#[test]
fn with_cert_manager_the_ca_outlives_many_certificates_and_keeps_its_key() {
    let certificates = objects("overlays/cert-manager/certificate");
    let [ca, leaf] = [true, false].map(|is_ca| {
        let found = certificates.iter().find(|one| (one["spec"]["isCA"] == true) == is_ca);
        found.expect("a certificate")["spec"].clone()
    });
    let issuers = objects("overlays/cert-manager/issuer");
    let [of_ca, of_leaf] = [&ca, &leaf].map(|of| {
        let found = issuers.iter().find(|issuer| issuer["metadata"]["name"] == of["issuerRef"]["name"]);
        found.expect("an issuer")["spec"].clone()
    });
    assert_eq!((&of_leaf["ca"]["secretName"], of_ca["selfSigned"].is_object()), (&ca["secretName"], true));
    assert_eq!(ca["privateKey"]["rotationPolicy"], "Never");
    let hours = |of: &Value, key: &str| -> u32 {
        of[key].as_str().and_then(|text| text.strip_suffix('h')?.parse().ok()).expect("hours")
    };
    assert!(hours(&ca, "duration") - hours(&ca, "renewBefore") > 10 * hours(&leaf, "duration"));
    // While a renewed CA is not trusted yet, certificates of the previous CA are still valid.
    assert!(hours(&ca, "renewBefore") > hours(&leaf, "duration"));
}

/// The API server accepts objects up to 1.5 MiB, and ConfigMaps up to 1 MiB.
#[test]
fn grafana_finds_the_dashboard_by_its_label() {
    let overlay = "overlays/prometheus-operator";
    let kustomization = common::manifests::object(&format!("{overlay}/kustomization"));
    let map = &kustomization["configMapGenerator"][0];
    assert_eq!(map["options"]["labels"], json!({"grafana_dashboard": "1"}));
    assert_eq!(map["files"], json!(["podlocal-dns.json=dashboard.json"]));
    let text = fs::read_to_string(folder().join(overlay).join("dashboard.json")).expect("a dashboard");
    let dashboard: Value = serde_json::from_str(&text).expect("JSON");
    assert!(text.len() < 1 << 20 && dashboard["panels"].as_array().is_some_and(|panels| panels.len() > 10));
}

/// The settings of the program in the Deployment.
fn serve() -> Serve {
    match parse(&container()) {
        Command::Serve(serve) => *serve,
        other => panic!("expected serve, got {other:?}"),
    }
}

/// The settings of the cert-controller in its Deployment.
fn cert_controller() -> CertController {
    match parse(&object("cert-controller/deployment")["spec"]["template"]["spec"]["containers"][0]) {
        Command::CertController(controller) => *controller,
        other => panic!("expected cert-controller, got {other:?}"),
    }
}

fn parse(container: &Value) -> Command {
    let arguments = container["args"].as_array().expect("arguments").iter();
    config::parse(arguments.map(|word| OsString::from(text(word))), |_| Ok(String::new())).expect("valid")
}

fn container() -> Value {
    object("deployment")["spec"]["template"]["spec"]["containers"][0].clone()
}

/// The object in a file of the base.
fn object(name: &str) -> Value {
    common::manifests::object(&format!("base/{name}"))
}

/// The names of the files in a folder, sorted.
fn files(of: &str) -> Vec<String> {
    let files = fs::read_dir(folder().join(of)).expect("the folder");
    let names = files.map(|file| file.expect("a file").file_name().into_string().expect("UTF-8"));
    let mut names: Vec<_> = names.collect();
    names.sort();
    names
}
