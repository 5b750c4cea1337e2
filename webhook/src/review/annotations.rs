//! Reads settings from the annotations of a pod and of its namespace. Pure.
//!
//! ```text
//!   the pod's annotation  >  its namespace's  >  the cluster-wide default (settings file)  >  the table's default
//! ```
//!
//! The order applies to each setting separately. An invalid value is reported and ignored: the next level
//! applies.

use podlocal_settings::names::{ANNOTATION_PREFIX, INJECT_LABEL, STATUS_ANNOTATION};
use podlocal_settings::read::{self, Given, Read, SettingError};
use podlocal_settings::table::{self, Setting};
use serde_json::{Map, Value};

/// The validated cluster-wide defaults for injected pods.
pub(crate) type Defaults = Vec<(&'static Setting, Given)>;

/// The annotations of one object; `None` if it has none.
pub(crate) type Annotations<'a> = Option<&'a Map<String, Value>>;

/// Reads the settings of a pod from its annotations, then from those of its namespace, then from the
/// defaults. `domain` is the cluster domain, which forward zones must not contain. [`Read::errors`] lists
/// every ignored value, including unknown annotations with the prefix of the project.
pub(crate) fn read(
    of_pod: Annotations,
    of_namespace: Annotations,
    defaults: &Defaults,
    domain: &str,
) -> Read {
    let layers = [("annotation", of_pod), ("the namespace's annotation", of_namespace)];
    let annotated = |setting: &Setting| {
        let key = setting.annotation();
        let values =
            layers.into_iter().filter_map(|(layer, annotations)| Some((layer, annotations?.get(&key)?)));
        let given =
            values.map(|(layer, value)| Given { origin: format!("{layer} {key}"), text: text_of(value) });
        given.filter(|_| setting.is_annotation()).collect::<Vec<_>>()
    };
    let of_cluster = |setting: &Setting| {
        let default = defaults.iter().find(|(other, _)| *other == setting);
        default.map(|(_, given)| given.clone())
    };
    let decided = |setting: &Setting| {
        let origin = || "the cluster domain".to_owned();
        (*setting == table::CLUSTER_DOMAIN).then(|| Given { origin: origin(), text: domain.to_owned() })
    };
    let mut read = read::read(|setting| {
        annotated(setting).into_iter().chain(of_cluster(setting)).chain(decided(setting)).collect()
    });
    for (layer, annotations) in layers {
        let unknown = annotations.into_iter().flatten().filter_map(|(key, value)| unknown(layer, key, value));
        read.errors.extend(unknown);
    }
    read
}

/// The error for an annotation with the prefix of the project that is not a pod setting.
fn unknown(layer: &str, key: &str, value: &Value) -> Option<SettingError> {
    let name = key.strip_prefix(ANNOTATION_PREFIX)?;
    let expected = match key {
        STATUS_ANNOTATION => return None,
        INJECT_LABEL => "a label of that name: selectors do not use annotations".to_owned(),
        _ if table::find(name, Setting::is_annotation).is_some() => return None,
        _ if table::find(name, Setting::is_for_sidecar).is_some() => {
            "no annotation of that name: the webhook sets it".to_owned()
        }
        _ => "the name of a setting; `podlocal-webhook --help` lists them".to_owned(),
    };
    Some(SettingError::of_name(format!("{layer} {key}"), &text_of(value), expected))
}

/// The value as its author wrote it. The API server accepts only strings, and null as an empty string. A file
/// may contain a bare number: it is shown, and the API server rejects it later.
pub(crate) fn text_of(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn of(annotations: &Value, defaults: &Defaults) -> Read {
        read(annotations.as_object(), None, defaults, "cluster.local")
    }

    fn default_of(setting: &'static Setting, text: &str) -> (&'static Setting, Given) {
        (setting, Given { origin: "settings file".to_owned(), text: text.to_owned() })
    }

    #[test]
    fn empty_list_overrides_the_default_but_empty_duration_does_not() {
        let defaults =
            vec![default_of(&table::WAIT_FOR_NAMES, "*.workers"), default_of(&table::WAIT_TIMEOUT, "2s")];
        for empty in [json!(""), json!(" "), Value::Null] {
            let read = of(&json!({table::WAIT_FOR_NAMES.annotation(): empty}), &defaults);
            assert_eq!((read.settings.wait_for_names.len(), read.errors.len()), (0, 0), "{empty}");
            let read = of(&json!({table::WAIT_TIMEOUT.annotation(): empty}), &defaults);
            assert_eq!((read.settings.wait_timeout.as_secs(), read.errors.len()), (2, 1), "{empty}");
        }
    }

    #[test]
    fn one_bad_element_invalidates_the_list() {
        let defaults = vec![default_of(&table::PREFETCH_NAMES, "db.prod")];
        let read = of(&json!({table::PREFETCH_NAMES.annotation(): "a.example, b c"}), &defaults);
        assert_eq!(read.settings.prefetch_names, ["db.prod"]);
        assert!(read.errors[0].to_string().contains("\"a.example, b c\": expected 1 to 32 domain names"));
    }

    #[test]
    fn forward_zone_that_hides_cluster_names_is_rejected() {
        let of_pod = json!({table::FORWARD_ZONES.annotation(): "a.k8s.example=10.0.0.1,b=c"});
        let of_namespace = json!({table::FORWARD_ZONES.annotation(): "cluster.local=10.0.0.1"});
        let read = read(of_pod.as_object(), of_namespace.as_object(), &Vec::new(), "k8s.example");
        let shown: Vec<_> = read.errors.iter().map(|error| error.text.as_str()).collect();
        assert_eq!(shown, ["a.k8s.example=10.0.0.1", "b=c"]);
        assert_eq!(
            read.settings.forward_zones[0].zone.as_str(),
            "cluster.local",
            "that is another cluster's"
        );
    }
}
