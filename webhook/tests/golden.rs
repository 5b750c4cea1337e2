//! Golden pods: each folder of `tests/golden` is one pod that goes through a whole review.
//!
//! ```text
//!   input.yaml      the pod; its first line says what the case shows
//!   setup.yaml      what differs from the usual cluster (optional)
//!   answer.yaml     decision, reason, warnings, operations
//!   expected.yaml   the whole pod afterwards; absent when nothing changes
//! ```
//!
//! `UPDATE=1 cargo test -p podlocal-webhook --test golden` writes the last two anew; read the difference.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use podlocal_settings::names::{CONTAINER_NAME, STATUS_ANNOTATION};
use podlocal_settings::read::{Given, read};
use podlocal_settings::table::{self, Setting};
use podlocal_webhook::admission::{self, Verdict};
use podlocal_webhook::cluster::{Cluster, Version};
use podlocal_webhook::decide::Skip;
use podlocal_webhook::mutate::{Outcome, Policy};
use podlocal_webhook::qos;
use podlocal_webhook::yaml;
use serde_json::{Value, json};

const FILES: [&str; 4] = ["input.yaml", "setup.yaml", "answer.yaml", "expected.yaml"];

struct Case {
    folder: PathBuf,
    input: Value,
    setup: Value,
}

/// What came back from one review.
struct Answer {
    summary: Value,
    pod: Value,
}

