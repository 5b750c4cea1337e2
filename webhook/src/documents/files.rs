//! Reads the files that the commands `inject` and `check` name, and rejects documents that are no objects.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::split::{self, Document};
use super::yaml;

/// The documents of the files, with the name of the file of each. The second list has a line for each file or
/// document that cannot be read.
pub(crate) fn read_all(files: &[PathBuf]) -> (Vec<(String, Document)>, Vec<String>) {
    let (mut documents, mut unreadable) = (Vec::new(), Vec::new());
    for file in files {
        let name = name(file);
        let text = read(file).map_err(|error| error.to_string());
        let parse = |text: &str| split::read(text).map_err(|error| format!("{error}{}", yaml::hint(text)));
        let read = text.and_then(|text| parse(&text)).map_err(|error| format!("{name}: {error}"));
        unreadable.extend(read.as_ref().err().cloned());
        for document in read.unwrap_or_default() {
            match expect_objects(&document.value) {
                Ok(()) => documents.push((name.clone(), document)),
                Err(error) => unreadable.push(format!("{name}: {}: {error}", document.place())),
            }
        }
    }
    (documents, unreadable)
}

/// The name of a file in messages; `-` is standard input.
pub(crate) fn name(file: &Path) -> String {
    if file == "-" { "standard input".to_owned() } else { file.display().to_string() }
}

fn read(file: &Path) -> std::io::Result<String> {
    if file != "-" {
        return std::fs::read_to_string(file);
    }
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text)?;
    Ok(text)
}

/// Checks that a document, and every item of a List, is an object. `Err` names the item and what was
/// expected.
fn expect_objects(document: &Value) -> Result<(), String> {
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
