//! Kinds that create pods, those of Kubernetes and custom ones, and the places of their pod templates. Pure.

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
    /// Pod templates at these JSON pointers, in which `*` matches every member or item.
    Templates(&'static [&'static str]),
    /// Its operator creates the pods without a pod template, or rejects a template with `dnsConfig`; with the
    /// reason.
    NoTemplate(&'static str),
}

/// The kinds, by group: the paths are the same in all versions.
const KINDS: &[(&str, &str, PodSource)] = &[
    ("kubeflow.org", "MPIJob", PodSource::Templates(&["/spec/mpiReplicaSpecs/*/template"])),
    ("kubeflow.org", "PyTorchJob", PodSource::Templates(&["/spec/pytorchReplicaSpecs/*/template"])),
    ("kubeflow.org", "TFJob", PodSource::Templates(&["/spec/tfReplicaSpecs/*/template"])),
    ("kubeflow.org", "XGBoostJob", PodSource::Templates(&["/spec/xgbReplicaSpecs/*/template"])),
    ("kubeflow.org", "PaddleJob", PodSource::Templates(&["/spec/paddleReplicaSpecs/*/template"])),
    ("kubeflow.org", "JAXJob", PodSource::Templates(&["/spec/jaxReplicaSpecs/*/template"])),
    ("jobset.x-k8s.io", "JobSet", PodSource::Templates(&["/spec/replicatedJobs/*/template/spec/template"])),
    (
        "leaderworkerset.x-k8s.io",
        "LeaderWorkerSet",
        PodSource::Templates(&[
            "/spec/leaderWorkerTemplate/leaderTemplate",
            "/spec/leaderWorkerTemplate/workerTemplate",
        ]),
    ),
    (
        "ray.io",
        "RayCluster",
        PodSource::Templates(&["/spec/headGroupSpec/template", "/spec/workerGroupSpecs/*/template"]),
    ),
    (
        "ray.io",
        "RayJob",
        PodSource::Templates(&[
            "/spec/rayClusterSpec/headGroupSpec/template",
            "/spec/rayClusterSpec/workerGroupSpecs/*/template",
            "/spec/submitterPodTemplate",
        ]),
    ),
    (
        "ray.io",
        "RayService",
        PodSource::Templates(&[
            "/spec/rayClusterConfig/headGroupSpec/template",
            "/spec/rayClusterConfig/workerGroupSpecs/*/template",
        ]),
    ),
    ("batch.volcano.sh", "Job", PodSource::Templates(&["/spec/tasks/*/template"])),
    ("argoproj.io", "Rollout", PodSource::Templates(&["/spec/template"])),
    ("argoproj.io", "Workflow", WORKFLOW),
    ("argoproj.io", "CronWorkflow", WORKFLOW),
    ("argoproj.io", "WorkflowTemplate", WORKFLOW),
    ("argoproj.io", "ClusterWorkflowTemplate", WORKFLOW),
    ("sparkoperator.k8s.io", "SparkApplication", SPARK),
    ("sparkoperator.k8s.io", "ScheduledSparkApplication", SPARK),
    ("serving.knative.dev", "Service", KNATIVE),
    ("serving.knative.dev", "Configuration", KNATIVE),
];

const WORKFLOW: PodSource = PodSource::NoTemplate("its steps are not pod templates");
const SPARK: PodSource = PodSource::NoTemplate("its driver and executor are not pod templates");
const KNATIVE: PodSource =
    PodSource::NoTemplate("Knative rejects dnsPolicy in its template unless a feature flag allows it");

/// The known definition of a kind; `None` if it is unknown.
pub(crate) fn pod_source(version: &str, kind: &str) -> Option<PodSource> {
    let (group, _) = version.split_once('/')?;
    KINDS.iter().find(|known| (known.0, known.1) == (group, kind)).map(|known| known.2)
}

/// The JSON pointers to the existing pod templates of an object.
pub(crate) fn pointers(object: &Value, patterns: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for pattern in patterns {
        let parts: Vec<_> = pattern.split('/').skip(1).collect();
        expand(object, &parts, String::new(), &mut found);
    }
    found
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

fn expand(value: &Value, parts: &[&str], path: String, found: &mut Vec<String>) {
    let Some((part, rest)) = parts.split_first() else {
        found.extend(value.is_object().then_some(path));
        return;
    };
    let mut follow = |key: &str, member: &Value| {
        let key = key.replace('~', "~0").replace('/', "~1");
        expand(member, rest, format!("{path}/{key}"), found);
    };
    match value {
        Value::Object(members) if *part == "*" => {
            members.iter().for_each(|(key, member)| follow(key, member));
        }
        Value::Array(items) if *part == "*" => {
            items.iter().enumerate().for_each(|(index, item)| follow(&index.to_string(), item));
        }
        Value::Object(members) => {
            if let Some(member) = members.get(*part) {
                follow(part, member);
            }
        }
        _ => {}
    }
}
