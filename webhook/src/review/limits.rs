//! The LimitRanges of a namespace, and resources that they allow. Pure.
//!
//! The API server validates a pod against them after all webhooks
//! (`kubernetes/plugin/pkg/admission/limitranger`). So the sidecar must fit, or a valid pod could no longer
//! be created. Resources that the sidecar does not set get the defaults of the LimitRange: the plugin runs
//! again after webhooks that have changed the pod.

use std::collections::BTreeMap;
use std::sync::Arc;

use podlocal_settings::Settings;
use podlocal_settings::value::Quantity;
use serde_json::{Value, json};

/// The limits of each LimitRange, by namespace and name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Limits(Arc<BTreeMap<(String, String), Bounds>>);

/// The limits of a LimitRange.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Bounds {
    /// The limits per container, by resource.
    container: BTreeMap<String, Bound>,
    /// The maximum of the sum of all container limits of a pod, by resource.
    pod_max: BTreeMap<String, Quantity>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Bound {
    min: Option<Quantity>,
    max: Option<Quantity>,
    /// The default limit of a container.
    default: Option<Quantity>,
    /// Whether the ratio of limit to request is restricted.
    has_ratio: bool,
}

/// The limits leave the sidecar less than it needs, or the pod exceeds its maximum with the sidecar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Exceeded;

/// The CPU limit if a ratio requires one and none is set.
const USUAL_CPU_LIMIT: &str = "100m";

impl Limits {
    /// Those of these LimitRanges.
    pub fn of<'a>(ranges: impl IntoIterator<Item = &'a Value>) -> Self {
        let mut limits = Self::default();
        ranges.into_iter().for_each(|range| limits.insert(range));
        limits
    }

    /// Adds a LimitRange, or replaces its former limits.
    pub(crate) fn insert(&mut self, range: &Value) {
        Arc::make_mut(&mut self.0).insert(key(range), Bounds::of(range));
    }

    pub(crate) fn remove(&mut self, range: &Value) {
        Arc::make_mut(&mut self.0).remove(&key(range));
    }

    /// The resources of the sidecar in a pod with this `spec`, adjusted so that every LimitRange of the
    /// namespace accepts them.
    ///
    /// # Errors
    /// If the memory limit is less than a full cache takes, or the pod with the sidecar exceeds a `max` of
    /// the whole pod.
    pub(crate) fn fit(
        &self,
        namespace: &str,
        ours: Option<Value>,
        spec: &Value,
        settings: &Settings,
    ) -> Result<Option<Value>, Exceeded> {
        let ranges = self.0.range((namespace.to_owned(), String::new())..);
        let mut ranges = ranges.take_while(|((of, _), _)| of == namespace);
        ranges.try_fold(ours, |ours, (_, bounds)| bounds.fit(ours, spec, settings))
    }
}

fn key(range: &Value) -> (String, String) {
    let text = |key: &str| range["metadata"][key].as_str().unwrap_or_default().to_owned();
    (text("namespace"), text("name"))
}

impl Bounds {
    fn of(range: &Value) -> Self {
        let mut bounds = Self::default();
        for item in range["spec"]["limits"].as_array().into_iter().flatten() {
            let amounts = |kind: &str| {
                let amounts = item[kind].as_object().into_iter().flatten();
                amounts.filter_map(|(resource, amount)| {
                    Some((resource.clone(), Quantity::parse(amount.as_str()?).ok()?))
                })
            };
            match item["type"].as_str() {
                Some("Container") => {
                    let mut add = |kind: &str, place: fn(&mut Bound) -> &mut Option<Quantity>| {
                        for (resource, amount) in amounts(kind) {
                            *place(bounds.container.entry(resource).or_default()) = Some(amount);
                        }
                    };
                    add("min", |bound| &mut bound.min);
                    add("max", |bound| &mut bound.max);
                    add("default", |bound| &mut bound.default);
                    for (resource, _) in amounts("maxLimitRequestRatio") {
                        bounds.container.entry(resource).or_default().has_ratio = true;
                    }
                }
                Some("Pod") => bounds.pod_max.extend(amounts("max")),
                _ => {}
            }
        }
        bounds
    }

