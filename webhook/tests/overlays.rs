//! The rendered overlays are complete, and the program accepts their arguments.

mod common;

use std::collections::BTreeSet;
use std::ffi::OsString;

use common::kustomize::{find, named, render};
use podlocal_webhook::config::{self, Command};
use serde_json::{Value, json};

#[test]
fn cert_manager_overlay_serves_files_without_cert_controller() {
    let objects = render("overlays/cert-manager");
    let deployment = named(&objects, "Deployment", "podlocal-dns-webhook");
    let pod = &deployment["spec"]["template"]["spec"];
    let container = &pod["containers"][0];
    let arguments = container["args"].as_array().expect("arguments");
    let arguments = arguments.iter().map(|word| OsString::from(word.as_str().expect("a text")));
    let Ok(Command::Serve(serve)) = config::parse(arguments, |_| Ok(String::new())) else {
        panic!("the arguments are those of serve: {container}");
    };
    let (certificate, key) = serve.tls_files().expect("files");
    let mount = &container["volumeMounts"][0];
    for file in [certificate, key] {
        assert!(file.starts_with(mount["mountPath"].as_str().expect("a path")), "{}", file.display());
    }
    assert_eq!(pod["volumes"][0]["name"], mount["name"]);
    let secret = pod["volumes"][0]["secret"]["secretName"].clone();
    let issued = of_spec(&objects, "Certificate", "secretName", &secret);
    assert_eq!(issued["spec"]["dnsNames"], json!(serve.dns_names));
    let configuration = find(&objects, "MutatingWebhookConfiguration");
    let source = format!("podlocal-dns/{}", issued["metadata"]["name"].as_str().expect("a name"));
    assert_eq!(configuration["metadata"]["annotations"]["cert-manager.io/inject-ca-from"], source);

    // There is one of each: all objects of the cert-controller are removed.
    for kind in ["Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding"] {
        assert_eq!(find(&objects, kind)["metadata"]["name"], "podlocal-dns-webhook");
    }
    let text = json!(objects).to_string();
    assert!(
        !text.contains("cert-controller") && !text.contains("podlocal-dns-webhook-certificate"),
        "{text}"
    );
}

/// With a new CA for each certificate, the API server would reject the webhook until both have been updated.
#[test]
fn with_cert_manager_the_ca_outlives_many_certificates_and_keeps_its_key() {
    let objects = render("overlays/cert-manager");
    let leaf = of_spec(&objects, "Certificate", "secretName", &json!("podlocal-dns-webhook-tls"));
    let issuer = |certificate: &Value| {
        named(&objects, "Issuer", certificate["spec"]["issuerRef"]["name"].as_str().expect("a name"))
    };
    let signer = issuer(&leaf);
    let ca = of_spec(&objects, "Certificate", "secretName", &signer["spec"]["ca"]["secretName"]);
    assert_eq!(ca["spec"]["isCA"], true);
    assert_eq!(ca["spec"]["privateKey"]["rotationPolicy"], "Never");
    assert!(issuer(&ca)["spec"]["selfSigned"].is_object());
    let hours = |object: &Value, key: &str| -> u32 {
        object["spec"][key].as_str().and_then(|text| text.strip_suffix('h')?.parse().ok()).expect("hours")
    };
    assert!(hours(&ca, "duration") - hours(&ca, "renewBefore") > 10 * hours(&leaf, "duration"));
    // While a renewed CA is not trusted yet, certificates of the previous CA are still valid.
    assert!(hours(&ca, "renewBefore") > hours(&leaf, "duration"));
}

#[test]
fn rendered_kustomizations_have_no_duplicate_objects() {
    for folder in [
        "base",
        "example",
        "overlays/cert-manager",
        "overlays/prometheus-operator",
        "overlays/shared-autoscaling",
        "overlays/shared-daemonset",
        "overlays/without-shared-tier",
    ] {
        let objects = render(folder);
        let names: BTreeSet<_> = objects
            .iter()
            .map(|object| format!("{} {}", object["kind"], object["metadata"]["name"]))
            .collect();
        assert_eq!(names.len(), objects.len(), "{folder}: {names:?}");
        assert!(objects.iter().all(|object| object["apiVersion"].is_string()), "{folder}");
    }
}

/// The API server accepts objects up to 1.5 MiB, and ConfigMaps up to 1 MiB.
#[test]
fn grafana_finds_the_dashboard_by_its_label() {
    let objects = render("overlays/prometheus-operator");
    let map = find(&objects, "ConfigMap");
    assert_eq!(map["metadata"]["labels"], json!({"grafana_dashboard": "1"}));
    let text = map["data"]["podlocal-dns.json"].as_str().expect("a dashboard");
    let dashboard: Value = serde_json::from_str(text).expect("JSON");
    assert!(text.len() < 1 << 20 && dashboard["panels"].as_array().is_some_and(|panels| panels.len() > 10));
}

/// The object of the kind whose `spec` has the value at the key.
fn of_spec(objects: &[Value], kind: &str, key: &str, value: &Value) -> Value {
    let found = objects.iter().find(|object| object["kind"] == kind && object["spec"][key] == *value);
    found.unwrap_or_else(|| panic!("no {kind} has {key} {value}")).clone()
}
