//! Finds labels and annotations of the project that have no effect: on the workload and not on its pod
//! template. Pure.
//!
//! The API server sends only pods to the webhook, and a controller gives a pod the metadata of the pod
//! template, not its own.

use podlocal_settings::names::{ANNOTATION_PREFIX, INJECT_LABEL, STATUS_ANNOTATION};
use podlocal_settings::read::SettingError;
use serde_json::Value;

/// The labels and annotations on `object`, for example a Deployment, or on the Jobs of a CronJob, that `pod`,
/// its template, does not have. `path` is the JSON pointer to the template, if known. It is not an error if
/// the template repeats them, as kustomize does with labels.
pub(crate) fn find_misplaced(object: &Value, pod: &Value, path: Option<&str>) -> Vec<SettingError> {
    let kind = object["kind"].as_str().unwrap_or("object");
    if kind == "Pod" {
        return Vec::new();
    }
    let target = match path {
        Some(path) => format!("{}.metadata", path.trim_start_matches('/').replace('/', ".")),
        None => "the metadata of its pod template".to_owned(),
    };
    let holders = [
        (format!("the {kind} itself"), &object["metadata"]),
        (format!("the {kind}'s jobTemplate"), &object["spec"]["jobTemplate"]["metadata"]),
    ];
    let mut errors = Vec::new();
    for (holder, metadata) in holders {
        for (sort, members) in [("label", "labels"), ("annotation", "annotations")] {
            for (key, value) in metadata[members].as_object().into_iter().flatten() {
                let is_ours = match sort {
                    "label" => key == INJECT_LABEL,
                    _ => key.starts_with(ANNOTATION_PREFIX) && key != STATUS_ANNOTATION,
                };
                if !is_ours || pod["metadata"][members].get(key).is_some() {
                    continue;
                }
                let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                let expected = format!("it in {target}; here it has no effect");
                errors.push(SettingError::of_name(format!("{sort} {key} of {holder}"), &text, expected));
            }
        }
    }
    errors
}