#[test]
fn every_golden_pod_becomes_what_is_expected() {
    let is_update = std::env::var_os("UPDATE").is_some();
    let mut failures = Vec::new();
    for case in cases() {
        let answer = case.review(&case.input);
        let is_changed = answer.pod != case.input;
        if is_update {
            case.write("answer.yaml", Some(&answer.summary));
            case.write("expected.yaml", is_changed.then_some(&answer.pod));
        }
        let expected = case.read("expected.yaml").unwrap_or_else(|| case.input.clone());
        if case.read("answer.yaml").as_ref() != Some(&answer.summary) {
            failures.push(format!("{}: the answer is {:#}", case.name(), answer.summary));
        }
        if expected != answer.pod {
            failures.push(format!("{}: the pod is {}", case.name(), written(&answer.pod)));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn a_second_review_changes_nothing() {
    for case in cases() {
        let once = case.review(&case.input).pod;
        let twice = case.review(&once);
        assert_eq!(twice.summary["operations"], json!([]), "{}", case.name());
        assert_eq!(twice.pod, once, "{}", case.name());
    }
}

#[test]
fn an_injected_pod_keeps_its_qos_class() {
    for case in cases() {
        let mut counted = case.review(&case.input).pod;
        // Under another name, because ours does not count.
        for container in counted["spec"]["initContainers"].as_array_mut().into_iter().flatten() {
            if container["name"] == CONTAINER_NAME {
                container["name"] = json!("proxy");
            }
        }
        assert_eq!(qos::class(&counted["spec"]), qos::class(&case.input["spec"]), "{}", case.name());
    }
}

#[test]
fn nothing_of_the_input_is_lost_but_what_the_proxy_replaces() {
    for case in cases() {
        let mut pod = case.review(&case.input).pod;
        let init_containers = pod["spec"]["initContainers"].as_array_mut();
        if let Some(containers) = init_containers {
            containers.retain(|container| container["name"] != CONTAINER_NAME);
        }
        let mut input = case.input.clone();
        for pod in [&mut pod, &mut input] {
            let spec = pod["spec"].as_object_mut().expect("a spec");
            spec.remove("dnsPolicy");
            spec.remove("dnsConfig");
            if let Some(containers) = spec.get_mut("initContainers").and_then(Value::as_array_mut) {
                containers.retain(|container| container["name"] != CONTAINER_NAME);
            }
        }
        assert_contains(&pod, &input, &case.name());
    }
}

#[test]
fn a_pod_with_any_part_of_another_type_is_allowed_and_its_patch_applies_once() {
    for case in cases() {
        for place in places(&case.input) {
            for other in [json!(null), json!(7), json!("x"), json!([]), json!([{}]), json!({})] {
                let mut pod = case.input.clone();
                *pod.pointer_mut(&place).expect("a place") = other;
                // `review` asserts that it is allowed and that the patch applies.
                let once = case.review(&pod).pod;
                assert_eq!(case.review(&once).pod, once, "{}{place}", case.name());
            }
        }
    }
}

#[test]
fn every_reason_has_a_golden_pod() {
    let shown: BTreeSet<String> = cases()
        .iter()
        .map(|case| case.review(&case.input).summary["reason"].as_str().unwrap_or_default().to_owned())
        .collect();
    let missing: Vec<_> =
        Outcome::all().map(|outcome| outcome.labels().1).filter(|label| !shown.contains(*label)).collect();
    // A review of something that is no pod never gets that far: `admission` has the test.
    assert_eq!(missing, [Skip::NotAPod.label()]);
}

#[test]
fn every_golden_file_is_used() {
    for case in cases() {
        for file in fs::read_dir(&case.folder).expect("a folder") {
            let name = file.expect("an entry").file_name().into_string().expect("UTF-8");
            assert!(FILES.contains(&name.as_str()), "{}/{name} is used by no test", case.name());
        }
        let text = fs::read_to_string(case.folder.join("input.yaml")).expect("an input");
        assert!(text.starts_with("# "), "{}: the first line says what it shows", case.name());
        let is_changed = case.folder.join("expected.yaml").exists();
        let operations = case.read("answer.yaml").expect("an answer")["operations"].clone();
        assert_eq!(is_changed, operations != json!([]), "{}: expected.yaml", case.name());
    }
}

fn cases() -> Vec<Case> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut folders: Vec<_> =
        fs::read_dir(root).expect("the folder").map(|entry| entry.expect("an entry").path()).collect();
    folders.sort();
    let cases: Vec<_> = folders.into_iter().map(Case::load).collect();
    assert!(!cases.is_empty());
    cases
}

impl Case {
    fn load(folder: PathBuf) -> Self {
        let mut case = Self { folder, input: Value::Null, setup: json!({}) };
        case.input = case.read("input.yaml").unwrap_or_else(|| panic!("{} has no input", case.name()));
        case.setup = case.read("setup.yaml").unwrap_or_else(|| json!({}));
        case
    }

    fn name(&self) -> String {
        self.folder.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    fn read(&self, file: &str) -> Option<Value> {
        let text = fs::read_to_string(self.folder.join(file)).ok()?;
        let mut documents =
            yaml::read(&text).unwrap_or_else(|error| panic!("{}/{file}: {error}", self.name()));
        assert_eq!(documents.len(), 1, "{}/{file}", self.name());
        documents.pop()
    }

    fn write(&self, file: &str, value: Option<&Value>) {
        let path = self.folder.join(file);
        match value {
            Some(value) => fs::write(path, written(value)).expect("writes"),
            None if path.exists() => fs::remove_file(path).expect("removes"),
            None => {}
        }
    }

    /// Sends the pod through a review and applies the patch, as the API server does.
    fn review(&self, pod: &Value) -> Answer {
        let review = json!({
            "apiVersion": "admission.k8s.io/v1",
            "kind": "AdmissionReview",
            "request": {
                "uid": "0cbdf8c4-0a4a-4b5b-9d6c-2b6f4a1f0000",
                "kind": {"group": "", "version": "v1", "kind": "Pod"},
                "operation": "CREATE",
                "namespace": self.setup["namespace"].as_str().unwrap_or("team-a"),
                "object": pod,
            },
        });
        let reviewed = admission::review(
            review.to_string().as_bytes(),
            |_| self.setup["namespace-annotations"].as_object().cloned().unwrap_or_default(),
            &self.cluster(),
            &self.policy(),
        );
        let body: Value = serde_json::from_slice(&reviewed.body).expect("an answer in JSON");
        let response = &body["response"];
        assert_eq!((&response["allowed"], &response["uid"]), (&json!(true), &review["request"]["uid"]));

        let patch = response["patch"].as_str().map(|text| {
            assert_eq!(response["patchType"], "JSONPatch");
            let bytes = base64::engine::general_purpose::STANDARD.decode(text).expect("base64");
            serde_json::from_slice::<json_patch::Patch>(&bytes).expect("operations")
        });
        let patch = patch.unwrap_or_default();
        let mut patched = pod.clone();
        json_patch::patch(&mut patched, &patch).expect("every operation applies");

        if reviewed.verdict == Verdict::Done(Outcome::Injected) {
            assert_sidecar_starts(&patched, &self.name());
        }

        let (decision, reason) = reviewed.verdict.labels();
        let operations: Vec<_> = patch
            .iter()
            .map(|operation| {
                let operation = serde_json::to_value(operation).expect("JSON");
                format!(
                    "{} {}",
                    operation["op"].as_str().expect("op"),
                    operation["path"].as_str().expect("path")
                )
            })
            .collect();
        let warnings = response.get("warnings").cloned().unwrap_or_else(|| json!([]));
        let summary = json!({
            "decision": decision, "reason": reason, "warnings": warnings, "operations": operations,
        });
        Answer { summary, pod: patched }
    }

    fn cluster(&self) -> Cluster {
        let setup = &self.setup["cluster"];
        let texts = |key: &str, usual: &[&str]| match setup[key].as_array() {
            Some(texts) => texts.iter().map(|text| text.as_str().expect("a text").to_owned()).collect(),
            None => usual.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>(),
        };
        let version = setup["version"].as_str().and_then(|text| text.split_once('.'));
        Cluster {
            dns: texts("dns", &["10.96.0.10:53"])
                .iter()
                .map(|text| text.parse().expect("an address"))
                .collect(),
            domain: setup["domain"].as_str().unwrap_or("cluster.local").to_owned(),
            extra_search: texts("extra-search", &[]),
            version: version.and_then(|(major, minor)| Version::parse(major, minor)),
            serves_impossible_names: setup["serves-impossible-names"] == true,
        }
    }

    fn policy(&self) -> Policy {
        let settings = self.setup["settings"].as_object();
        let defaults = settings.into_iter().flatten().map(|(name, text)| {
            let setting = table::find(name, Setting::is_annotation).expect("a setting");
            let text = text.as_str().expect("a text").to_owned();
            (setting, Given { origin: "settings file".to_owned(), text })
        });
        Policy { image: "ghcr.io/podlocal-dns/sidecar:golden".to_owned(), defaults: defaults.collect() }
    }
}

/// Asserts that the sidecar takes every variable of its container: it exits with 64 when one is bad.
fn assert_sidecar_starts(pod: &Value, place: &str) {
    let variables = pod.pointer("/spec/initContainers/0/env").and_then(Value::as_array);
    let variables = variables.unwrap_or_else(|| panic!("{place}: {}", written(pod)));
    let read = read(|setting| {
        let of_setting = variables.iter().filter(|variable| variable["name"] == setting.variable());
        let texts = of_setting.map(|variable| variable["value"].as_str().expect("a text").to_owned());
        texts.map(|text| Given { origin: setting.variable(), text }).collect()
    });
    assert_eq!((read.mistakes, read.accepted.len()), (Vec::new(), variables.len()), "{place}");
    assert!(read.accepted.iter().all(|(setting, _)| setting.is_for_sidecar()), "{place}");
}

/// The JSON pointers of everything in `value` below its root.
fn places(value: &Value) -> Vec<String> {
    let members: Vec<(String, &Value)> = match value {
        Value::Object(members) => {
            members.iter().map(|(name, value)| (name.replace('~', "~0").replace('/', "~1"), value)).collect()
        }
        Value::Array(items) => {
            items.iter().enumerate().map(|(index, value)| (index.to_string(), value)).collect()
        }
        _ => Vec::new(),
    };
    let below = |(name, value): (String, &Value)| {
        let deeper = places(value).into_iter().map({
            let name = name.clone();
            move |rest| format!("/{name}{rest}")
        });
        std::iter::once(format!("/{name}")).chain(deeper).collect::<Vec<_>>()
    };
    members.into_iter().flat_map(below).collect()
}

fn written(value: &Value) -> String {
    yaml::write(value).expect("writes")
}

/// Asserts that everything of `part` stands in `whole`: members, and the elements of arrays in their order.
fn assert_contains(whole: &Value, part: &Value, place: &str) {
    match (whole, part) {
        // Absent and null are the same to the API server.
        (_, Value::Null) => {}
        (Value::Object(whole), Value::Object(part)) => {
            for (key, value) in part {
                if key == STATUS_ANNOTATION {
                    continue;
                }
                let found = whole.get(key).unwrap_or(&Value::Null);
                assert_contains(found, value, &format!("{place}/{key}"));
            }
        }
        (Value::Array(whole), Value::Array(part)) => {
            assert!(whole.len() >= part.len(), "{place}");
            for (index, (found, value)) in whole.iter().zip(part).enumerate() {
                assert_contains(found, value, &format!("{place}/{index}"));
            }
        }
        _ => assert_eq!(whole, part, "{place}"),
    }
}
