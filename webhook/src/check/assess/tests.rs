//! The decision table of `assess`, line by line.

use serde_json::json;

use super::*;
use crate::review::cluster_state::ClusterFlags;
use podlocal_settings::names::{ANNOTATION_PREFIX, STATUS_ANNOTATION};
use podlocal_settings::table;

fn context() -> Context {
    let flags =
        ClusterFlags { dns: vec!["10.96.0.10:53".parse().expect("valid")], ..ClusterFlags::default() };
    Context {
        cluster: Cluster::new(&flags, ""),
        policy: Policy { image: "sidecar:1".to_owned(), defaults: Vec::new() },
        selectors: Selectors::installed(),
        as_if_enabled: false,
        with_diff: false,
    }
}

fn namespace_metadata(label: &str) -> NamespaceMetadata {
    NamespaceMetadata {
        labels: Some(Labels::from([(INJECT_LABEL.to_owned(), label.to_owned())])),
        annotations: Map::new(),
    }
}

fn pod(label: Option<&str>, spec: &Value) -> Value {
    let mut pod = json!({"metadata": {"labels": {}}, "spec": {"containers": [{"name": "app"}]}});
    if let Some(label) = label {
        pod["metadata"]["labels"][INJECT_LABEL] = json!(label);
    }
    json_patch::merge(&mut pod["spec"], spec);
    pod
}

#[test]
fn verdict_applies_selectors_before_the_review() {
    use Verdict::{Already, Injected, Not};
    let (enabled, disabled) = (Some(INJECT_ENABLED), Some(INJECT_DISABLED));
    let ours = json!({"initContainers": [{"name": CONTAINER_NAME, "restartPolicy": "Always"}]});
    let behind =
        json!({"initContainers": [{"name": "a"}, {"name": CONTAINER_NAME, "restartPolicy": "Always"}]});
    let (plain, host) = (json!({}), json!({"hostNetwork": true}));
    let opted_out = Not(Reason::Skipped(Skip::OptedOut));
    let host_network = Not(Reason::Skipped(Skip::HostNetwork));
    let none = json!({"dnsPolicy": "None", "dnsConfig": {"nameservers": ["10.0.0.1"]}});
    for (name, of_namespace, of_pod, spec, expected, as_if) in [
        ("web", enabled, None, &plain, Injected, Injected),
        ("web", disabled, None, &plain, Not(Reason::NotOptedIn), Injected),
        ("web", disabled, enabled, &plain, Injected, Injected),
        ("web", enabled, disabled, &plain, opted_out, opted_out),
        ("web", disabled, disabled, &plain, opted_out, opted_out),
        ("web", None, None, &plain, Injected, Injected),
        ("web", None, disabled, &plain, opted_out, opted_out),
        (
            "kube-system",
            enabled,
            enabled,
            &plain,
            Not(Reason::NamespaceExcluded),
            Not(Reason::NamespaceExcluded),
        ),
        ("web", enabled, None, &host, host_network, host_network),
        ("web", disabled, None, &host, Not(Reason::NotOptedIn), host_network),
        (
            "web",
            enabled,
            None,
            &none,
            Not(Reason::Skipped(Skip::DnsPolicyNone)),
            Not(Reason::Skipped(Skip::DnsPolicyNone)),
        ),
        ("web", enabled, enabled, &none, Injected, Injected),
        ("web", enabled, None, &ours, Already, Already),
        ("web", disabled, None, &ours, Already, Already),
        ("web", enabled, None, &behind, Already, Already),
        (
            "web",
            enabled,
            None,
            &json!({"securityContext": "x"}),
            Not(Reason::Malformed),
            Not(Reason::Malformed),
        ),
        (
            "web",
            enabled,
            None,
            &json!({"containers": null}),
            Not(Reason::Skipped(Skip::NoContainers)),
            Not(Reason::Skipped(Skip::NoContainers)),
        ),
    ] {
        let namespace_metadata = of_namespace.map_or_else(NamespaceMetadata::default, namespace_metadata);
        for (as_if_enabled, expected) in [(false, expected), (true, as_if)] {
            let context = Context { as_if_enabled, ..context() };
            let found = assess(&pod(of_pod, spec), name, &namespace_metadata, &context).verdict;
            assert_eq!(found, expected, "{name} {of_namespace:?} {of_pod:?} {spec} {as_if_enabled}");
        }
    }
}

