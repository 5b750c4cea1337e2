//! Notices for the owner of a pod. Pure.
//!
//! The API server returns an admission warning to the client that creates the pod. For most pods that is a
//! controller, which discards it; so the owner of the pod gets an Event. A pod without a controller needs
//! none.
//!
//! Any client that reaches the port may have written the review, and an Event looks like a statement of the
//! webhook. So the text consists only of fixed sentences and setting names, and the owner of validated names.

use podlocal_settings::names::STATUS_ANNOTATION;
use podlocal_settings::read::SettingError;
use podlocal_settings::table::{Setting, TABLE};
use serde_json::Value;

use super::mutate::Mutation;
use super::names;
use super::outcome::Outcome;

/// The maximum length of an Event's note, in characters (`NoteLengthLimit` in
/// `kubernetes/pkg/apis/core/validation/events.go`).
const LONGEST_NOTE: usize = 1024;

/// The content of one Event.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Notice {
    /// The object that it is about.
    pub(crate) owner: Owner,
    /// The reason of the Event.
    pub(crate) kind: Kind,
    /// The text of the Event.
    pub(crate) note: String,
}

/// The controller that created a pod.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs, reason = "each is the field of that name in an owner reference")]
pub(crate) struct Owner {
    pub(crate) api_version: String,
    pub(crate) kind: String,
    pub(crate) name: String,
    pub(crate) uid: String,
    /// The namespace of the pod, which is always that of its owner.
    pub(crate) namespace: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// A pod was not injected, although it was opted in.
    NotInjected,
    /// A pod was injected, but some of its settings were ignored.
    SettingsIgnored,
}

impl Notice {
    /// The notice for the controller of the pod with this metadata, if there is anything to report.
    pub(crate) fn of(metadata: &Value, namespace: &str, mutation: &Mutation) -> Option<Self> {
        let (kind, note) = match mutation.outcome {
            Outcome::Skipped(skip) if skip.is_unexpected() => {
                (Kind::NotInjected, format!("pod not injected: {}", skip.sentence()))
            }
            _ if mutation.ignored.is_empty() => return None,
            _ => (Kind::SettingsIgnored, ignored(&mutation.ignored)),
        };
        let owner = Owner::of(metadata, namespace)?;
        Some(Self { owner, kind, note: note.chars().take(LONGEST_NOTE).collect() })
    }
}

/// Lists the ignored settings. Their values come from the author, so only the status annotation of the pod
/// shows them.
fn ignored(errors: &[SettingError]) -> String {
    let is_of = |error: &SettingError, setting: &Setting| error.origin.ends_with(&setting.annotation());
    let settings = TABLE.iter().filter(|setting| errors.iter().any(|error| is_of(error, setting)));
    let mut what: Vec<_> = settings.map(|setting| setting.name.to_owned()).collect();
    let others = errors.iter().filter(|error| !TABLE.iter().any(|setting| is_of(error, setting)));
    let others = others.count();
    if others > 0 {
        what.push(format!("{others} unknown"));
    }
    format!(
        "pod injected, but these settings were ignored: {}; see its annotation {STATUS_ANNOTATION} for the reasons",
        what.join(", ")
    )
}

impl Owner {
    /// The owner reference that is marked as controller; there is at most one.
    fn of(metadata: &Value, namespace: &str) -> Option<Self> {
        let mut references = metadata["ownerReferences"].as_array()?.iter();
        let controller = references.find(|reference| reference["controller"] == true)?;
        let checked =
            |key: &str, check: fn(&str) -> Option<&str>| check(controller[key].as_str()?).map(str::to_owned);
        Some(Self {
            api_version: checked("apiVersion", names::api_version)?,
            kind: checked("kind", names::kind)?,
            name: checked("name", names::subdomain)?,
            uid: checked("uid", names::label)?,
            namespace: names::label(namespace)?.to_owned(),
        })
    }
}

impl Kind {
    /// The reason of the Event. It is stable, because operators filter by it.
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Self::NotInjected => "PodLocalDNSNotInjected",
            Self::SettingsIgnored => "PodLocalDNSSettingsIgnored",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::review::skip::Skip;
    use serde_json::json;

    fn mutation(outcome: Outcome, ignored: &[SettingError]) -> Mutation {
        Mutation { outcome, pod: Value::Null, patch: json_patch::Patch::default(), ignored: ignored.to_vec() }
    }

    fn metadata() -> Value {
        let reference = |kind: &str, controller: bool| json!({"apiVersion": "apps/v1", "kind": kind, "name": "web", "uid": "u-1", "controller": controller});
        json!({"ownerReferences": [reference("Other", false), reference("ReplicaSet", true)]})
    }

    #[test]
    fn owner_with_an_invalid_name_gets_no_event() {
        let skipped = mutation(Outcome::Skipped(Skip::DnsPolicyDefault), &[]);
        for key in ["apiVersion", "kind", "name", "uid"] {
            let mut metadata = metadata();
            metadata["ownerReferences"][1][key] = json!("Free\nmoney");
            assert_eq!(Notice::of(&metadata, "a", &skipped), None, "{key}");
        }
        assert_eq!(Notice::of(&metadata(), "no name", &skipped), None);
        assert!(Notice::of(&metadata(), "a", &skipped).is_some());
    }

    #[test]
    fn pod_without_a_valid_controller_yields_no_notice() {
        let skipped = mutation(Outcome::Skipped(Skip::HostNetwork), &[]);
        for metadata in [json!({}), json!({"ownerReferences": [{"controller": true, "kind": 7}]}), json!([])]
        {
            assert_eq!(Notice::of(&metadata, "a", &skipped), None, "{metadata}");
        }
    }
}
