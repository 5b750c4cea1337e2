//! The pod's QoS class by the rules of the kubelet, and resources of the sidecar that preserve it. Pure.

use podlocal_settings::Settings;
use podlocal_settings::names::CONTAINER_NAME;
use podlocal_settings::value::Quantity;
use serde_json::{Map, Value, json};

/// The QoS classes (`kubernetes/pkg/apis/core/v1/helper/qos/qos.go`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names of Kubernetes")]
pub(crate) enum Class {
    BestEffort,
    Burstable,
    Guaranteed,
}

/// The resources that determine the class.
const COUNTED: [&str; 2] = ["cpu", "memory"];

/// The CPU limit of the sidecar if the class or a quota requires one and none is set.
const NEEDED_CPU_LIMIT: &str = "100m";

/// With this request the sidecar has the 2 ms of CPU that it needs to bind its sockets within 25 ms, beside one
/// other container that uses the core. The kubelet needs at least 55 ms to create the next container.
const ENOUGH_CPU: &str = "100m";

/// A resource of the node that a quota may require every container to limit. The sidecar writes only its log,
/// which counts.
const EPHEMERAL_STORAGE: (&str, &str) = ("ephemeral-storage", "16Mi");

/// The class of a pod with this spec.
///
/// The requests of a container default to its limits, as in the API server; documents on disk are not
/// defaulted yet. Zero counts as absent. Pod-level resources take precedence.
pub(crate) fn class(spec: &Value) -> Class {
    let holders = holders(spec);
    let requests: Vec<_> = holders.iter().map(|holder| counted(holder, "requests")).collect();
    let limits: Vec<_> = holders.iter().map(|holder| counted(holder, "limits")).collect();
    if requests.iter().chain(&limits).all(|amounts| amounts.iter().all(Option::is_none)) {
        return Class::BestEffort;
    }
    let is_guaranteed = requests.iter().zip(&limits).all(|(requests, limits)| {
        let pairs = requests.iter().zip(limits);
        pairs.into_iter().all(|(request, limit)| limit.is_some() && request == limit)
    });
    if is_guaranteed { Class::Guaranteed } else { Class::Burstable }
}

/// Whether the pod's containers may get so little CPU on a busy node that one of them runs before the sidecar
/// does, although it was started later: none requests [`ENOUGH_CPU`]. A request of N millicores is a weight
/// of about N, beside 1,024 for each container that uses a core that it requests; a pod without requests has
/// 2 (`MinShares` of the kubelet).
pub(crate) fn may_starve(spec: &Value) -> bool {
    let Ok(enough) = Quantity::parse(ENOUGH_CPU) else { return true };
    let requests = holders(spec).into_iter().filter_map(|holder| {
        let [cpu, _] = counted(holder, "requests");
        cpu
    });
    requests.max().is_none_or(|most| most < enough)
}

/// The objects whose resources count: the pod as a whole, or else its containers.
fn holders(spec: &Value) -> Vec<&Value> {
    if has_pod_level(spec) { vec![spec] } else { containers(spec).collect() }
}

/// The `resources` of the sidecar in a pod with this spec; `None` if it has none.
///
/// | pod | requests | limits |
/// |---|---|---|
/// | pod-level resources | none: the sidecar shares them | none |
/// | BestEffort | none | none |
/// | Guaranteed | equal to the limits | CPU and memory |
/// | Burstable | CPU and memory | memory; CPU if set, or if every container limits it |
///
/// Ephemeral storage is added if every container limits it: this resource does not determine the class, and a
/// quota on it rejects a pod in which one container has no limit.
pub(crate) fn sidecar_resources(spec: &Value, settings: &Settings) -> Option<Value> {
    if has_pod_level(spec) {
        return None;
    }
    let mut requests = Map::new();
    let mut limits = Map::new();
    match class(spec) {
        Class::BestEffort => {}
        Class::Guaranteed => {
            for (name, limit) in [("cpu", cpu_limit(settings)), ("memory", settings.memory_limit())] {
                requests.insert(name.to_owned(), json!(limit.as_str()));
                limits.insert(name.to_owned(), json!(limit.as_str()));
            }
        }
        Class::Burstable => {
            requests.insert("cpu".to_owned(), json!(settings.cpu_request.as_str()));
            requests.insert("memory".to_owned(), json!(settings.memory_request().as_str()));
            if settings.cpu_limit.is_some() || every_container_limits(spec, "cpu") {
                limits.insert("cpu".to_owned(), json!(cpu_limit(settings).as_str()));
            }
            limits.insert("memory".to_owned(), json!(settings.memory_limit().as_str()));
        }
    }
    let (name, amount) = EPHEMERAL_STORAGE;
    if every_container_limits(spec, name) {
        requests.insert(name.to_owned(), json!(amount));
        limits.insert(name.to_owned(), json!(amount));
    }
    (!limits.is_empty()).then(|| json!({"requests": requests, "limits": limits}))
}

