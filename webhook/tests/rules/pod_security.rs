//! The controls of Pod Security "baseline" and "restricted" for Linux, at their latest version
//! (`kubernetes/staging/src/k8s.io/pod-security-admission/policy`).

use serde_json::{Value, json};

/// Capabilities that "restricted" lets a container add.
const ADDABLE: [&str; 1] = ["NET_BIND_SERVICE"];

/// Sysctls that "baseline" allows (`check_sysctls.go`).
const SYSCTLS: [&str; 11] = [
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ping_group_range",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_syncookies",
];

/// Volumes that "restricted" allows.
const VOLUMES: [&str; 9] = [
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "image",
    "persistentVolumeClaim",
    "projected",
    "secret",
];

const SELINUX_TYPES: [&str; 5] =
    ["", "container_t", "container_init_t", "container_kvm_t", "container_engine_t"];

/// Every violation in the pod: the container, and the control.
pub(crate) fn violations(pod: &Value) -> Vec<String> {
    let spec = &pod["spec"];
    let mut found = Vec::new();
    of_pod(spec, &mut |control| found.push(format!("pod: {control}")));
    for kind in ["initContainers", "containers", "ephemeralContainers"] {
        for container in spec[kind].as_array().into_iter().flatten() {
            let name = container["name"].as_str().unwrap_or_default();
            of_container(spec, container, &mut |control| found.push(format!("{name}: {control}")));
        }
    }
    found
}

fn of_pod(spec: &Value, violates: &mut impl FnMut(&'static str)) {
    if ["hostNetwork", "hostPID", "hostIPC"].iter().any(|key| spec[key] == true) {
        violates("host namespaces");
    }
    for volume in spec["volumes"].as_array().into_iter().flatten() {
        let members = volume.as_object().into_iter().flatten();
        if members.map(|(key, _)| key).any(|key| key != "name" && !VOLUMES.contains(&key.as_str())) {
            violates("volume types");
        }
    }
    for sysctl in spec["securityContext"]["sysctls"].as_array().into_iter().flatten() {
        let name = sysctl["name"].as_str().unwrap_or_default().replace('/', ".");
        if !SYSCTLS.contains(&name.as_str()) {
            violates("sysctls");
        }
    }
    of_either(&spec["securityContext"], violates);
}

fn of_container(spec: &Value, container: &Value, violates: &mut impl FnMut(&'static str)) {
    let (own, pods) = (&container["securityContext"], &spec["securityContext"]);
    // Values that the container does not set come from the pod.
    let effective = |key: &str| if own[key].is_null() { pods[key].clone() } else { own[key].clone() };
    of_either(own, violates);
    if own["privileged"] == true {
        violates("privileged");
    }
    if own["allowPrivilegeEscalation"] != false {
        violates("privilege escalation");
    }
    let list = |key: &str| own["capabilities"][key].as_array().cloned().unwrap_or_default();
    let is_addable = |name: &Value| name.as_str().is_some_and(|name| ADDABLE.contains(&name));
    if !list("drop").contains(&json!("ALL")) || !list("add").iter().all(is_addable) {
        violates("capabilities");
    }
    if effective("runAsNonRoot") != true {
        violates("running as non-root");
    }
    if !matches!(effective("seccompProfile")["type"].as_str(), Some("RuntimeDefault" | "Localhost")) {
        violates("seccomp");
    }
    if !matches!(own["procMount"].as_str(), None | Some("Default")) {
        violates("proc mount");
    }
    let ports = container["ports"].as_array().into_iter().flatten();
    if ports.into_iter().any(|port| port["hostPort"].as_u64().is_some_and(|port| port != 0)) {
        violates("host ports");
    }
    if handlers(container).any(|handler| {
        ["httpGet", "tcpSocket"]
            .iter()
            .any(|kind| handler[kind]["host"].as_str().is_some_and(|host| !host.is_empty()))
    }) {
        violates("probe hosts");
    }
}

/// Rules for fields that pods and containers have in common.
fn of_either(context: &Value, violates: &mut impl FnMut(&'static str)) {
    if context["runAsUser"] == 0 {
        violates("running as non-root user");
    }
    if context["seccompProfile"]["type"] == "Unconfined" {
        violates("seccomp");
    }
    if context["appArmorProfile"]["type"] == "Unconfined" {
        violates("AppArmor");
    }
    let selinux = &context["seLinuxOptions"];
    let is_set = |key: &str| selinux[key].as_str().is_some_and(|text| !text.is_empty());
    if is_set("user")
        || is_set("role")
        || !SELINUX_TYPES.contains(&selinux["type"].as_str().unwrap_or_default())
    {
        violates("SELinux");
    }
}

fn handlers(container: &Value) -> impl Iterator<Item = &Value> {
    let probes = ["livenessProbe", "readinessProbe", "startupProbe"].map(|key| &container[key]);
    let hooks = ["postStart", "preStop"].map(|key| &container["lifecycle"][key]);
    probes.into_iter().chain(hooks)
}
