//! An injected pod keeps its QoS class and its Pod Security level. The rules of Kubernetes are implemented
//! here a second time, so that an error in the webhook does not hide itself.

mod common;

use common::golden::cases;
use serde_json::{Value, json};

mod rules {
    pub(crate) mod pod_security;
    pub(crate) mod qos;
}

use rules::{pod_security, qos};

#[test]
fn an_injected_pod_keeps_its_qos_class_by_the_kubelets_rules() {
    let mut seen = std::collections::BTreeSet::new();
    for case in cases() {
        let before = qos::class(&case.input["spec"]);
        assert_eq!(qos::class(&case.review(&case.input).pod["spec"]), before, "{}", case.name());
        seen.insert(before);
    }
    assert_eq!(seen.len(), 3, "every class has a golden pod: {seen:?}");
}

#[test]
fn an_injected_pod_that_was_restricted_is_restricted() {
    let mut restricted = 0;
    for case in cases() {
        // The pod unchanged, and with everything that "restricted" requires of its containers.
        for input in [case.input.clone(), hardened(&case.input)] {
            let (before, after) =
                (pod_security::violations(&input), pod_security::violations(&case.review(&input).pod));
            // Injection adds no violation to any other pod, either.
            let new: Vec<_> = after.iter().filter(|violation| !before.contains(violation)).collect();
            assert!(new.is_empty(), "{}: {new:?}", case.name());
            restricted += usize::from(before.is_empty());
        }
    }
    assert!(restricted > cases().len() / 2, "only {restricted} are restricted");
}

#[test]
fn the_rules_of_pod_security_are_those_of_kubernetes() {
    let good = json!({"spec": {
        "securityContext": {"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [{"name": "app", "securityContext": {
            "allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]},
        }}],
    }});
    assert_eq!(pod_security::violations(&good), [""; 0]);
    for (place, value, control) in [
        ("/spec/hostNetwork", json!(true), "host namespaces"),
        ("/spec/hostPID", json!(true), "host namespaces"),
        ("/spec/containers/0/securityContext/privileged", json!(true), "privileged"),
        ("/spec/containers/0/securityContext/capabilities/add", json!(["NET_ADMIN"]), "capabilities"),
        ("/spec/containers/0/securityContext/capabilities/drop", json!(["KILL"]), "capabilities"),
        ("/spec/volumes", json!([{"name": "x", "hostPath": {"path": "/"}}]), "volume types"),
        ("/spec/containers/0/ports", json!([{"containerPort": 80, "hostPort": 80}]), "host ports"),
        ("/spec/securityContext/sysctls", json!([{"name": "net.core.somaxconn", "value": "1"}]), "sysctls"),
        ("/spec/securityContext/runAsNonRoot", json!(false), "running as non-root"),
        ("/spec/securityContext/runAsUser", json!(0), "running as non-root user"),
        ("/spec/securityContext/seccompProfile/type", json!("Unconfined"), "seccomp"),
        ("/spec/containers/0/securityContext/procMount", json!("Unmasked"), "proc mount"),
        ("/spec/containers/0/securityContext/seLinuxOptions", json!({"user": "x"}), "SELinux"),
        ("/spec/containers/0/securityContext/appArmorProfile", json!({"type": "Unconfined"}), "AppArmor"),
        ("/spec/containers/0/securityContext/allowPrivilegeEscalation", json!(true), "privilege escalation"),
        (
            "/spec/containers/0/livenessProbe",
            json!({"httpGet": {"host": "10.0.0.1", "port": 80}}),
            "probe hosts",
        ),
    ] {
        let mut bad = good.clone();
        set(&mut bad, place, value);
        let violations = pod_security::violations(&bad);
        assert!(violations.iter().any(|violation| violation.ends_with(control)), "{place}: {violations:?}");
    }
}

#[test]
fn the_rules_of_qos_are_those_of_the_kubelet() {
    let limits = json!({"cpu": "1", "memory": "1Gi"});
    let container = |resources: Value| json!({"name": "x", "resources": resources});
    let guaranteed = container(json!({"limits": limits, "requests": limits}));
    let of = |containers: &[Value]| qos::class(&json!({"containers": containers}));
    assert_eq!(of(&[container(json!({}))]), qos::Class::BestEffort);
    assert_eq!(of(&[container(json!({"limits": {"nvidia.com/gpu": "1"}}))]), qos::Class::BestEffort);
    assert_eq!(of(&[container(json!({"requests": {"cpu": "0"}}))]), qos::Class::BestEffort);
    assert_eq!(of(std::slice::from_ref(&guaranteed)), qos::Class::Guaranteed);
    assert_eq!(
        of(&[container(json!({"limits": {"cpu": "1000m", "memory": "1024Mi"}, "requests": limits}))]),
        qos::Class::Guaranteed
    );
    assert_eq!(of(&[guaranteed.clone(), container(json!({}))]), qos::Class::Burstable);
    assert_eq!(of(&[container(json!({"requests": {"memory": "1"}}))]), qos::Class::Burstable);
    let spec = json!({"containers": [guaranteed], "resources": {"requests": {"cpu": "1"}}});
    assert_eq!(qos::class(&spec), qos::Class::Burstable, "the pod's own resources win");
}

/// The pod with the security context that "restricted" requires in every container.
fn hardened(pod: &Value) -> Value {
    let mut pod = pod.clone();
    for kind in ["initContainers", "containers"] {
        for container in pod["spec"][kind].as_array_mut().into_iter().flatten() {
            container["securityContext"] = json!({
                "allowPrivilegeEscalation": false, "runAsNonRoot": true, "capabilities": {"drop": ["ALL"]},
                "seccompProfile": {"type": "RuntimeDefault"},
            });
        }
    }
    pod
}

fn set(document: &mut Value, place: &str, value: Value) {
    let (parent, key) = place.rsplit_once('/').expect("a place");
    document.pointer_mut(parent).expect("its parent")[key] = value;
}
