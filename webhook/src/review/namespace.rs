//! The namespace of a pod, as far as a decision depends on it. Pure.

use podlocal_settings::names::ANNOTATION_PREFIX;
use serde_json::{Map, Value};

/// The namespace of a pod.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Namespace {
    /// Its name, from the review; a pod that a controller creates often does not contain it.
    pub name: String,
    /// Its annotations, which are the defaults for its pods.
    pub annotations: Map<String, Value>,
}

/// The annotation by which OpenShift's SecurityContextConstraints assign users to the containers of a
/// namespace (`openshift/apiserver-library-go/pkg/securitycontextconstraints`).
pub(crate) const UID_RANGE: &str = "openshift.io/sa.scc.uid-range";

/// Whether a decision depends on this annotation of a namespace: a setting, or the UID range of OpenShift.
pub(crate) fn concerns_us(key: &str) -> bool {
    key.starts_with(ANNOTATION_PREFIX) || key == UID_RANGE
}
