//! Pods whose programs run others in a network namespace of their own, with a copy of the pod's `resolv.conf`. Pure.
//!
//! In that namespace 127.0.0.1 is another loopback, where no proxy listens: Docker leaves such an address out and asks 8.8.8.8,
//! BuildKit does the same, and a virtual machine of KubeVirt gets it by DHCP.

use serde_json::Value;

/// What the person who creates such a pod has to know.
pub const WARNING: &str = "it seems to run containers or a virtual machine in a network of their own (Docker in Docker, \
                           BuildKit, KubeVirt), whose copy of resolv.conf leads to no proxy: give those a DNS server, or opt \
                           the pod out (docs/limits.md)";

/// Parts of the names and tags of images that hold such a program: `docker:27-dind`, `moby/buildkit`, `kindest/node`,
/// `quay.io/podman/stable`, `rancher/k3s`.
const IMAGES: [&str; 7] = ["dind", "buildkit", "kindest/node", "virt-launcher", "podman", "buildah", "k3s"];

/// Such programs, where they are the command.
const PROGRAMS: [&str; 4] = ["dockerd", "dockerd-entrypoint.sh", "buildkitd", "podman"];

/// Whether a pod seems to be one. It is a guess from names, so it only warns.
///
/// | the pod | |
/// |---|---|
/// | label `kubevirt.io: virt-launcher` | yes |
/// | a container with an image of such a program | yes, unless it is not privileged and has a command of its own |
/// | a container whose command is such a program | yes |
pub fn is_likely(pod: &Value) -> bool {
    let spec = &pod["spec"];
    let lists = ["initContainers", "containers"].map(|list| spec[list].as_array().into_iter().flatten());
    pod["metadata"]["labels"]["kubevirt.io"] == "virt-launcher"
        || lists.into_iter().flatten().any(runs_others)
}

fn runs_others(container: &Value) -> bool {
    let words = ["command", "args"].map(|key| container[key].as_array().into_iter().flatten());
    let mut words = words.into_iter().flatten().filter_map(Value::as_str);
    let program = words.next().map(|word| word.rsplit('/').next().unwrap_or(word));
    if program.is_some_and(|program| PROGRAMS.contains(&program)) {
        return true;
    }
    let has_command = container["command"].as_array().is_some_and(|command| !command.is_empty());
    let is_privileged = container["securityContext"]["privileged"] == true;
    let image = container["image"].as_str().unwrap_or_default();
    (is_privileged || !has_command) && IMAGES.iter().any(|part| image.contains(part))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn programs_that_run_others_are_known_by_their_usual_names() {
        let of =
            |container: &Value| is_likely(&json!({"spec": {"containers": [{"image": "app:1"}, container]}}));
        for container in [
            json!({"image": "docker:27-dind", "securityContext": {"privileged": true}}),
            json!({"image": "docker:27", "args": ["dockerd", "--host", "tcp://0.0.0.0"]}),
            json!({"image": "registry.example/moby/buildkit@sha256:0"}),
            json!({"image": "tools:1", "command": ["/usr/bin/buildkitd"]}),
            json!({"image": "kindest/node:v1.34.0"}),
        ] {
            assert!(of(&container), "{container}");
        }
        for container in [
            json!({"image": "docker:27-cli", "command": ["docker", "build", "."]}),
            json!({"image": "moby/buildkit", "command": ["buildctl", "build"]}),
            json!({"image": "gcr.io/kaniko-project/executor"}),
            json!({"command": [7]}),
            json!(null),
        ] {
            assert!(!of(&container), "{container}");
        }
        assert!(is_likely(&json!({"metadata": {"labels": {"kubevirt.io": "virt-launcher"}}})));
    }
}
