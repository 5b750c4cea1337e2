//! `podlocal-webhook inject` for the workloads of well-known charts: it changes only the expected fields.

mod common;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use common::program;
use podlocal_settings::names::{CONTAINER_NAME, PORT_SYSCTL, STATUS_ANNOTATION};
use podlocal_webhook::documents::yaml;
use serde_json::{Value, json};

/// For every file, the expected remarks about its pods, in order.
const EXPECTED: [(&str, &[&str]); 3] = [
    (
        "continuous-delivery.yaml",
        &[
            "StatefulSet delivery/controller: injected",
            "Deployment delivery/repository-server: injected",
            "Deployment delivery/own-dns: not injected: a container of the pod declares port 53, on which the \
             sidecar listens (dns_port_taken)",
            "CronJob delivery/backup: injected",
        ],
    ),
    (
        "ingress-controller.yaml",
        &[
            "Deployment ingress/ingress-controller: injected",
            "Job ingress/ingress-admission-create: injected",
        ],
    ),
    (
        "monitoring.yaml",
        &[
            "DaemonSet monitoring/node-exporter: not injected: it uses the network of the node, where port 53 may \
             be in use and other pods could reach the sidecar (host_network)",
            "Deployment monitoring/state-metrics: injected",
            "Deployment monitoring/dashboards: injected",
            "Prometheus monitoring/k8s: not injected by this command: the place of the pod template in this kind is \
             unknown; the webhook injects its pods",
        ],
    ),
];

#[test]
fn every_workload_is_injected_or_not_for_the_reason_that_is_expected() {
    for (name, expected) in EXPECTED {
        let (_, remarks) = inject(&charts().join(name));
        let said: Vec<_> =
            remarks.lines().map(|line| line.rsplit_once(": document").expect("a place").1).collect();
        // The number of the document, and of its item in a List, come before it.
        let said: Vec<_> = said.iter().map(|line| line.split_once(": ").expect("a place").1).collect();
        assert_eq!(said, expected, "{name}");
    }
}

#[test]
fn injection_changes_only_expected_fields() {
    for (name, expected) in EXPECTED {
        let file = charts().join(name);
        let text = std::fs::read_to_string(&file).expect("reads");
        let (printed, _) = inject(&file);
        let (before, after) = (objects(&text), objects(&printed));
        assert_eq!(before.len(), after.len(), "{name}");
        let mut injected = 0;
        for (before, after) in before.iter().zip(&after) {
            let mut changes = BTreeMap::new();
            differences(before, after, String::new(), &mut changes);
            injected += usize::from(!changes.is_empty());
            for (place, added) in changes {
                assert!(
                    is_expected(&place, &added),
                    "{name}: {} {place}: {added}",
                    before["metadata"]["name"]
                );
            }
        }
        assert_eq!(injected, expected.iter().filter(|said| said.ends_with(": injected")).count(), "{name}");
    }
}

#[test]
fn objects_that_are_not_injected_keep_every_byte() {
    let (printed, _) = inject(&charts().join("ingress-controller.yaml"));
    for kept in [
        "  namespace: ingress   # one comment that stays\n",
        "  proxy-body-size: '8m'\n",
        "# The controller.\n",
    ] {
        assert!(printed.contains(kept), "{kept} is not in\n{printed}");
    }
}

#[test]
fn a_second_run_changes_nothing() {
    for (name, _) in EXPECTED {
        let (printed, _) = inject(&charts().join(name));
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join(name);
        std::fs::write(&file, &printed).expect("writes");
        assert_eq!(inject(&file).0, printed, "{name}");
    }
}

#[test]
fn every_chart_is_used() {
    let mut files: Vec<_> = std::fs::read_dir(charts())
        .expect("the folder")
        .map(|entry| entry.expect("an entry").file_name())
        .collect();
    files.sort();
    assert_eq!(files, EXPECTED.map(|(name, _)| name));
}

/// Whether an injection may make this change at this path of an object.
fn is_expected(place: &str, added: &Value) -> bool {
    let Some((_, place)) = place.split_once("/template/") else {
        return false;
    };
    match place {
        "spec/initContainers" => added[0]["name"] == CONTAINER_NAME,
        "spec/dnsPolicy" => added == "None",
        "spec/dnsConfig" => added["nameservers"] == json!(["127.0.0.1"]),
        "spec/securityContext/sysctls" => added[0]["name"] == PORT_SYSCTL,
        "spec/securityContext" => {
            added["sysctls"][0]["name"] == PORT_SYSCTL && added.as_object().is_some_and(|all| all.len() == 1)
        }
        "metadata/annotations" => added == &json!({STATUS_ANNOTATION: "injected"}),
        _ => place == format!("metadata/annotations/{STATUS_ANNOTATION}") && added == "injected",
    }
}

/// The paths where `after` differs, with the new value; removed members are null. The sidecar in front of
/// other containers, and a `dnsConfig`, are one difference each.
fn differences(before: &Value, after: &Value, place: String, found: &mut BTreeMap<String, Value>) {
    match (before, after) {
        (Value::Object(one), Value::Object(other)) if !place.ends_with("/dnsConfig") => {
            for key in one.keys().chain(other.keys()) {
                differences(&before[key], &after[key], format!("{place}/{key}"), found);
            }
        }
        (Value::Array(one), Value::Array(other)) if other.ends_with(one) && one != other => {
            found.insert(place, Value::from(&other[..other.len() - one.len()]));
        }
        _ if before != after => {
            found.insert(place, after.clone());
        }
        _ => {}
    }
}

/// All objects of a text, including the items of a List.
fn objects(text: &str) -> Vec<Value> {
    let documents = yaml::read(text).expect("reads");
    let items = |document: Value| match document["items"].as_array() {
        Some(items) => items.clone(),
        None => vec![document],
    };
    documents.into_iter().flat_map(items).collect()
}

/// The standard output and the standard error of the program.
fn inject(file: &Path) -> (String, String) {
    let output =
        program().args(["inject", "--cluster-dns", "10.96.0.10", "-f"]).arg(file).output().expect("runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    assert_eq!(output.status.code(), Some(0), "{}", text(output.stderr));
    (text(output.stdout), text(output.stderr))
}

fn charts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/charts")
}
