//! Reads the files that the commands `inject` and `check` name, and rejects documents that are no objects.

use std::io::Read as _;
use std::path::Path;

use serde_json::Value;

/// The text of a file; `-` is standard input.
pub(crate) fn read(file: &Path) -> std::io::Result<String> {
    if !is_standard_input(file) {
        return std::fs::read_to_string(file);
    }
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text)?;
    Ok(text)
}

/// Whether the path means standard input.
pub(crate) fn is_standard_input(file: &Path) -> bool {
    file == "-"
}

/// Checks that a document, and every item of a List, is an object. `Err` names the item and what was
/// expected.
pub(crate) fn expect_objects(document: &Value) -> Result<(), String> {
    let wrong = |place: &str, value: &Value| {
        let what = match value {
            Value::Null => "null",
            Value::Bool(_) => "a boolean",
            Value::Number(_) => "a number",
            Value::String(_) => "a string",
            Value::Array(_) => "a list",
            Value::Object(_) => return Ok(()),
        };
        Err(format!("{place}expected an object with apiVersion and kind, found {what}"))
    };
    wrong("", document)?;
    let is_list = document["kind"].as_str().is_some_and(|kind| kind.ends_with("List"));
    let items = document["items"].as_array().filter(|_| is_list);
    let mut items = items.into_iter().flatten().enumerate();
    items.try_for_each(|(index, item)| wrong(&format!("item {}: ", index + 1), item))
}
