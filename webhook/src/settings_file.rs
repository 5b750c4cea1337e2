//! The cluster-wide defaults of the pods' settings: a YAML map of `name: value`.

use std::path::Path;

use podlocal_settings::read::{self, Given, Mistake};
use podlocal_settings::table::{self, Setting};
use serde_json::Value;

use crate::annotations::Defaults;
use crate::yaml;

/// The settings of a file, and the mistakes in them; or why the file cannot be read.
pub fn read(
    file: &Path,
    read_file: &impl Fn(&Path) -> std::io::Result<String>,
) -> Result<(Defaults, Vec<String>), String> {
    let name = file.display();
    let text = read_file(file).map_err(|error| format!("--settings {name}: {error}"))?;
    let documents = yaml::read(&text).map_err(|error| format!("--settings {name}: {error}"))?;
    let entries = match documents.as_slice() {
        [] => return Ok((Defaults::new(), Vec::new())),
        [Value::Object(entries)] => entries,
        _ => return Err(format!("--settings {name}: expected one map of name: value")),
    };
    let mut defaults = Defaults::new();
    let mut mistakes = Vec::new();
    for (key, value) in entries {
        let text = match value {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        let given = Given { origin: format!("{name}: {key}"), text };
        if let Some(setting) = table::find(key, Setting::is_annotation) {
            defaults.push((setting, given));
        } else {
            let mistake = Mistake::new(given.origin, &given.text, "the name of a setting of pods");
            mistakes.push(mistake.to_string());
        }
    }
    let read = read::read(|setting| {
        let of_setting = defaults.iter().filter(|(other, _)| *other == setting);
        of_setting.map(|(_, given)| given.clone()).collect()
    });
    mistakes.extend(read.mistakes.iter().map(ToString::to_string));
    Ok((defaults, mistakes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Result<(Defaults, Vec<String>), String> {
        read(Path::new("s.yaml"), &|_: &Path| Ok(text.to_owned()))
    }

    #[test]
    fn bare_numbers_and_booleans_are_taken_as_they_are_written() {
        let (ndots, fallback) = (table::NDOTS.name, table::FALLBACK_NAMESERVER.name);
        let (defaults, mistakes) = of(&format!("{ndots}: 3\n{fallback}: true\n")).expect("reads");
        let texts: Vec<_> = defaults.iter().map(|(_, given)| given.text.as_str()).collect();
        assert_eq!((texts, mistakes), (vec!["3", "true"], Vec::new()));
    }

    #[test]
    fn every_mistake_is_named_with_file_and_setting() {
        let (_, mistakes) =
            of(&format!("{}: many\n{}: a.b\n", table::NDOTS.name, table::ZONE.name)).expect("reads");
        assert_eq!(
            mistakes,
            [
                "s.yaml: zone: \"a.b\": expected the name of a setting of pods",
                "s.yaml: ndots: \"many\": expected a whole number",
            ]
        );
    }

    #[test]
    fn an_empty_file_has_no_settings_and_a_list_is_none() {
        assert_eq!(of("# nothing\n"), Ok((Vec::new(), Vec::new())));
        assert!(of("- a\n").is_err() && of("a: 1\n---\nb: 2\n").is_err());
    }
}
