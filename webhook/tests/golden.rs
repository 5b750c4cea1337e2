//! Golden pods: each folder of `tests/golden` is one pod that goes through a whole review.
//!
//! ```text
//!   input.yaml      the pod; its first line describes the case
//!   setup.yaml      differences from the default cluster (optional)
//!   answer.yaml     decision, reason, warnings, operations
//!   expected.yaml   the whole pod after injection; absent if nothing changes
//! ```
//!
//! `UPDATE=1 cargo test -p podlocal-webhook --test golden` updates the last two; review the diff.

mod common;

use std::collections::BTreeSet;
use std::fs;

use common::golden::{FILES, cases, written};
use podlocal_settings::names::{CONTAINER_NAME, STATUS_ANNOTATION};
use podlocal_webhook::review::outcome::Outcome;
use podlocal_webhook::review::skip::Skip;
use serde_json::{Value, json};

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
fn a_review_reads_every_field_that_decides() {
    for case in cases() {
        let once = case.review(&case.input).pod;
        assert_eq!(once, case.mutated_as_a_whole(&case.input), "{}", case.name());
        // The pod has the sidecar, and another webhook has put a container before it.
        let mut later = once;
        if let Some(containers) = later["spec"]["initContainers"].as_array_mut() {
            containers.insert(0, json!({"name": "other", "image": "other", "tty": true}));
        }
        assert_eq!(case.review(&later).pod, case.mutated_as_a_whole(&later), "{}", case.name());
        // The sidecar comes from another namespace, and the replaced fields contain members that a review
        // does not read.
        let text = later.to_string();
        let mut elsewhere: Value =
            serde_json::from_str(&text.replace("\"team-a\"", "\"elsewhere\"")).expect("JSON");
        elsewhere["spec"]["securityContext"]["fsGroup"] = json!(2000);
        assert_eq!(case.review(&elsewhere).pod, case.mutated_as_a_whole(&elsewhere), "{}", case.name());
    }
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
fn injection_preserves_all_other_fields() {
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
fn pod_with_any_field_of_wrong_type_is_allowed() {
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
    // A review of an object that is not a pod fails earlier: `admission` has the test.
    assert_eq!(missing, [Skip::NoContainers.label()]);
}

#[test]
fn every_reason_is_explained_to_users() {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/troubleshooting.md");
    let page = fs::read_to_string(page).expect("a page");
    for skip in Skip::ALL {
        assert!(
            page.contains(&format!("`{}`", skip.label())),
            "docs/troubleshooting.md does not explain {}",
            skip.label()
        );
    }
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

/// The JSON pointers of all values below the root of `value`.
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

/// Asserts that `whole` contains `part`: its members, and the elements of its arrays in order.
fn assert_contains(whole: &Value, part: &Value, place: &str) {
    match (whole, part) {
        // Absent and null are the same for the API server.
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