/// The CPU limit as set, or the default if one is required; never below the request.
fn cpu_limit(settings: &Settings) -> Quantity {
    let limit = settings.cpu_limit.clone().or_else(|| Quantity::parse(NEEDED_CPU_LIMIT).ok());
    limit.map_or_else(|| settings.cpu_request.clone(), |limit| limit.max(settings.cpu_request.clone()))
}

/// Whether the pod has pod-level resources (Kubernetes 1.34 and later).
fn has_pod_level(spec: &Value) -> bool {
    let is_given =
        |kind: &str| spec["resources"][kind].as_object().is_some_and(|amounts| !amounts.is_empty());
    is_given("requests") || is_given("limits")
}

fn every_container_limits(spec: &Value, resource: &str) -> bool {
    containers(spec).all(|container| amount(container, "limits", resource).is_some())
}

/// The containers that determine the class: both kinds, without the sidecar.
fn containers(spec: &Value) -> impl Iterator<Item = &Value> {
    let list = |kind: &str| spec[kind].as_array().into_iter().flatten();
    list("initContainers").chain(list("containers")).filter(|container| container["name"] != CONTAINER_NAME)
}

/// The counted amounts of one holder of resources, a container or the pod; requests default to the limits.
fn counted(holder: &Value, kind: &str) -> [Option<Quantity>; 2] {
    COUNTED.map(|resource| {
        let is_given = holder["resources"][kind].get(resource).is_some_and(|given| !given.is_null());
        let kind = if is_given { kind } else { "limits" };
        amount(holder, kind, resource)
    })
}

/// An amount that is present, valid and not zero. YAML on disk may contain a bare number.
fn amount(holder: &Value, kind: &str, resource: &str) -> Option<Quantity> {
    let text = match &holder["resources"][kind][resource] {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        _ => return None,
    };
    Quantity::parse(text.trim()).ok().filter(|quantity| !quantity.is_zero())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(containers: &[Value]) -> Value {
        let named = containers.iter().enumerate();
        let named =
            named.map(|(index, resources)| json!({"name": format!("c{index}"), "resources": resources}));
        json!({"containers": named.collect::<Vec<_>>()})
    }

    #[test]
    fn classes_are_found_by_the_kubelets_rules() {
        let cases = [
            (vec![json!({})], Class::BestEffort),
            (vec![json!({"requests": {"cpu": "0", "memory": "0Mi"}})], Class::BestEffort),
            (vec![json!({"limits": {"ephemeral-storage": "1Gi", "nvidia.com/gpu": 1}})], Class::BestEffort),
            (vec![json!({"requests": {"cpu": "1"}})], Class::Burstable),
            (vec![json!({"limits": {"memory": "1Gi"}})], Class::Burstable),
            (vec![json!({"limits": {"cpu": "1", "memory": "1Gi"}})], Class::Guaranteed),
            (
                vec![json!({"limits": {"cpu": 1, "memory": "1Gi"}, "requests": {"cpu": "1000m"}})],
                Class::Guaranteed,
            ),
            (
                vec![json!({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "0"}})],
                Class::Burstable,
            ),
            (vec![json!({"limits": {"cpu": "1", "memory": "1Gi"}}), json!({})], Class::Burstable),
            (
                vec![json!({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"memory": "512Mi"}})],
                Class::Burstable,
            ),
        ];
        for (containers, expected) in cases {
            assert_eq!(class(&pod(&containers)), expected, "{containers:?}");
        }
    }

    #[test]
    fn a_pod_may_starve_unless_one_container_requests_enough_cpu() {
        for (containers, expected) in [
            (vec![json!({})], true),
            (vec![json!({"requests": {"memory": "1Gi"}})], true),
            (vec![json!({"requests": {"cpu": "99m"}}), json!({"requests": {"cpu": "50m"}})], true),
            (vec![json!({}), json!({"requests": {"cpu": "100m"}})], false),
            (vec![json!({"limits": {"cpu": "1"}})], false),
        ] {
            assert_eq!(may_starve(&pod(&containers)), expected, "{containers:?}");
        }
        let mut spec = pod(&[json!({})]);
        spec["resources"] = json!({"requests": {"cpu": "1"}});
        assert!(!may_starve(&spec));
    }

    #[test]
    fn a_needed_cpu_limit_is_never_below_the_request() {
        let mut settings = Settings::defaults();
        settings.cpu_request = Quantity::parse("250m").expect("valid");
        let spec = pod(&[json!({"limits": {"cpu": "1", "memory": "1Gi"}})]);
        assert_eq!(sidecar_resources(&spec, &settings).expect("has resources")["limits"]["cpu"], "250m");
    }
}
