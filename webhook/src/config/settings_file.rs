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
