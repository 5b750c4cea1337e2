//! Detects pods that run containers or virtual machines in a nested network namespace, with a copy of the
//! pod's `resolv.conf`. Pure.
//!
//! In that namespace 127.0.0.1 is another loopback, on which no sidecar listens: Docker removes such an
//! address and uses 8.8.8.8, BuildKit does the same, and a virtual machine of KubeVirt gets the address by
//! DHCP.

use serde_json::Value;

/// The warning for the author of such a pod.
pub(crate) const WARNING: &str = "it seems to run containers or a virtual machine in a network of their own (Docker in Docker, \
 BuildKit, KubeVirt), where the sidecar is not reachable: configure another DNS server there, or \
 opt the pod out (docs/limits.md)";

/// Parts of the names and tags of images that contain such a runtime: `docker:27-dind`, `moby/buildkit`,
/// `kindest/node`, `quay.io/podman/stable`, `rancher/k3s`.
const IMAGES: [&str; 7] = ["dind", "buildkit", "kindest/node", "virt-launcher", "podman", "buildah", "k3s"];

/// The label of the pods that run virtual machines.
pub(crate) const KUBEVIRT_LABEL: &str = "kubevirt.io";

/// Whether a pod seems to run a nested runtime. This is a guess from names, so it only causes a warning.
///
/// | the pod | |
/// |---|---|
/// | label `kubevirt.io: virt-launcher` | yes |
/// | a container with such an image that is privileged, or whose image is `rootless` | yes |
pub(crate) fn is_likely(pod: &Value) -> bool {
    let spec = &pod["spec"];
    let lists = ["initContainers", "containers"].map(|list| spec[list].as_array().into_iter().flatten());
    pod["metadata"]["labels"][KUBEVIRT_LABEL] == "virt-launcher"
        || lists.into_iter().flatten().any(is_nested_runtime)
}

fn is_nested_runtime(container: &Value) -> bool {
    let image = container["image"].as_str().unwrap_or_default();
    let has_right = container["securityContext"]["privileged"] == true || image.contains("rootless");
    has_right && IMAGES.iter().any(|part| image.contains(part))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn nested_runtimes_are_detected_by_image_name() {
        for (image, is_privileged, expected) in [
            ("docker:27-dind", true, true),
            ("docker:27-dind-rootless", false, true),
            ("registry.example/moby/buildkit@sha256:0", true, true),
            ("moby/buildkit:v0.20-rootless", false, true),
            ("kindest/node:v1.34.0", true, true),
            ("docker:27-cli", false, false),
            ("moby/buildkit", false, false),
            ("gcr.io/kaniko-project/executor", false, false),
            ("app:rootless", true, false),
        ] {
            let container = json!({"image": image, "securityContext": {"privileged": is_privileged}});
            let pod = json!({"spec": {"containers": [{"image": "app:1"}, container]}});
            assert_eq!(is_likely(&pod), expected, "{image}");
        }
        assert!(!is_likely(&json!({"spec": {"containers": [null, {"image": 7}]}})));
        assert!(is_likely(&json!({"metadata": {"labels": {KUBEVIRT_LABEL: "virt-launcher"}}})));
    }
}
