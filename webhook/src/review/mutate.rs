//! Decides about one pod and edits it, from a review or from a file. Pure.

use json_patch::Patch;
use podlocal_settings::read::SettingError;
use serde_json::Value;

use super::annotations::Defaults;
use super::cluster_state::Cluster;
use super::decide::{self, Decision};
use super::inject;
use super::namespace::Namespace;
use super::nested_runtime;
use super::outcome::Outcome;
use super::patch::{Builder, Error};
use super::skip::Skip;

/// What the operator has set for all pods.
#[derive(Debug, Clone)]
pub struct Policy {
    /// The sidecar's image.
    pub image: String,
    /// The cluster-wide defaults of the pods' settings.
    pub defaults: Defaults,
}

/// The result for one pod.
#[derive(Debug)]
pub struct Mutation {
    /// Whether and how the pod was changed.
    pub outcome: Outcome,
    /// The edited pod.
    pub pod: Value,
    /// The operations that lead to it; empty if nothing changes.
    pub patch: Patch,
    /// The settings that were ignored.
    pub(crate) ignored: Vec<SettingError>,
}

/// Decides about `pod` of `namespace`, and edits it. An error means that it is not a valid pod; then it is
/// not edited.
pub fn mutate(
    pod: &Value,
    namespace: &Namespace,
    cluster: &Cluster,
    policy: &Policy,
) -> Result<Mutation, Error> {
    let mut builder = Builder::new(pod);
    let mut ignored = Vec::from_iter(decide::label_error(pod));
    let outcome = match decide::decide(pod, namespace, cluster, &policy.defaults) {
        Decision::Inject(plan) => {
            inject::inject(&mut builder, &plan, &policy.image)?;
            ignored.extend(inject::ignored(&plan).cloned());
            Outcome::Injected
        }
        Decision::Correct { from, corrections } => {
            inject::correct(&mut builder, from, &corrections)?;
            if from > 0 { Outcome::Moved } else { Outcome::Corrected }
        }
        Decision::Replace { from, without } => {
            match decide::decide(&without, namespace, cluster, &policy.defaults) {
                Decision::Inject(plan) => {
                    inject::replace(&mut builder, from, &plan, &policy.image)?;
                    ignored.extend(inject::ignored(&plan).cloned());
                    Outcome::Restored
                }
                _ => Outcome::Skipped(Skip::AlreadyInjected),
            }
        }
        Decision::Skip(skip) => Outcome::Skipped(skip),
    };
    let (pod, patch) = builder.finish();
    Ok(Mutation { outcome, pod, patch, ignored })
}

impl Mutation {
    /// The warning about what may not work in the injected pod.
    pub(crate) fn nested_runtime_warning(&self) -> Option<&'static str> {
        let has_sidecar = matches!(self.outcome, Outcome::Injected | Outcome::Restored);
        (has_sidecar && nested_runtime::is_likely(&self.pod)).then_some(nested_runtime::WARNING)
    }

    /// The warnings for the user, one sentence each.
    pub(crate) fn warnings(&self) -> Vec<String> {
        let skipped = match self.outcome {
            Outcome::Skipped(skip) if skip.is_unexpected() => {
                Some(format!("not injected: {}", skip.sentence()))
            }
            _ => None,
        };
        let ignored = self.ignored.iter().map(|error| format!("ignored {error}"));
        let note = self.nested_runtime_warning().map(ToOwned::to_owned);
        skipped.into_iter().chain(ignored).chain(note).collect()
    }
}