#[test]
fn assessment_summarizes_changes_and_computes_cost() {
    let of = |spec: &Value, context: &Context| {
        assess(&pod(None, spec), "web", &namespace_metadata(INJECT_ENABLED), context)
    };
    let usual = of(&json!({}), &context());
    assert_eq!(usual.changes, ["+ podlocal-dns", "ndots 5 -> 2", "+ sysctl ip_unprivileged_port_start"]);
    assert_eq!(usual.cost, Some(Cost { direct: 8, proxied: 3 }));
    assert_eq!(usual.diff, [""; 0]);

    let own = json!({
        "dnsConfig": {"searches": ["corp.example"], "options": [{"name": "ndots", "value": "5"}]},
        "securityContext": {"sysctls": [{"name": PORT_SYSCTL, "value": "0"}]},
    });
    let mut with_tier = context();
    with_tier.cluster.shared_tier.addresses.push("10.96.0.53:53".parse().expect("valid"));
    let own = of(&own, &with_tier);
    assert_eq!(own.changes, ["+ podlocal-dns", "ndots stays 5", "uses the shared tier"]);
    assert_eq!(own.cost, Some(Cost { direct: 10, proxied: 6 }));

    let behind =
        json!({"initContainers": [{"name": "a"}, {"name": CONTAINER_NAME, "restartPolicy": "Always"}]});
    let behind = of(&behind, &Context { with_diff: true, ..context() });
    assert_eq!((behind.changes[0].as_str(), behind.cost), ("the sidecar moves to the front", None));
    assert_eq!(behind.diff[0], "~ /spec/initContainers/1 -> /spec/initContainers/0");
}

#[test]
fn setting_errors_are_reported_even_if_the_pod_is_skipped() {
    let mut of_namespace = namespace_metadata(INJECT_ENABLED);
    of_namespace.annotations.insert(table::CACHE_SIZE.annotation(), json!("lots"));
    let mut bad = pod(Some("maybe"), &json!({}));
    bad["metadata"]["annotations"] =
        json!({table::NDOTS.annotation(): "many", format!("{ANNOTATION_PREFIX}nodts"): "2"});
    for spec in [json!({}), json!({"dnsPolicy": "Default"})] {
        json_patch::merge(&mut bad["spec"], &spec);
        let errors = assess(&bad, "web", &of_namespace, &context()).errors;
        assert_eq!(errors.len(), 3, "{errors:?}");
        assert!(errors.iter().all(|error| !error.origin.contains("namespace")), "{errors:?}");
    }
    assert_eq!(super::of_namespace(&of_namespace, "cluster.local").len(), 1);
    assert_eq!(
        super::of_namespace(&namespace_metadata("true"), "cluster.local").len(),
        1,
        "a label that opts nobody in"
    );
    assert_eq!(super::of_namespace(&namespace_metadata(INJECT_DISABLED), "cluster.local"), []);
}

#[test]
fn injected_pod_is_assessed_as_already_injected() {
    let injected = mutate(
        &pod(None, &json!({})),
        &Namespace { name: "web".to_owned(), annotations: Map::new() },
        &context().cluster,
        &context().policy,
    );
    let injected = injected.expect("edits").pod;
    assert_eq!(injected["metadata"]["annotations"][STATUS_ANNOTATION], "injected");
    let found = assess(&injected, "web", &NamespaceMetadata::default(), &context());
    assert_eq!((found.verdict, found.changes.len(), found.errors.len()), (Verdict::Already, 0, 0));
}
