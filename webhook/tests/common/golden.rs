//! The golden pods: each folder of `tests/golden` is one pod that goes through a whole review.

#![allow(dead_code, reason = "each test program uses its part")]

use std::fs;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use podlocal_settings::Settings;
use podlocal_settings::read::{Given, read};
use podlocal_settings::table::{self, Setting};
use podlocal_settings::value::DomainName;
use podlocal_webhook::documents::yaml;
use podlocal_webhook::review::admission;
use podlocal_webhook::review::cluster_state::{Cluster, Tier, Version};
use podlocal_webhook::review::limits::Limits;
use podlocal_webhook::review::mutate::{Policy, mutate};
use podlocal_webhook::review::namespace::Namespace;
use podlocal_webhook::review::outcome::{Outcome, ReviewOutcome};
use serde_json::{Value, json};

pub(crate) const FILES: [&str; 4] = ["input.yaml", "setup.yaml", "answer.yaml", "expected.yaml"];

/// One golden pod.
pub(crate) struct Case {
    pub(crate) folder: PathBuf,
    /// The pod.
    pub(crate) input: Value,
    setup: Value,
}

/// The result of one review.
pub(crate) struct Answer {
    /// Decision, reason, warnings, operations.
    pub(crate) summary: Value,
    /// The pod after the patch.
    pub(crate) pod: Value,
}

/// Every golden pod.
pub(crate) fn cases() -> Vec<Case> {
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

    pub(crate) fn name(&self) -> String {
        self.folder.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    pub(crate) fn read(&self, file: &str) -> Option<Value> {
        let text = fs::read_to_string(self.folder.join(file)).ok()?;
        let mut documents =
            yaml::read(&text).unwrap_or_else(|error| panic!("{}/{file}: {error}", self.name()));
        assert_eq!(documents.len(), 1, "{}/{file}", self.name());
        documents.pop()
    }

    pub(crate) fn write(&self, file: &str, value: Option<&Value>) {
        let path = self.folder.join(file);
        match value {
            Some(value) => fs::write(path, written(value)).expect("writes"),
            None if path.exists() => fs::remove_file(path).expect("removes"),
            None => {}
        }
    }

    /// The pod after the same decision with all of its fields; a review reads only the fields that it needs.
    pub(crate) fn mutated_as_a_whole(&self, pod: &Value) -> Value {
        let name = self.setup["namespace"].as_str().unwrap_or("team-a").to_owned();
        let annotations = self.setup["namespace-annotations"].as_object().cloned().unwrap_or_default();
        let namespace = Namespace { name, annotations };
        mutate(pod, &namespace, &self.cluster(), &self.policy()).expect("a pod").pod
    }

    /// Sends the pod through a review and applies the patch, as the API server does.
    pub(crate) fn review(&self, pod: &Value) -> Answer {
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

        if reviewed.outcome == ReviewOutcome::Done(Outcome::Injected) {
            sidecar_settings(&patched, &self.name());
        }

        let (decision, reason) = reviewed.outcome.labels();
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
        let addresses = |key: &str, usual: &[&str]| {
            texts(key, usual).iter().map(|text| text.parse().expect("an address")).collect()
        };
        Cluster {
            dns: addresses("dns", &["10.96.0.10:53"]),
            domain: DomainName::parse(setup["domain"].as_str().unwrap_or("cluster.local")).expect("a domain"),
            extra_search: texts("extra-search", &[]),
            version: version.and_then(|(major, minor)| Version::parse(major, minor)),
            serves_impossible_names: setup["serves-impossible-names"] == true,
            admits_namespaces: setup["admits-namespaces"] != false,
            shared_tier: Tier {
                addresses: addresses(table::SHARED_TIER.name, &[]),
                serves_impossible_names: setup["tier-serves-impossible-names"].as_bool(),
            },
            limits: Limits::of(self.setup["limit-ranges"].as_array().into_iter().flatten()),
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

/// The settings with which the sidecar starts. Every variable must be valid: with an invalid one it exits
/// with 64.
pub(crate) fn sidecar_settings(pod: &Value, place: &str) -> Settings {
    let variables = pod.pointer("/spec/initContainers/0/env").and_then(Value::as_array);
    let variables = variables.unwrap_or_else(|| panic!("{place}: {}", written(pod)));
    let read = read(|setting| {
        let of_setting = variables.iter().filter(|variable| variable["name"] == setting.variable());
        let texts = of_setting.map(|variable| variable["value"].as_str().expect("a text").to_owned());
        texts.map(|text| Given { origin: setting.variable(), text }).collect()
    });
    assert_eq!((read.errors, read.accepted.len()), (Vec::new(), variables.len()), "{place}");
    assert!(read.accepted.iter().all(|(setting, _)| setting.is_for_sidecar()), "{place}");
    read.settings
}

/// A value as YAML.
pub(crate) fn written(value: &Value) -> String {
    yaml::write(value).expect("writes")
}
