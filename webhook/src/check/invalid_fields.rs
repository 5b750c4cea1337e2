//! Finds relevant fields that an API server rejects: invalid metadata, values that are not strings, invalid
//! numbers of pods. Pure.

use podlocal_settings::read::SettingError;
use serde_json::Value;

use crate::documents::pod_templates::MULTIPLIERS;

/// The metadata fields that are strings.
const TEXTS: [&str; 3] = ["name", "generateName", "namespace"];

/// The metadata fields that are maps of strings.
const MAPS: [&str; 2] = ["labels", "annotations"];

/// The invalid numbers among the multipliers of `value`, which contains pod templates.
pub(super) fn of_numbers(value: &Value, place: &str, errors: &mut Vec<SettingError>) {
    let numbers = MULTIPLIERS.map(|name| (name, &value[name])).into_iter();
    let invalid = numbers.filter(|(_, number)| !number.is_null() && number.as_u64().is_none());
    errors.extend(invalid.map(|(name, number)| {
        let expected = "a whole number from 0; counted as 1";
        SettingError::new(format!("{place}.{name}"), &text(number), expected)
    }));
}

/// The invalid fields of metadata.
pub(super) fn of_metadata(metadata: &Value, place: &str, errors: &mut Vec<SettingError>) {
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
