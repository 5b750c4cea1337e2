//! Kinds that create pods: those of Kubernetes, and custom ones that `inject` knows. Pure.

use serde_json::Value;

/// The JSON pointer to the pod template in a built-in kind of Kubernetes; `None` for other kinds.
pub(crate) fn pod_path(version: &str, kind: &str) -> Option<&'static str> {
    let group = version.split_once('/').map_or("", |(group, _)| group);
    match (group, kind) {
        ("", "Pod") => Some(""),
        ("", "PodTemplate") => Some("/template"),
        ("", "ReplicationController")
        | ("apps", "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet")
        | ("batch", "Job") => Some("/spec/template"),
        ("batch", "CronJob") => Some("/spec/jobTemplate/spec/template"),
        _ => None,
    }
}

/// How a custom kind defines its pods.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PodSource {
    /// Pod templates in the usual places ([`super::pod_templates`]).
    Templates,
    /// Its operator creates the pods without a pod template, or rejects a template with `dnsConfig`; with the
    /// reason.
    NoTemplate(&'static str),
}

/// The kinds, by group: the places are the same in all versions.
const KINDS: &[(&str, &[&str], PodSource)] = &[
    (
        "kubeflow.org",
        &["MPIJob", "PyTorchJob", "TFJob", "XGBoostJob", "PaddleJob", "JAXJob"],
        PodSource::Templates,
    ),
    ("jobset.x-k8s.io", &["JobSet"], PodSource::Templates),
    ("leaderworkerset.x-k8s.io", &["LeaderWorkerSet"], PodSource::Templates),
    ("ray.io", &["RayCluster", "RayJob", "RayService"], PodSource::Templates),
    ("batch.volcano.sh", &["Job"], PodSource::Templates),
    ("argoproj.io", &["Rollout"], PodSource::Templates),
    (
        "argoproj.io",
        &["Workflow", "CronWorkflow", "WorkflowTemplate", "ClusterWorkflowTemplate"],
        PodSource::NoTemplate("its steps are not pod templates"),
    ),
    (
        "sparkoperator.k8s.io",
        &["SparkApplication", "ScheduledSparkApplication"],
        PodSource::NoTemplate("its driver and executor are not pod templates"),
    ),
    (
        "serving.knative.dev",
        &["Service", "Configuration"],
        PodSource::NoTemplate("Knative rejects dnsPolicy in its template unless a feature flag allows it"),
    ),
];

/// The known definition of a kind; `None` if it is unknown.
pub(crate) fn pod_source(version: &str, kind: &str) -> Option<PodSource> {
    let (group, _) = version.split_once('/')?;
    let mut known = KINDS.iter().filter(|(of, kinds, _)| *of == group && kinds.contains(&kind));
    known.next().map(|(.., source)| *source)
}

/// Whether an object contains containers anywhere: then it seems to create pods.
pub(crate) fn has_containers(value: &Value) -> bool {
    match value {
        Value::Object(members) => {
            members.get("containers").is_some_and(Value::is_array) || members.values().any(has_containers)
        }
        Value::Array(items) => items.iter().any(has_containers),
        _ => false,
    }
}