    /// | limit of a container | request | limit |
    /// |---|---|---|
    /// | `min` | at least | at least |
    /// | `max` | at most | at most |
    /// | `default`, if the sidecar has no limit | at most: it becomes the limit | |
    /// | `maxLimitRequestRatio` | equal to the limit, which every ratio allows | 100m of CPU if there is none |
    fn fit(&self, ours: Option<Value>, spec: &Value, settings: &Settings) -> Result<Option<Value>, Exceeded> {
        // Without resources, the sidecar gets the defaults of the LimitRange, or shares those of the pod.
        let Some(mut ours) = ours else { return Ok(None) };
        for (resource, bound) in &self.container {
            let amount = |kind: &str| Quantity::parse(ours[kind][resource].as_str()?).ok();
            let Some(request) = amount("requests") else { continue };
            let (request, limit) = bound.fit(request, amount("limits"));
            ours["requests"][resource] = json!(request.as_str());
            if let Some(limit) = limit {
                ours["limits"][resource] = json!(limit.as_str());
            }
        }
        let amount = |resource: &str| Quantity::parse(ours["limits"][resource].as_str()?).ok();
        if amount("memory").is_some_and(|limit| limit < Quantity::of_bytes(settings.memory_of_full_cache())) {
            return Err(Exceeded);
        }
        let of_pod = |resource: &str, ours: &Quantity| {
            let list = |kind: &str| spec[kind].as_array().into_iter().flatten();
            let sidecars = list("initContainers").filter(|container| container["restartPolicy"] == "Always");
            let limits = list("containers").chain(sidecars);
            let limits = limits.filter_map(|container| container["resources"]["limits"][resource].as_str());
            let limits = limits.filter_map(|text| Quantity::parse(text).ok()).map(|limit| limit.millis());
            limits.fold(ours.millis(), u64::saturating_add)
        };
        let is_exceeded = self.pod_max.iter().any(|(resource, max)| {
            amount(resource).is_some_and(|ours| of_pod(resource, &ours) > max.millis())
        });
        if is_exceeded { Err(Exceeded) } else { Ok(Some(ours)) }
    }
}

