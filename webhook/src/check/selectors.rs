//! The label selectors of a MutatingWebhookConfiguration, which decide which pods the API server sends to the
//! webhook. Pure.
//!
//! Match conditions are not evaluated: those of the manifests exclude only pods that
//! [`crate::review::decide`] skips anyway, which `tests/calls.rs` checks, and `decide` names the reason.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::core::{Selector, SelectorExt as _};
use podlocal_settings::names::{INJECT_DISABLED, INJECT_ENABLED, INJECT_LABEL};
use serde_json::Value;

use super::reason::Reason;
use crate::documents::yaml;
use crate::review::skip::Skip;

/// The configuration that `kubectl apply -k manifests/base` installs.
const INSTALLED: &str = include_str!("../../../manifests/base/mutatingwebhookconfiguration.yaml");

/// The label with the name of the namespace, which the API server sets.
const NAME_LABEL: &str = "kubernetes.io/metadata.name";

/// Labels in the form that selectors accept.
pub(crate) type Labels = BTreeMap<String, String>;

/// The selectors of all webhooks in a configuration; a pod is sent if one of them matches.
#[derive(Debug, Clone)]
pub(crate) struct Selectors {
    entries: Vec<Entry>,
    conditions: Vec<Value>,
}

#[derive(Debug, Clone)]
struct Entry {
    namespace: Selector,
    pod: Selector,
}

impl Selectors {
    /// The selectors of `manifests/base`.
    pub(crate) fn installed() -> Self {
        let documents = yaml::read(INSTALLED).unwrap_or_default();
        documents.first().and_then(Self::of).unwrap_or(Self { entries: Vec::new(), conditions: Vec::new() })
    }

    /// The selectors of a MutatingWebhookConfiguration; `None` if they cannot be read.
    pub(crate) fn of(configuration: &Value) -> Option<Self> {
        let entries = configuration["webhooks"].as_array()?;
        let conditions = entries.iter().map(|entry| entry["matchConditions"].clone()).collect();
        let selector = |value: &Value| match value {
            Value::Null => Some(Selector::default()),
            given => {
                let selector: LabelSelector = serde_json::from_value(given.clone()).ok()?;
                Selector::try_from(selector).ok()
            }
        };
        let entry = |entry: &Value| {
            let namespace = selector(&entry["namespaceSelector"])?;
            Some(Entry { namespace, pod: selector(&entry["objectSelector"])? })
        };
        Some(Self { entries: entries.iter().map(entry).collect::<Option<_>>()?, conditions })
    }

    /// Whether the match conditions are those of `manifests/base`, so that `decide` has the same result.
    pub(crate) fn has_our_conditions(&self) -> bool {
        let ours = Self::installed().conditions;
        self.conditions.iter().all(|condition| condition.is_null() || ours.contains(condition))
    }

    /// Why the API server does not send a pod with the labels `of_pod` in the namespace `name` with the labels
    /// `of_namespace`; `None` if it does. The first matching line applies:
    ///
    /// | condition | the reason |
    /// |---|---|
    /// | a webhook selects the pod | none |
    /// | no webhook would select it if pod and namespace were opted in | the namespace is excluded |
    /// | the pod has `inject: disabled` | opted out |
    /// | anything else | not opted in |
    pub(crate) fn excluding_reason(
        &self,
        name: &str,
        of_namespace: &Labels,
        of_pod: &Labels,
    ) -> Option<Reason> {
        let mut of_namespace = of_namespace.clone();
        of_namespace.insert(NAME_LABEL.to_owned(), name.to_owned());
        if self.selects(&of_namespace, of_pod) {
            return None;
        }
        let is_opted_out = of_pod.get(INJECT_LABEL).is_some_and(|value| value == INJECT_DISABLED);
        let opted_in = |labels: &Labels| {
            let mut labels = labels.clone();
            labels.insert(INJECT_LABEL.to_owned(), INJECT_ENABLED.to_owned());
            labels
        };
        Some(if !self.selects(&opted_in(&of_namespace), &opted_in(of_pod)) {
            Reason::NamespaceExcluded
        } else if is_opted_out {
            Reason::Skipped(Skip::OptedOut)
        } else {
            Reason::NotOptedIn
        })
    }

    fn selects(&self, of_namespace: &Labels, of_pod: &Labels) -> bool {
        self.entries.iter().any(|entry| entry.namespace.matches(of_namespace) && entry.pod.matches(of_pod))
    }
}

/// The labels in the metadata of an object.
pub(crate) fn labels(metadata: &Value) -> Labels {
    let labels = metadata["labels"].as_object().into_iter().flatten();
    labels.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn custom_webhook_configuration_is_evaluated() {
        let selectors = Selectors::of(&json!({"webhooks": [{
            "namespaceSelector": {"matchLabels": {"team": "ml"}},
            "matchConditions": [{"name": "mine", "expression": "false"}],
        }]}))
        .expect("a configuration");
        let ml = Labels::from([("team".to_owned(), "ml".to_owned())]);
        assert_eq!(selectors.excluding_reason("web", &ml, &Labels::new()), None);
        assert!(!selectors.has_our_conditions());
        assert!(Selectors::of(&json!({"webhooks": [{"objectSelector": 7}]})).is_none());
        assert!(Selectors::of(&json!({})).is_none());
    }
}
