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

#[cfg(test)]
mod tests {
    use super::*;
    use podlocal_settings::table;
    use serde_json::json;

    #[test]
    fn metadata_on_the_workload_only_is_reported() {
        let ours = json!({"labels": {INJECT_LABEL: "enabled", "app": "x"}, "annotations": {table::NDOTS.annotation(): "1"}});
        let plain = json!({"labels": {"app": "x"}, "annotations": {STATUS_ANNOTATION: "injected", "a": "b"}});
        for (kind, own, of_jobs, of_pod, expected) in [
            ("Deployment", &ours, &plain, &plain, 2),
            ("Deployment", &ours, &plain, &Value::Null, 2),
            ("Deployment", &ours, &plain, &ours, 0),
            ("Deployment", &plain, &plain, &ours, 0),
            ("CronJob", &plain, &ours, &plain, 2),
            ("Pod", &ours, &plain, &plain, 0),
        ] {
            let object =
                json!({"kind": kind, "metadata": own, "spec": {"jobTemplate": {"metadata": of_jobs}}});
            let found = find_misplaced(&object, &json!({"metadata": of_pod}), Some("/spec/template"));
            assert_eq!(found.len(), expected, "{object} {found:?}");
        }
    }

    #[test]
    fn misplaced_metadata_error_names_the_right_place() {
        let object = json!({"kind": "Deployment", "metadata": {"labels": {INJECT_LABEL: "enabled"}}});
        let found = |path| find_misplaced(&object, &json!({}), path)[0].to_string();
        assert_eq!(
            found(Some("/spec/template")),
            "label podlocal-dns.io/inject of the Deployment itself: expected it in spec.template.metadata; here it has \
             no effect"
        );
        assert!(found(None).contains("the metadata of its pod template"), "{}", found(None));
    }
}
