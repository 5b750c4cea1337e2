//! The manifests and the program use the same names, and the manifests keep the rules of
//! `tests/manifests/rules.yaml`. `tests/cluster/install` installs them on a cluster.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use podlocal_settings::names::SIDECAR_USER;
use podlocal_settings::read::{self, Given};
use podlocal_settings::table::{self, Setting};
use podlocal_settings::value::{Quantity, Role};
use podlocal_settings::{Settings, value};
use podlocal_webhook::app::DRAIN_DEADLINE;
use podlocal_webhook::config::{self, CertController, Command, Serve};
use podlocal_webhook::documents::yaml;
use serde_json::{Value, json};

/// The workload of each shape of the shared tier.
const TIERS: [&str; 2] = ["base/shared-tier/deployment", "components/shared-daemonset/daemonset"];

/// The addresses of a pod, as the downward API writes them.
const POD_IPS: &str = "10.244.1.2,fd00:10:244::2";

#[test]
fn the_manifests_keep_their_rules() {
    let rules = yaml::read(include_str!("manifests/rules.yaml")).expect("YAML").remove(0);
    for rule in rules.as_array().expect("rules") {
        let what = text(&rule["rule"]);
        let files: Vec<_> = rule["in"].as_array().into_iter().flatten().map(text).collect();
        let of = |key: &str| rule[key].as_object().into_iter().flatten();
        for (place, expected) in of("values") {
            for place in places(place, &files) {
                assert_eq!(value_at(&place), *expected, "{what} {place}");
            }
        }
        for places in rule["same"].as_array().into_iter().flatten() {
            let values: Vec<_> = places.as_array().expect("places").iter().map(text).collect();
            let values: Vec<_> = values.iter().map(|place| value_at(place)).collect();
            assert!(values.iter().all(|value| !value.is_null() && *value == values[0]), "{what} {places}");
        }
        for (selector, labels) in of("selects") {
            let selector = value_at(selector);
            let selector = selector.as_object().filter(|selector| !selector.is_empty()).expect("labels");
            for place in places(&text(labels), &files) {
                let labels = value_at(&place);
                assert!(selector.iter().all(|(key, value)| labels[key] == *value), "{what} {place}");
            }
        }
    }
}

/// A place, in each of the files if it names none.
fn places(place: &str, files: &[String]) -> Vec<String> {
    if place.starts_with('#') {
        files.iter().map(|file| format!("{file}{place}")).collect()
    } else {
        vec![place.to_owned()]
    }
}

/// The value at a place: a file and a JSON pointer. Several objects in a file are a list.
fn value_at(place: &str) -> Value {
    let (file, pointer) = place.split_once('#').expect("a file and a pointer");
    let mut objects = objects(file);
    let whole = if objects.len() == 1 { objects.remove(0) } else { Value::Array(objects) };
    whole.pointer(pointer).cloned().unwrap_or_default()
}

#[test]
fn the_arguments_of_the_deployments_are_flags_of_the_program() {
    let (serve, controller, service) = (serve(), cert_controller(), object("base/service"));
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(serve.common.image, format!("ghcr.io/podlocal-dns/sidecar:{version}"));
    let images = &object("base/kustomization")["images"][0];
    assert_eq!(
        (&images["name"], &images["newTag"]),
        (&container("base/deployment")["image"], &json!(version))
    );
    let host =
        format!("{}.{}.svc", text(&service["metadata"]["name"]), text(&service["metadata"]["namespace"]));
    assert_eq!(controller.dns_names, [host]);
    let names = ["base/cert-controller/secret", "base/mutatingwebhookconfiguration"]
        .map(|file| text(&object(file)["metadata"]["name"]));
    assert_eq!(names, [controller.certificate_secret, controller.webhook_configuration]);
    let mount = text(&container("base/deployment")["volumeMounts"][0]["mountPath"]);
    let files = ["tls.crt", "tls.key"].map(|file| Path::new(&mount).join(file));
    assert_eq!(serve.tls_files(), Some(files.into()));
}

#[test]
fn one_drain_fits_into_the_time_that_a_pod_has_to_end() {
    let grace = value_at("base/deployment#/spec/template/spec/terminationGracePeriodSeconds").as_u64();
    let drain = serve().shutdown_delay + DRAIN_DEADLINE;
    assert!(drain.as_secs() < grace.expect("seconds"), "{drain:?}");
}

#[test]
fn images_define_the_user_of_our_pods() {
    for program in ["sidecar", "webhook"] {
        let file = folder().join("..").join(format!("Dockerfile.{program}"));
        let text = fs::read_to_string(file).expect("a Dockerfile");
        assert!(text.contains(&format!("\nUSER {SIDECAR_USER}:{SIDECAR_USER}\n")), "{program}");
    }
}

