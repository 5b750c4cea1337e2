//! A Job manifest -> the pods that the Job controller creates for it.

use serde_json::{Map, Value, json};

use crate::failure::{Failure, WithContext};

/// The default Job, from this repository.
pub const DEFAULT_MANIFEST: &str = include_str!("../../manifests/gang-job.yaml");

/// The uid of the Job, which a real API server would assign.
const UID: &str = "6a6f6221-0000-4000-8000-000000000001";

/// A Job, read from its manifest.
#[derive(Debug, Clone)]
pub struct Job {
    manifest: Value,
}

impl Job {
    /// Parses a manifest in YAML or JSON.
    pub fn read(yaml: &str) -> Result<Self, Failure> {
        let manifest: Value = serde_saphyr::from_str(yaml).with_context("reading the Job")?;
        if manifest["kind"] != "Job" || manifest["apiVersion"] != "batch/v1" {
            let kind = format!("{} {}", manifest["apiVersion"], manifest["kind"]);
            return Err(Failure::new(format!("expected one document of kind Job, batch/v1; got {kind}")));
        }
        if manifest["spec"]["template"]["spec"]["containers"].as_array().is_none_or(Vec::is_empty) {
            return Err(Failure::new("the Job's template has no containers"));
        }
        Ok(Self { manifest })
    }

    /// The Job's name.
    pub fn name(&self) -> &str {
        self.manifest["metadata"]["name"].as_str().unwrap_or("job")
    }

    /// The namespace of the Job.
    pub fn namespace(&self) -> &str {
        self.manifest["metadata"]["namespace"].as_str().unwrap_or("default")
    }

    /// The number of pods that run at the same time.
    pub fn parallelism(&self) -> usize {
        let parallelism = self.manifest["spec"]["parallelism"].as_u64().unwrap_or(1);
        usize::try_from(parallelism).unwrap_or(usize::MAX)
    }

    /// The name of the first application container, whose output counts as that of the pod.
    pub fn application(&self) -> &str {
        self.manifest["spec"]["template"]["spec"]["containers"][0]["name"].as_str().unwrap_or_default()
    }

    /// The same Job with an application that looks up these names; those of the second list must not exist.
    #[must_use]
    pub fn looking_up(mut self, names: &[String], missing: &[String]) -> Self {
        let words = ["lookup"].into_iter().chain(names.iter().map(String::as_str));
        let missing = missing.iter().flat_map(|name| ["--expect-missing", name]);
        self.manifest["spec"]["template"]["spec"]["containers"][0]["command"] =
            words.chain(missing).collect();
        self
    }

    /// The pod of one index, as it is sent to the API server.
    ///
    /// Follows pkg/controller/job (`getNewPod`, `addCompletionIndexAnnotation`, `podGenerateNameWithIndex`)
    /// and `GetPodFromTemplate` of pkg/controller, without the variable with the index.
    pub fn pod(&self, index: usize) -> Value {
        let name = self.name();
        let template = &self.manifest["spec"]["template"];
        let mut labels = object(&template["metadata"]["labels"]);
        for (key, value) in [("controller-uid", UID), ("job-name", name)] {
            labels.insert(format!("batch.kubernetes.io/{key}"), json!(value));
        }
        let mut annotations = object(&template["metadata"]["annotations"]);
        let mut spec = template["spec"].clone();
        let mut generate_name = format!("{name}-");
        if self.manifest["spec"]["completionMode"] == "Indexed" {
            let key = "batch.kubernetes.io/job-completion-index";
            labels.insert(key.to_owned(), json!(index.to_string()));
            annotations.insert(key.to_owned(), json!(index.to_string()));
            generate_name = format!("{name}-{index}-");
            spec["hostname"] = json!(format!("{name}-{index}"));
        }
        json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "generateName": generate_name,
                "namespace": self.namespace(),
                "labels": labels,
                "annotations": annotations,
                "finalizers": ["batch.kubernetes.io/job-tracking"],
                "ownerReferences": [{
                    "apiVersion": "batch/v1", "kind": "Job", "name": name, "uid": UID,
                    "controller": true, "blockOwnerDeletion": true,
                }],
            },
            "spec": spec,
        })
    }
}

fn object(value: &Value) -> Map<String, Value> {
    value.as_object().cloned().unwrap_or_default()
}
