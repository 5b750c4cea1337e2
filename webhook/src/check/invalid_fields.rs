//! Finds relevant fields that an API server rejects: invalid metadata, values that are not strings, invalid
//! numbers of pods. Pure.

use podlocal_settings::read::SettingError;
use serde_json::Value;

/// The metadata fields that are strings.
const TEXTS: [&str; 3] = ["name", "generateName", "namespace"];

/// The metadata fields that are maps of strings.
const MAPS: [&str; 2] = ["labels", "annotations"];

/// The fields whose number multiplies the pods below them.
pub(super) const MULTIPLIERS: [&str; 2] = ["replicas", "parallelism"];

/// All invalid fields in the metadata of the object and of its pod templates, and in the numbers of their
/// pods.
pub(crate) fn find_invalid_fields(object: &Value) -> Vec<SettingError> {
    let mut errors = Vec::new();
    of_metadata(&object["metadata"], "metadata", &mut errors);
    for part in ["spec", "template"] {
        walk(&object[part], part, &mut errors);
    }
    errors
}

/// Walks through `value`; returns whether it contains pod templates. Without a template below them,
/// `replicas` and `parallelism` may mean anything.
fn walk(value: &Value, place: &str, errors: &mut Vec<SettingError>) -> bool {
    match value {
        Value::Object(members) => {
            if is_template(place, value) {
                of_metadata(&value["metadata"], &format!("{place}.metadata"), errors);
                return true;
            }
            let mut has_pods = false;
            for (key, member) in members {
                has_pods |= walk(member, &format!("{place}.{key}"), errors);
            }
            for name in MULTIPLIERS.into_iter().filter(|_| has_pods) {
                let number = &value[name];
                if !number.is_null() && number.as_u64().is_none() {
                    let expected = "a whole number from 0; counted as 1";
                    errors.push(SettingError::new(format!("{place}.{name}"), &text(number), expected));
                }
            }
            has_pods
        }
        Value::Array(items) => {
            let mut has_pods = false;
            for (index, item) in items.iter().enumerate() {
                has_pods |= walk(item, &format!("{place}[{index}]"), errors);
            }
            has_pods
        }
        _ => false,
    }
}

/// Whether `value`, under the last key of `place`, is a pod template.
pub(super) fn is_template(place: &str, value: &Value) -> bool {
    place.to_ascii_lowercase().ends_with("template") && value["spec"]["containers"].is_array()
}

fn of_metadata(metadata: &Value, place: &str, errors: &mut Vec<SettingError>) {
    let mut wrong = |place: String, value: &Value, expected: String| {
        errors.push(SettingError::new(place, &text(value), expected));
    };
    if !metadata.is_null() && !metadata.is_object() {
        return wrong(place.to_owned(), metadata, "an object with name, labels and annotations".to_owned());
    }
    for name in TEXTS {
        let value = &metadata[name];
        if !value.is_null() && !value.is_string() {
            wrong(format!("{place}.{name}"), value, quoted(value));
        }
    }
    for map in MAPS {
        match &metadata[map] {
            Value::Null => {}
            Value::Object(members) => {
                let members = members.iter().filter(|(_, value)| !value.is_null() && !value.is_string());
                for (key, value) in members {
                    wrong(format!("{place}.{map} {key}"), value, quoted(value));
                }
            }
            other => wrong(format!("{place}.{map}"), other, "an object of strings".to_owned()),
        }
    }
}

fn quoted(value: &Value) -> String {
    if value.is_object() || value.is_array() {
        "a string".to_owned()
    } else {
        format!("a string: '{value}', with quotes")
    }
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn deployment(metadata: &Value, replicas: &Value, of_pod: &Value) -> Value {
        json!({"kind": "Deployment", "metadata": metadata, "spec": {
            "replicas": replicas, "template": {"metadata": of_pod, "spec": {"containers": [{"name": "a"}]}},
        }})
    }

    #[test]
    fn invalid_fields_are_reported_with_their_path() {
        let (fine, one) =
            (json!({"name": "a", "labels": {"a": "3", "b": null}, "annotations": null}), json!(1));
        for (metadata, replicas, of_pod, expected) in [
            (&fine, &one, &fine, ""),
            (&fine, &Value::Null, &Value::Null, ""),
            (
                &json!({"name": 3}),
                &one,
                &fine,
                "metadata.name: invalid value \"3\": expected a string: '3', with quotes",
            ),
            (
                &json!("x"),
                &one,
                &fine,
                "metadata: invalid value \"x\": expected an object with name, labels and annotations",
            ),
            (
                &json!({"labels": ["a"]}),
                &one,
                &fine,
                "metadata.labels: invalid value \"[\\\"a\\\"]\": expected an object of strings",
            ),
            (
                &fine,
                &one,
                &json!({"annotations": {"x.io/y": true}}),
                "spec.template.metadata.annotations x.io/y: invalid value \"true\": expected a string: 'true', with quotes",
            ),
            (
                &fine,
                &json!(-1),
                &fine,
                "spec.replicas: invalid value \"-1\": expected a whole number from 0; counted as 1",
            ),
            (
                &fine,
                &json!("3"),
                &fine,
                "spec.replicas: invalid value \"3\": expected a whole number from 0; counted as 1",
            ),
            (
                &fine,
                &json!(1.5),
                &fine,
                "spec.replicas: invalid value \"1.5\": expected a whole number from 0; counted as 1",
            ),
        ] {
            let found: Vec<_> = find_invalid_fields(&deployment(metadata, replicas, of_pod))
                .iter()
                .map(ToString::to_string)
                .collect();
            assert_eq!(found.join("; "), expected);
        }
    }

    #[test]
    fn numbers_that_multiply_no_pods_may_be_anything() {
        let other = json!({"kind": "Scaler", "metadata": {}, "spec": {"replicas": "many", "list": [{"parallelism": []}]}});
        assert_eq!(find_invalid_fields(&other), []);
    }
}
