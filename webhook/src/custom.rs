//! Custom kinds that create pods, and the places of their pod templates, if known. Pure.

use serde_json::Value;

/// How a custom kind defines its pods.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known {
    /// Pod templates at these JSON pointers, in which `*` matches every member or item.
    Templates(&'static [&'static str]),
    /// Its operator creates the pods without a pod template, or rejects a template with `dnsConfig`; with the
    /// reason.
    NoTemplate(&'static str),
}

/// The kinds, by group: the paths are the same in all versions.
const KINDS: &[(&str, &str, Known)] = &[
    ("kubeflow.org", "MPIJob", Known::Templates(&["/spec/mpiReplicaSpecs/*/template"])),
    ("kubeflow.org", "PyTorchJob", Known::Templates(&["/spec/pytorchReplicaSpecs/*/template"])),
    ("kubeflow.org", "TFJob", Known::Templates(&["/spec/tfReplicaSpecs/*/template"])),
    ("kubeflow.org", "XGBoostJob", Known::Templates(&["/spec/xgbReplicaSpecs/*/template"])),
    ("kubeflow.org", "PaddleJob", Known::Templates(&["/spec/paddleReplicaSpecs/*/template"])),
    ("kubeflow.org", "JAXJob", Known::Templates(&["/spec/jaxReplicaSpecs/*/template"])),
    ("jobset.x-k8s.io", "JobSet", Known::Templates(&["/spec/replicatedJobs/*/template/spec/template"])),
    (
        "leaderworkerset.x-k8s.io",
        "LeaderWorkerSet",
        Known::Templates(&[
            "/spec/leaderWorkerTemplate/leaderTemplate",
            "/spec/leaderWorkerTemplate/workerTemplate",
        ]),
    ),
    (
        "ray.io",
        "RayCluster",
        Known::Templates(&["/spec/headGroupSpec/template", "/spec/workerGroupSpecs/*/template"]),
    ),
    (
        "ray.io",
        "RayJob",
        Known::Templates(&[
            "/spec/rayClusterSpec/headGroupSpec/template",
            "/spec/rayClusterSpec/workerGroupSpecs/*/template",
            "/spec/submitterPodTemplate",
        ]),
    ),
    (
        "ray.io",
        "RayService",
        Known::Templates(&[
            "/spec/rayClusterConfig/headGroupSpec/template",
            "/spec/rayClusterConfig/workerGroupSpecs/*/template",
        ]),
    ),
    ("batch.volcano.sh", "Job", Known::Templates(&["/spec/tasks/*/template"])),
    ("argoproj.io", "Rollout", Known::Templates(&["/spec/template"])),
    ("argoproj.io", "Workflow", WORKFLOW),
    ("argoproj.io", "CronWorkflow", WORKFLOW),
    ("argoproj.io", "WorkflowTemplate", WORKFLOW),
    ("argoproj.io", "ClusterWorkflowTemplate", WORKFLOW),
    ("sparkoperator.k8s.io", "SparkApplication", SPARK),
    ("sparkoperator.k8s.io", "ScheduledSparkApplication", SPARK),
    ("serving.knative.dev", "Service", KNATIVE),
    ("serving.knative.dev", "Configuration", KNATIVE),
];

const WORKFLOW: Known = Known::NoTemplate("its steps are not pod templates");
const SPARK: Known = Known::NoTemplate("its driver and executor are not pod templates");
const KNATIVE: Known =
    Known::NoTemplate("Knative rejects dnsPolicy in its template unless a feature flag allows it");

/// The known definition of a kind; `None` if it is unknown.
pub fn known(version: &str, kind: &str) -> Option<Known> {
    let (group, _) = version.split_once('/')?;
    KINDS.iter().find(|known| (known.0, known.1) == (group, kind)).map(|known| known.2)
}

/// The JSON pointers to the existing pod templates of an object.
pub fn pointers(object: &Value, patterns: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for pattern in patterns {
        let parts: Vec<_> = pattern.split('/').skip(1).collect();
        expand(object, &parts, String::new(), &mut found);
    }
    found
}

/// Whether an object contains containers anywhere: then it seems to create pods.
pub fn has_containers(value: &Value) -> bool {
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

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn templates_are_found_where_they_are_and_nowhere_else() {
        let replicas =
            json!({"Master": {"template": {}}, "a/b": {"template": {}}, "Worker": {"template": "text"}});
        let job = json!({"spec": {"pytorchReplicaSpecs": replicas, "template": {}}});
        let Some(Known::Templates(patterns)) = known("kubeflow.org/v1", "PyTorchJob") else {
            panic!("it is known")
        };
        let expected =
            ["/spec/pytorchReplicaSpecs/Master/template", "/spec/pytorchReplicaSpecs/a~1b/template"];
        assert_eq!(pointers(&job, patterns), expected);
        assert!(expected.iter().all(|path| job.pointer(path).is_some()));
        let ray =
            json!({"spec": {"headGroupSpec": {"template": {}}, "workerGroupSpecs": [{"template": {}}, 3]}});
        let Some(Known::Templates(patterns)) = known("ray.io/v1", "RayCluster") else {
            panic!("it is known")
        };
        let expected = ["/spec/headGroupSpec/template", "/spec/workerGroupSpecs/0/template"];
        assert_eq!(pointers(&ray, patterns), expected);
        assert_eq!(pointers(&json!("text"), patterns), [""; 0]);
    }

    #[test]
    fn kinds_are_matched_with_their_group() {
        assert_eq!(known("x/v1", "PyTorchJob"), None);
        assert_eq!(known("v1", "Service"), None);
        assert!(matches!(known("serving.knative.dev/v1", "Service"), Some(Known::NoTemplate(_))));
    }
}
