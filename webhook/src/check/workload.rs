//! Workloads, and the numbers of their pods. Pure.

use serde_json::Value;

/// The identity of a workload.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Workload {
    /// Its namespace.
    pub(crate) namespace: String,
    /// Its kind, for example `Deployment`; `Pod` for a pod without a controller.
    pub(crate) kind: String,
    /// Its name, followed by the name of the pod template if it has several.
    pub(crate) name: String,
}

/// The number of pods of a workload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pods {
    /// A known number.
    Count(u64),
    /// One on every node; the number of nodes is unknown.
    OneEachNode,
}

/// The number of workloads and of their pods.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Count {
    /// The workloads.
    pub(crate) workloads: u64,
    /// The pods of workloads with a known number of pods.
    pub(crate) pods: u64,
    /// The number of workloads with one pod on each node.
    pub(crate) on_each_node: u64,
}

impl Count {
    /// Adds one workload.
    #[must_use]
    pub(crate) fn and(self, pods: Pods) -> Self {
        let (counted, on_each_node) = match pods {
            Pods::Count(count) => (count, 0),
            Pods::OneEachNode => (0, 1),
        };
        Self {
            workloads: self.workloads + 1,
            pods: self.pods.saturating_add(counted),
            on_each_node: self.on_each_node + on_each_node,
        }
    }

    /// The known minimum of the number of pods.
    pub(crate) fn at_least(self) -> u64 {
        self.pods.saturating_add(self.on_each_node)
    }
}

impl Pods {
    /// The known minimum.
    pub(crate) fn at_least(self) -> u64 {
        match self {
            Self::Count(count) => count,
            Self::OneEachNode => 1,
        }
    }

    /// The pods of both.
    #[must_use]
    pub(crate) fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Count(one), Self::Count(other)) => Self::Count(one.saturating_add(other)),
            _ => Self::OneEachNode,
        }
    }
}

/// The workload of a running pod: its controller, or the owner of an intermediate controller.
///
/// | the controller | the workload |
/// |---|---|
/// | none | the pod |
/// | ReplicaSet `web-<pod-template-hash>` | Deployment `web` (`getReplicaSetName` of the Deployment controller) |
/// | Job `dump-<minutes since 1970>` | CronJob `dump` (`getJobName` of the CronJob controller) |
/// | anything else | the controller |
pub(crate) fn workload_of(metadata: &Value) -> Workload {
    let text = |value: &Value| value.as_str().unwrap_or("?").to_owned();
    let namespace = text(&metadata["namespace"]);
    let mut references = metadata["ownerReferences"].as_array().into_iter().flatten();
    let Some(controller) = references.find(|reference| reference["controller"] == true) else {
        return Workload { namespace, kind: "Pod".to_owned(), name: text(&metadata["name"]) };
    };
    let (kind, name) = (text(&controller["kind"]), text(&controller["name"]));
    let above = match kind.as_str() {
        "ReplicaSet" => metadata["labels"]["pod-template-hash"]
            .as_str()
            .and_then(|hash| name.strip_suffix(hash)?.strip_suffix('-'))
            .map(|name| ("Deployment", name)),
        "Job" => name
            .rsplit_once('-')
            .filter(|(_, minutes)| is_minutes(minutes))
            .map(|(name, _)| ("CronJob", name)),
        _ => None,
    };
    match above {
        Some((kind, name)) => Workload { namespace, kind: kind.to_owned(), name: name.to_owned() },
        None => Workload { namespace, kind, name },
    }
}

/// Whether `text` is a time of these decades in minutes since 1970; a date such as 20260131 is not.
fn is_minutes(text: &str) -> bool {
    text.len() == 8 && text.parse::<u32>().is_ok_and(|minutes| (26_000_000..48_000_000).contains(&minutes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn pod_is_assigned_to_the_owner_of_its_controller() {
        for (kind, controller, expected) in [
            ("ReplicaSet", "web-7d9f", "Deployment/web"),
            ("ReplicaSet", "web-other", "ReplicaSet/web-other"),
            ("ReplicaSet", "7d9f", "ReplicaSet/7d9f"),
            ("Job", "dump-29384710", "CronJob/dump"),
            ("Job", "dump-20260131", "Job/dump-20260131"),
            ("Job", "train", "Job/train"),
            ("StatefulSet", "db", "StatefulSet/db"),
        ] {
            let metadata = json!({
                "namespace": "a", "name": "p", "labels": {"pod-template-hash": "7d9f"},
                "ownerReferences": [{"kind": "Other", "name": "x"}, {"kind": kind, "name": controller, "controller": true}],
            });
            let workload = workload_of(&metadata);
            assert_eq!(format!("{}/{}", workload.kind, workload.name), expected);
        }
        let alone = workload_of(&json!({"namespace": "a", "name": "p", "ownerReferences": []}));
        assert_eq!((alone.kind.as_str(), alone.name.as_str()), ("Pod", "p"));
    }
}
