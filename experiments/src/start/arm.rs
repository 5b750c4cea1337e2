//! The ways in which the pods are made.

use podlocal_harness::cluster::client::{Libc, SLEEP, container, pod};
use podlocal_settings::names::CONTAINER_NAME;
use serde::Serialize;
use serde_json::{Value, json};

/// How the pods are made. All of them run the same application, which sleeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Arm {
    /// One container.
    Plain,
    /// A native sidecar besides, which runs `sleep` from the same image: what any second container costs.
    EmptySidecar,
    /// Injected, with the sidecar's hook taken out again before the pod is created. The webhook does not see the pod.
    WithoutHook,
    /// Injected by the webhook.
    Injected,
}

impl Arm {
    /// The arms, in the order in which they are run and printed.
    pub const ALL: [Self; 4] = [Self::Plain, Self::EmptySidecar, Self::WithoutHook, Self::Injected];

    /// Its name in the table.
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain pod",
            Self::EmptySidecar => "empty second container",
            Self::WithoutHook => "injected, without hook",
            Self::Injected => "injected",
        }
    }

    /// The pod as its owner would create it for this node.
    pub(super) fn pod(self, node: &str) -> Value {
        let mut pod = pod("", Libc::Glibc, &SLEEP);
        pod["spec"]["nodeSelector"] = json!({ "kubernetes.io/hostname": node });
        if self == Self::EmptySidecar {
            let mut sidecar = container("empty", Libc::Glibc, &SLEEP);
            sidecar["restartPolicy"] = json!("Always");
            pod["spec"]["initContainers"] = json!([sidecar]);
        }
        // A dry run needs a name, and what it returns is created under others.
        pod["metadata"]["name"] = json!("pod");
        pod
    }
}

/// An injected pod without the hook of its sidecar, ready to be created again; `None` where there is no hook.
pub(super) fn without_hook(injected: &Value) -> Option<Value> {
    let mut spec = injected["spec"].clone();
    let sidecar =
        spec["initContainers"].as_array_mut()?.iter_mut().find(|it| it["name"] == CONTAINER_NAME)?;
    sidecar.as_object_mut()?.remove("lifecycle")?;
    let annotations = &injected["metadata"]["annotations"];
    Some(
        json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "annotations": annotations }, "spec": spec }),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hook_of_the_sidecar_alone_is_removed() {
        let hook = json!({ "postStart": { "exec": { "command": ["x"] } } });
        let injected = json!({ "metadata": { "name": "pod", "uid": "1", "annotations": { "a": "b" } }, "spec": {
            "initContainers": [{ "name": CONTAINER_NAME, "image": "i", "lifecycle": hook }],
            "containers": [{ "name": "client", "lifecycle": hook }],
        } });
        let pod = without_hook(&injected).unwrap();
        assert_eq!(pod["spec"]["initContainers"], json!([{ "name": CONTAINER_NAME, "image": "i" }]));
        assert_eq!(pod["spec"]["containers"], injected["spec"]["containers"]);
        assert_eq!(pod["metadata"], json!({ "annotations": { "a": "b" } }));
        assert_eq!(without_hook(&pod), None);
    }

    #[test]
    fn only_the_arm_with_an_empty_container_has_one() {
        let containers =
            Arm::ALL.map(|arm| arm.pod("node")["spec"]["initContainers"][0]["restartPolicy"].clone());
        assert_eq!(containers, [json!(null), json!("Always"), json!(null), json!(null)]);
    }
}
