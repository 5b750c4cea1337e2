//! The manifests and the program use the same names.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use podlocal_settings::names::{INJECT_DISABLED, INJECT_ENABLED, INJECT_LABEL, SIDECAR_USER};
use podlocal_webhook::config::{self, CertController, Command, Serve};
use podlocal_webhook::documents::yaml;
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

#[test]
fn role_bindings_match_the_deployment_service_accounts() {
    for (folder, role) in
        [("", "role"), ("", "clusterrole"), ("cert-controller/", "role"), ("cert-controller/", "clusterrole")]
    {
        let account = object(&format!("{folder}serviceaccount"));
        // Only the pod that needs the token mounts it, not every pod with this account.
        assert_eq!(account["automountServiceAccountToken"], false);
        let account = &account["metadata"];
        let spec = object(&format!("{folder}deployment"))["spec"]["template"]["spec"].clone();
        assert_eq!(
            (&spec["serviceAccountName"], &spec["automountServiceAccountToken"]),
            (&account["name"], &json!(true))
        );
        let (binding, role) = (object(&format!("{folder}{role}binding")), object(&format!("{folder}{role}")));
        assert_eq!(binding["metadata"]["namespace"], role["metadata"]["namespace"]);
        let expected = json!({
            "apiGroup": "rbac.authorization.k8s.io", "kind": role["kind"], "name": role["metadata"]["name"],
        });
        assert_eq!(binding["roleRef"], expected);
        let subject = json!({
            "kind": "ServiceAccount", "name": account["name"], "namespace": account["namespace"],
        });
        assert_eq!(binding["subjects"], json!([subject]));
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
    let selected = policy["podSelector"]["matchLabels"].as_object().expect("labels");
    assert!(selected.iter().all(|(key, value)| labels[key] == *value));
    // No Service selects it, and one label removes all of its objects (overlays/cert-manager).
    let service = object("service")["spec"]["selector"].clone();
    assert!(service.as_object().expect("labels").iter().any(|(key, value)| labels[key] != *value));
    for file in fs::read_dir(manifests().join("base/cert-controller")).expect("the folder") {
        let object = read(&file.expect("a file").path());
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
    let selects = |webhook: usize, selector: &str| {
        configuration["webhooks"][webhook][selector]["matchExpressions"][0].clone()
    };
    let expression =
        |operator: &str, value: &str| json!({"key": INJECT_LABEL, "operator": operator, "values": [value]});
    assert_eq!(selects(0, "namespaceSelector"), expression("In", INJECT_ENABLED));
    assert_eq!(selects(0, "objectSelector"), expression("NotIn", INJECT_DISABLED));
    assert_eq!(selects(1, "namespaceSelector"), expression("NotIn", INJECT_ENABLED));
    assert_eq!(selects(1, "objectSelector"), expression("In", INJECT_ENABLED));
}

#[test]
fn one_drain_fits_into_the_time_that_a_pod_has_to_end() {
    let deployment = object("deployment");
    let grace = deployment["spec"]["template"]["spec"]["terminationGracePeriodSeconds"].as_u64();
    let drain = serve().shutdown_delay + podlocal_webhook::app::DRAIN_DEADLINE;
    assert!(drain.as_secs() < grace.expect("seconds"), "{drain:?}");
}

#[test]
fn references_of_the_deployment_resolve() {
    let pod = object("deployment")["spec"]["template"].clone();
    assert_eq!(pod["spec"]["serviceAccountName"], object("serviceaccount")["metadata"]["name"]);
    assert_eq!(pod["spec"]["priorityClassName"], object("priorityclass")["metadata"]["name"]);
    let labels = &pod["metadata"]["labels"];
    for selector in [
        object("service")["spec"]["selector"].clone(),
        object("poddisruptionbudget")["spec"]["selector"]["matchLabels"].clone(),
        object("networkpolicy")["spec"]["podSelector"]["matchLabels"].clone(),
    ] {
        assert!(selector.as_object().expect("labels").iter().all(|(key, value)| labels[key] == *value));
    }
    let ports: Vec<_> =
        container()["ports"].as_array().expect("ports").iter().map(|port| port["name"].clone()).collect();
    let open = object("networkpolicy")["spec"]["ingress"][0]["ports"].clone();
    let open: Vec<_> = open.as_array().expect("ports").iter().map(|port| port["port"].clone()).collect();
    assert_eq!((&open, &object("service")["spec"]["ports"][0]["targetPort"]), (&ports, &ports[0]));
}

#[test]
fn our_own_pods_are_opted_out_and_the_example_is_opted_in() {
    let deployment = object("deployment");
    let controller = object("cert-controller/deployment");
    for labels in [
        &object("namespace")["metadata"]["labels"],
        &deployment["spec"]["template"]["metadata"]["labels"],
        &controller["spec"]["template"]["metadata"]["labels"],
    ] {
        assert_eq!(labels[INJECT_LABEL], INJECT_DISABLED);
    }
    let example = read(&manifests().join("example/namespace.yaml"));
    assert_eq!(example["metadata"]["labels"][INJECT_LABEL], INJECT_ENABLED);
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
        let spec = read(&manifests().join(file).with_extension("yaml"))["spec"]["template"]["spec"].clone();
        for context in [&spec["securityContext"], &spec["containers"][0]["securityContext"]] {
            assert!(context.get("runAsUser").is_none() && context.get("runAsGroup").is_none(), "{file}");
        }
        assert_eq!(spec["securityContext"]["runAsNonRoot"], true, "{file}");
    }
    for program in ["sidecar", "webhook"] {
        let file = manifests().join("..").join(format!("Dockerfile.{program}"));
        let text = fs::read_to_string(file).expect("a Dockerfile");
        assert!(text.contains(&format!("\nUSER {SIDECAR_USER}:{SIDECAR_USER}\n")), "{program}");
    }
}

#[test]
fn every_file_of_the_base_holds_one_object_and_is_applied() {
    for folder in ["base", "base/cert-controller", "base/shared-tier"] {
        let folder = manifests().join(folder);
        let mut files: Vec<_> = fs::read_dir(&folder)
            .expect("the base")
            .map(|entry| entry.expect("an entry").file_name().into_string().expect("UTF-8"))
            .filter(|name| name != "kustomization.yaml")
            .collect();
        files.sort();
        let kustomization = read(&folder.join("kustomization.yaml"));
        let mut applied: Vec<_> =
            kustomization["resources"].as_array().expect("resources").iter().map(text).collect();
        applied.sort();
        assert_eq!(files, applied);
        for file in files.iter().filter(|file| folder.join(file).is_file()) {
            let object = read(&folder.join(file));
            assert_eq!(format!("{}.yaml", text(&object["kind"]).to_lowercase()), *file);
        }
    }
}

/// The settings of the program in the Deployment.
fn serve() -> Serve {
    let container = container();
    let arguments = container["args"].as_array().expect("arguments").iter();
    match config::parse(arguments.map(|word| OsString::from(text(word))), |_| Ok(String::new())) {
        Ok(Command::Serve(serve)) => *serve,
        other => panic!("expected serve, got {other:?}"),
    }
}

/// The settings of the cert-controller in its Deployment.
fn cert_controller() -> CertController {
    let container = object("cert-controller/deployment")["spec"]["template"]["spec"]["containers"][0].clone();
    let arguments = container["args"].as_array().expect("arguments").iter();
    match config::parse(arguments.map(|word| OsString::from(text(word))), |_| Ok(String::new())) {
        Ok(Command::CertController(controller)) => *controller,
        other => panic!("expected cert-controller, got {other:?}"),
    }
}

fn container() -> Value {
    object("deployment")["spec"]["template"]["spec"]["containers"][0].clone()
}

/// The object in a file of the base.
fn object(name: &str) -> Value {
    read(&manifests().join("base").join(name).with_extension("yaml"))
}

fn read(file: &Path) -> Value {
    let text = fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let mut documents = yaml::read(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    assert_eq!(documents.len(), 1, "{}", file.display());
    documents.remove(0)
}

fn manifests() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../manifests")
}

fn text(value: &Value) -> String {
    value.as_str().expect("a text").to_owned()
}