/// One label removes all objects of the cert-controller (overlays/cert-manager).
#[test]
fn every_file_of_the_base_holds_one_object_and_is_applied() {
    for folder in ["base", "base/cert-controller", "base/shared-tier"] {
        let kustomization = object(&format!("{folder}/kustomization"));
        let mut applied: Vec<_> =
            kustomization["resources"].as_array().expect("resources").iter().map(text).collect();
        applied.push("kustomization.yaml".to_owned());
        applied.sort();
        assert_eq!(files(folder), applied);
        for file in applied.iter().filter_map(|file| file.strip_suffix(".yaml")) {
            let object = object(&format!("{folder}/{file}"));
            assert_eq!(text(&object["kind"]).to_lowercase(), file);
            if folder.ends_with("cert-controller") && file != "kustomization" {
                let label = &object["metadata"]["labels"]["app.kubernetes.io/name"];
                assert_eq!(label, "podlocal-dns-cert-controller", "{file}");
            }
        }
    }
}

/// The API server accepts objects up to 1.5 MiB, and ConfigMaps up to 1 MiB.
#[test]
fn the_dashboard_fits_into_a_config_map() {
    let file = folder().join("overlays/prometheus-operator/dashboard.json");
    let text = fs::read_to_string(file).expect("a dashboard");
    let dashboard: Value = serde_json::from_str(&text).expect("JSON");
    assert!(text.len() < 1 << 20 && dashboard["panels"].as_array().is_some_and(|panels| panels.len() > 10));
}

#[test]
fn the_tier_takes_its_arguments_and_variables() {
    for workload in TIERS {
        let container = container(workload);
        let settings = settings(&container);
        assert_eq!((settings.role, settings.admin_port), (Role::Shared, 9353));
        assert_eq!(settings.listen, value::addresses(POD_IPS).expect("addresses"));
        // The rest is for queries in flight: 4 s at most, plus a margin.
        let grace = value_at(&format!("{workload}#/spec/template/spec/terminationGracePeriodSeconds"));
        assert!(grace.as_u64() >= Some(settings.lame_duck.as_secs() + 10), "{grace}");
        let memory =
            |kind: &str| Quantity::parse(&text(&container["resources"][kind]["memory"])).expect("valid");
        assert!(
            memory("requests") >= settings.memory_request() && memory("limits") >= settings.memory_limit()
        );
    }
    let image = json!([{"name": "ghcr.io/podlocal-dns/sidecar", "newTag": env!("CARGO_PKG_VERSION")}]);
    for folder in ["base/shared-tier", "components/shared-daemonset"] {
        assert_eq!(object(&format!("{folder}/kustomization"))["images"], image);
    }
}

#[test]
fn the_patch_of_the_autoscaler_applies() {
    let patch = text(&value_at("components/shared-autoscaling/kustomization#/patches/0/patch"));
    let patch = yaml::read(&patch).expect("YAML").remove(0);
    let patch: json_patch::Patch = serde_json::from_value(patch).expect("operations");
    let mut scaled = object("base/shared-tier/deployment");
    json_patch::patch(&mut scaled, &patch).expect("applies");
    assert_eq!(scaled.pointer("/spec/replicas"), None);
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

/// The settings of the program in the Deployment.
fn serve() -> Serve {
    match parse("base/deployment") {
        Command::Serve(serve) => *serve,
        other => panic!("expected serve, got {other:?}"),
    }
}

/// The settings of the cert-controller in its Deployment.
fn cert_controller() -> CertController {
    match parse("base/cert-controller/deployment") {
        Command::CertController(controller) => *controller,
        other => panic!("expected cert-controller, got {other:?}"),
    }
}

fn parse(workload: &str) -> Command {
    let arguments = container(workload)["args"].clone();
    let arguments = arguments.as_array().expect("arguments").iter().map(|word| OsString::from(text(word)));
    config::parse(arguments, |_| Ok(String::new())).expect("valid")
}

fn container(workload: &str) -> Value {
    value_at(&format!("{workload}#/spec/template/spec/containers/0"))
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../manifests")
}

/// The names of the files in a folder, sorted.
fn files(of: &str) -> Vec<String> {
    let files = fs::read_dir(folder().join(of)).expect("the folder");
    let names = files.map(|file| file.expect("a file").file_name().into_string().expect("UTF-8"));
    let mut names: Vec<_> = names.collect();
    names.sort();
    names
}

/// The objects in a file, for example of `base/deployment`.
fn objects(file: &str) -> Vec<Value> {
    let text = fs::read_to_string(folder().join(file).with_extension("yaml"));
    let text = text.unwrap_or_else(|error| panic!("{file}: {error}"));
    yaml::read(&text).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// The one object in a file.
fn object(file: &str) -> Value {
    value_at(&format!("{file}#"))
}

fn text(value: &Value) -> String {
    value.as_str().expect("a text").to_owned()
}