impl Bound {
    fn fit(&self, request: Quantity, limit: Option<Quantity>) -> (Quantity, Option<Quantity>) {
        let within = |amount: Quantity| {
            let raised = self.min.clone().map_or(amount.clone(), |min| amount.max(min));
            self.max.clone().map_or(raised.clone(), |max| raised.min(max))
        };
        let request = within(request);
        if self.has_ratio {
            let usual = limit.or_else(|| Quantity::parse(USUAL_CPU_LIMIT).ok());
            let limit = usual.map_or(request.clone(), |limit| within(limit).max(request));
            return (limit.clone(), Some(limit));
        }
        match (limit, &self.default) {
            (Some(limit), _) => (request, Some(within(limit))),
            (None, Some(default)) => (request.min(default.clone()), None),
            (None, None) => (request, None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn container(item: &Value) -> Bounds {
        let mut item = item.clone();
        item["type"] = json!("Container");
        Bounds::of(&json!({"metadata": {"namespace": "web"}, "spec": {"limits": [item]}}))
    }

    fn burstable() -> Value {
        json!({"requests": {"cpu": "5m", "memory": "12Mi"}, "limits": {"memory": "32Mi"}})
    }

    fn fitted(bounds: &Bounds, ours: &Value) -> Result<Value, Exceeded> {
        bounds.fit(Some(ours.clone()), &json!({}), &Settings::defaults()).map(|fitted| fitted.expect("some"))
    }

    #[test]
    fn resources_are_clamped_to_the_limits() {
        for (bounds, expected) in [
            (json!({}), burstable()),
            (
                json!({"min": {"cpu": "50m", "memory": "48Mi"}}),
                json!({"requests": {"cpu": "50m", "memory": "48Mi"}, "limits": {"memory": "48Mi"}}),
            ),
            (
                json!({"max": {"cpu": "2m", "memory": "16Mi"}}),
                json!({"requests": {"cpu": "2m", "memory": "12Mi"}, "limits": {"memory": "16Mi"}}),
            ),
            (
                json!({"default": {"cpu": "3m", "memory": "1Mi"}}),
                json!({"requests": {"cpu": "3m", "memory": "12Mi"}, "limits": {"memory": "32Mi"}}),
            ),
            (
                json!({"maxLimitRequestRatio": {"cpu": "2", "memory": "1.5"}}),
                json!({"requests": {"cpu": "100m", "memory": "32Mi"}, "limits": {"cpu": "100m", "memory": "32Mi"}}),
            ),
            (json!({"min": {"nvidia.com/gpu": "1"}}), burstable()),
        ] {
            assert_eq!(fitted(&container(&bounds), &burstable()), Ok(expected), "{bounds}");
        }
    }

    #[test]
    fn guaranteed_container_stays_guaranteed() {
        let ours = json!({"requests": {"cpu": "100m", "memory": "32Mi"}, "limits": {"cpu": "100m", "memory": "32Mi"}});
        for bounds in [
            json!({"min": {"cpu": "200m", "memory": "64Mi"}}),
            json!({"max": {"cpu": "20m", "memory": "24Mi"}}),
            json!({"maxLimitRequestRatio": {"cpu": "1", "memory": "1"}, "min": {"memory": "40Mi"}}),
        ] {
            let fitted = fitted(&container(&bounds), &ours).expect("fits");
            assert_eq!(fitted["requests"], fitted["limits"], "{bounds}");
        }
    }

    #[test]
    fn container_that_exceeds_limits_is_not_injected() {
        assert_eq!(fitted(&container(&json!({"max": {"memory": "8Mi"}})), &burstable()), Err(Exceeded));
        let item = json!({"type": "Pod", "max": {"memory": "100Mi"}});
        let bounds = Bounds::of(&json!({"spec": {"limits": [item]}}));
        for (own, fits) in [("68Mi", true), ("69Mi", false)] {
            let spec = json!({"containers": [{"resources": {"limits": {"memory": own}}}]});
            let fitted = bounds.fit(Some(burstable()), &spec, &Settings::defaults());
            assert_eq!(fitted.is_ok(), fits, "{own}");
        }
        assert_eq!(bounds.fit(None, &json!({}), &Settings::defaults()), Ok(None));
    }

    #[test]
    fn every_limit_range_of_the_namespace_applies() {
        let range = |name: &str, item: Value| json!({"metadata": {"namespace": "web", "name": name}, "spec": {"limits": [item]}});
        let ranges = [
            range("a", json!({"type": "Container", "min": {"cpu": "10m"}, "max": {"memory": "1Gi"}})),
            range("b", json!({"type": "Container", "min": {"cpu": "20m"}, "max": {"memory": "16Mi"}})),
            json!({"metadata": {"namespace": "other"}}),
        ];
        let mut limits = Limits::of(&ranges);
        let fitted = |limits: &Limits, namespace: &str| {
            limits.fit(namespace, Some(burstable()), &json!({}), &Settings::defaults())
        };
        let expected = json!({"requests": {"cpu": "20m", "memory": "12Mi"}, "limits": {"memory": "16Mi"}});
        assert_eq!(fitted(&limits, "web"), Ok(Some(expected)));
        assert_eq!(fitted(&limits, "elsewhere"), Ok(Some(burstable())));
        let [_, second, _] = &ranges;
        limits.remove(second);
        assert_eq!(fitted(&limits, "web").expect("fits").expect("some")["requests"]["cpu"], "10m");
    }
}
