//! Whether a pod is for Windows. Pure.

use serde_json::Value;

/// The node labels with the operating system; the second one is from before Kubernetes 1.14.
pub(crate) const OS_LABELS: [&str; 2] = ["kubernetes.io/os", "beta.kubernetes.io/os"];

/// The label that only Windows nodes have.
pub(crate) const WINDOWS_BUILD_LABEL: &str = "node.kubernetes.io/windows-build";

/// The field of a node affinity with the required terms.
pub(crate) const REQUIRED_AFFINITY: &str = "requiredDuringSchedulingIgnoredDuringExecution";

/// Whether a pod with this spec can run on Windows nodes only. The first matching line applies:
///
/// | the spec | Windows |
/// |---|---|
/// | `os.name` | if it is `windows` |
/// | `windowsOptions` of the pod or of a container | yes: the API server rejects them with `os.name: linux` |
/// | node selector: an OS label `windows`, or a Windows build | yes |
/// | required node affinity: each of the terms requires Windows | yes; the terms are alternatives |
/// | anything else, such as a toleration or a preferred affinity | no |
///
/// The admission plugin of RuntimeClass has merged its node selector into the pod before webhooks are called.
pub(super) fn is_windows(spec: &Value) -> bool {
    match spec["os"]["name"].as_str() {
        Some(name) => name == "windows",
        None => has_windows_options(spec) || selects_windows(&spec["nodeSelector"]) || has_affinity(spec),
    }
}

fn has_windows_options(spec: &Value) -> bool {
    let lists = ["initContainers", "containers"].map(|list| spec[list].as_array().into_iter().flatten());
    let mut holders = lists.into_iter().flatten().chain([spec]);
    holders.any(|holder| {
        let options = holder["securityContext"]["windowsOptions"].as_object();
        options.is_some_and(|options| options.values().any(|option| !option.is_null()))
    })
}

fn selects_windows(selector: &Value) -> bool {
    OS_LABELS.iter().any(|label| selector[label] == "windows") || !selector[WINDOWS_BUILD_LABEL].is_null()
}

fn has_affinity(spec: &Value) -> bool {
    let required = &spec["affinity"]["nodeAffinity"][REQUIRED_AFFINITY];
    let terms = required["nodeSelectorTerms"].as_array().map(Vec::as_slice).unwrap_or_default();
    !terms.is_empty() && terms.iter().all(asks_for_windows)
}

/// Whether one of the expressions of a term, all of which must hold, matches Windows nodes only.
fn asks_for_windows(term: &Value) -> bool {
    let mut expressions = term["matchExpressions"].as_array().into_iter().flatten();
    expressions.any(|expression| {
        let (key, operator) = (expression["key"].as_str(), expression["operator"].as_str());
        let values = expression["values"].as_array().map(Vec::as_slice).unwrap_or_default();
        match (key.unwrap_or_default(), operator.unwrap_or_default()) {
            (key, "In") if OS_LABELS.contains(&key) => {
                !values.is_empty() && values.iter().all(|value| value == "windows")
            }
            (key, "NotIn") if OS_LABELS.contains(&key) => values.iter().any(|value| value == "linux"),
            (WINDOWS_BUILD_LABEL, operator) => ["In", "Exists", "Gt", "Lt"].contains(&operator),
            _ => false,
        }
    })
}
