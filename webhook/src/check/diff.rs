//! Formats the operations on a pod as a diff. Pure.

use json_patch::{Patch, PatchOperation};
use serde_json::Value;

use crate::documents::yaml;

/// One line for each removed (`-`) or added (`+`) line of YAML, below its path.
pub(crate) fn lines(pod: &Value, patch: &Patch) -> Vec<String> {
    let mut pod = pod.clone();
    let mut lines = Vec::new();
    for operation in &patch.0 {
        let path = operation.path().to_string();
        match operation {
            PatchOperation::Add(add) => lines.extend(marked('+', &path, &add.value)),
            PatchOperation::Replace(replace) => {
                lines.extend(pod.pointer(&path).into_iter().flat_map(|old| marked('-', &path, old)));
                lines.extend(marked('+', &path, &replace.value));
            }
            PatchOperation::Move(other) => {
                lines.push(format!("~ {} -> {}", shown(&other.from.to_string()), shown(&path)));
            }
            other => lines.push(format!("~ {other}")),
        }
        // The operations apply, because they were recorded in this order.
        let _ = json_patch::patch(&mut pod, std::slice::from_ref(operation));
    }
    lines
}

/// The path and its value: a scalar on the same line, anything else below.
fn marked(mark: char, path: &str, value: &Value) -> Vec<String> {
    let text = yaml::write(value).unwrap_or_else(|_| value.to_string());
    let path = shown(path);
    if !value.is_object() && !value.is_array() {
        return vec![format!("{mark} {path}: {}", text.trim_end())];
    }
    let below = text.lines().map(|line| format!("{mark}   {line}"));
    std::iter::once(format!("{mark} {path}:")).chain(below).collect()
}

/// A JSON pointer (RFC 6901) without escapes.
fn shown(pointer: &str) -> String {
    pointer.replace("~1", "/").replace("~0", "~")
}
