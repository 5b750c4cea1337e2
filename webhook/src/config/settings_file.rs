//! The cluster-wide defaults of the pods' settings: a YAML map of `name: value`.

use std::path::Path;

use podlocal_settings::read::{self, Given, SettingError};
use podlocal_settings::table::{self, Setting};
use serde_json::Value;

use crate::documents::yaml;
use crate::review::annotations::{Defaults, text_of};

/// The settings in a file and the errors in them, or why the file cannot be read.
pub(super) fn read(
    file: &Path,
    read_file: &impl Fn(&Path) -> std::io::Result<String>,
) -> Result<(Defaults, Vec<String>), String> {
    let name = file.display();
    let text = read_file(file).map_err(|error| format!("cannot read --settings {name}: {error}"))?;
    let documents = yaml::read(&text).map_err(|error| format!("cannot read --settings {name}: {error}"))?;
    let entries = match documents.as_slice() {
        [] => return Ok((Defaults::new(), Vec::new())),
        [Value::Object(entries)] => entries,
        _ => return Err(format!("--settings {name}: expected one YAML map of setting names to values")),
    };
    let mut defaults = Defaults::new();
    let mut errors = Vec::new();
    for (key, value) in entries {
        let origin = format!("{name}: {key}");
        if let Some(setting) = table::find(key, Setting::is_annotation) {
            let text = match value {
                Value::Array(elements) if setting.is_list() => {
                    elements.iter().map(text_of).collect::<Vec<_>>().join(",")
                }
                other => text_of(other),
            };
            defaults.push((setting, Given { origin, text }));
        } else {
            let error = SettingError::of_name(origin, &text_of(value), "the name of a pod setting");
            errors.push(error.to_string());
        }
    }
    let read = read::read(|setting| {
        let of_setting = defaults.iter().filter(|(other, _)| *other == setting);
        of_setting.map(|(_, given)| given.clone()).collect()
    });
    errors.extend(read.errors.iter().map(ToString::to_string));
    Ok((defaults, errors))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Result<(Defaults, Vec<String>), String> {
        read(Path::new("s.yaml"), &|_: &Path| Ok(text.to_owned()))
    }

    #[test]
    fn bare_numbers_and_booleans_are_accepted_literally() {
        let (ndots, fallback) = (table::NDOTS.name, table::FALLBACK_NAMESERVER.name);
        let (defaults, errors) = of(&format!("{ndots}: 3\n{fallback}: true\n")).expect("reads");
        let texts: Vec<_> = defaults.iter().map(|(_, given)| given.text.as_str()).collect();
        assert_eq!((texts, errors), (vec!["3", "true"], Vec::new()));
    }

    #[test]
    fn yaml_list_is_accepted_only_for_list_settings() {
        let (prefetch, patient) = (table::PREFETCH_NAMES.name, table::WAIT_FOR_NAMES.name);
        let text = format!("{prefetch}: [db.prod, www.example.com]\n{patient}:\n- '*.workers'\n");
        let (defaults, errors) = of(&text).expect("reads");
        let texts: Vec<_> = defaults.iter().map(|(_, given)| given.text.as_str()).collect();
        assert_eq!((texts, errors), (vec!["db.prod,www.example.com", "*.workers"], Vec::new()));
        for refused in [format!("{prefetch}: [a, null]"), format!("{}: [2]", table::NDOTS.name)] {
            assert_eq!(of(&refused).expect("reads").1.len(), 1, "{refused}");
        }
    }

    #[test]
    fn key_without_value_is_an_empty_list_or_an_error() {
        assert_eq!(of(&format!("{}:\n", table::WAIT_FOR_NAMES.name)).expect("reads").1, [""; 0]);
        assert_eq!(of(&format!("{}:\n", table::WAIT_TIMEOUT.name)).expect("reads").1.len(), 1);
    }

    #[test]
    fn setting_errors_name_file_and_setting() {
        let (_, errors) = of(&format!("{}: many\n{}: a.b\n", table::NDOTS.name, table::CLUSTER_DOMAIN.name))
            .expect("reads");
        assert_eq!(
            errors,
            [
                "s.yaml: cluster-domain: expected the name of a pod setting",
                "s.yaml: ndots: invalid value \"many\": expected a whole number",
            ]
        );
    }

    #[test]
    fn empty_file_is_valid_and_top_level_list_is_not() {
        assert_eq!(of("# nothing\n"), Ok((Vec::new(), Vec::new())));
        assert!(of("- a\n").is_err() && of("a: 1\n---\nb: 2\n").is_err());
    }
}
