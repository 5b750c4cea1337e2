//! The files of the manifests. The tests of `tests/cluster/install` render and install them.

#![allow(dead_code, reason = "each test program uses its part")]

use std::path::{Path, PathBuf};

use podlocal_webhook::documents::yaml;
use serde_json::Value;

pub(crate) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../manifests")
}

/// The objects in a file, for example of `base/deployment`.
pub(crate) fn objects(file: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(folder().join(file).with_extension("yaml"));
    let text = text.unwrap_or_else(|error| panic!("{file}: {error}"));
    yaml::read(&text).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// The one object in a file.
pub(crate) fn object(file: &str) -> Value {
    let mut objects = objects(file);
    assert_eq!(objects.len(), 1, "{file}");
    objects.remove(0)
}

/// Asserts that a label selector selects pods with these labels.
pub(crate) fn assert_selects(selector: &Value, labels: &Value) {
    let selector = selector.as_object().expect("labels");
    assert!(
        !selector.is_empty() && selector.iter().all(|(key, value)| labels[key] == *value),
        "{selector:?}"
    );
}

pub(crate) fn text(value: &Value) -> String {
    value.as_str().expect("a text").to_owned()
}
