//! Every pair of annotations with extreme and conflicting values: the sidecar starts with the settings that
//! the webhook writes. The sidecar reads its variables with the same function (`podlocal_settings::read`),
//! and does not start if that finds an error.

mod common;

use common::golden::sidecar_settings;
use podlocal_settings::read::{Given, read};
use podlocal_settings::table::{Setting, TABLE};
use podlocal_settings::value::Quantity;
use podlocal_webhook::review::cluster_state::{Cluster, ClusterFlags};
use podlocal_webhook::review::mutate::{Policy, mutate};
use podlocal_webhook::review::namespace::Namespace;
use podlocal_webhook::review::outcome::Outcome;
use serde_json::json;

/// A port that the pod's own container declares.
const TAKEN: u16 = 8080;

#[test]
fn every_pair_of_annotations_yields_a_startable_sidecar() {
    let annotations: Vec<_> = TABLE.iter().copied().filter(|setting| setting.is_annotation()).collect();
    let values: Vec<_> = annotations.iter().map(|setting| (*setting, values(setting))).collect();
    let mut pairs = 0;
    for (first, of_first) in &values {
        for (second, of_second) in &values {
            for of_pod in of_first {
                for of_namespace in of_second {
                    check((first, of_pod), (second, of_namespace));
                    pairs += 1;
                }
            }
        }
    }
    assert!(pairs > 5_000, "{pairs}");
}

/// Values that are valid on their own: the limits, the default, every choice, and values that conflict with
/// others in the pod.
fn values(setting: &'static Setting) -> Vec<String> {
    let mut values: Vec<String> = setting
        .bounds
        .into_iter()
        .flat_map(<[&str; 2]>::from)
        .chain([setting.default])
        .map(ToOwned::to_owned)
        .collect();
    values.extend(setting.choices().into_iter().flatten().map(|&word| word.to_owned()));
    let more: &[&str] = match setting.form.words().as_str() {
        "addresses" => &["127.0.0.1", "[::1]:53,192.0.2.53", "0.0.0.0", "192.0.2.1:5353"],
        "domain names" => &["a.example", "db.prod"],
        "names or *.suffixes" => &["*.workers"],
        "zones and their servers" => &["consul=10.0.0.53,corp.example=127.0.0.1:8600", "local=10.0.0.1"],
        "a port" => &["53", "8080", "1"],
        "bytes" | "a memory quantity" => &["9Mi", "64Mi", "1Gi"],
        "a CPU quantity" => &["1500m"],
        "a duration" => &["1ms", "7d"],
        "an image reference" => &["registry.example/sidecar:1"],
        _ => &[],
    };
    values.extend(more.iter().map(|&text| text.to_owned()));
    let parses = |text: &String| {
        let given = |other: &Setting| {
            let given = Given { origin: String::new(), text: text.clone() };
            Vec::from_iter((other == setting).then_some(given))
        };
        // Values that are invalid only in combination with defaults are the subject of this test.
        let errors = read(given).errors;
        errors.iter().all(|error| error.expected.contains("because") || error.expected.contains("DNS"))
    };
    values.retain(|text| !text.is_empty() && parses(text));
    values.sort();
    values.dedup();
    assert!(!values.is_empty(), "{}", setting.name);
    values
}

fn check(of_pod: (&Setting, &str), of_namespace: (&Setting, &str)) {
    let case =
        format!("pod: {} {}, namespace: {} {}", of_pod.0.name, of_pod.1, of_namespace.0.name, of_namespace.1);
    let pod = json!({
        "metadata": {"annotations": {of_pod.0.annotation(): of_pod.1}},
        "spec": {"containers": [{
            "name": "app", "image": "app:1", "ports": [{"containerPort": TAKEN}],
            "resources": {"requests": {"cpu": "1"}},
        }]},
    });
    let annotations = json!({of_namespace.0.annotation(): of_namespace.1});
    let namespace =
        Namespace { name: "web".to_owned(), annotations: annotations.as_object().expect("a map").clone() };
    let flags = ClusterFlags { dns: vec![([10, 96, 0, 10], 53).into()], ..ClusterFlags::default() };
    let policy = Policy { image: "sidecar:1".to_owned(), defaults: Vec::new() };
    let mutation = mutate(&pod, &namespace, &Cluster::new(&flags, ""), &policy).expect("a pod");
    assert_eq!(mutation.outcome, Outcome::Injected, "{case}");

    let container = &mutation.pod["spec"]["initContainers"][0];
    let settings = sidecar_settings(&mutation.pod, &case);
    assert!(settings.admin_port != TAKEN && !settings.upstream.is_empty(), "{case}");
    assert!(settings.listen.iter().all(|address| address.port() != settings.admin_port), "{case}");
    let declared = container["ports"][0]["containerPort"].as_u64().unwrap_or_default();
    assert_eq!(declared, u64::from(settings.admin_port), "{case}");
    let amount = |kind: &str, resource: &str| {
        let text = container["resources"][kind][resource].as_str()?;
        Some(Quantity::parse(text).unwrap_or_else(|expected| panic!("{case}: {text}: {expected}")))
    };
    for resource in ["cpu", "memory"] {
        if let (Some(request), Some(limit)) = (amount("requests", resource), amount("limits", resource)) {
            assert!(request <= limit, "{case}: {resource}");
        }
    }
    let full = Quantity::of_bytes(settings.memory_of_full_cache());
    assert!(amount("limits", "memory").is_some_and(|limit| limit >= full), "{case}");
}
