//! The outcomes of a review: labels of a metric, fields of a log line. Pure.

use podlocal_telemetry::{Labels, named};

use super::skip::Skip;

/// The outcome of a review.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ReviewOutcome {
    /// A decision was made about the pod.
    Done(Outcome),
    /// The webhook failed; the pod is allowed unchanged.
    Failed(FailureReason),
}

/// Whether and how a pod was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The sidecar was added.
    Injected,
    /// The sidecar was moved back to the front of the init containers.
    Moved,
    /// The sidecar got the search list and `ndots` that another webhook has changed.
    Corrected,
    /// The sidecar came from another namespace or cluster and was replaced.
    Restored,
    /// The pod is unchanged.
    Skipped(Skip),
}

named! {
    /// Why the webhook failed.
    #[allow(missing_docs, reason = "`Failure` of the module `admission` has a sentence for each")]
    pub enum FailureReason {
        InvalidJson = "invalid_json",
        InvalidReview = "invalid_review",
        UnexpectedRequest = "unexpected_request",
        PatchFailed = "patch_failed",
        TooLarge = "too_large",
    }
}

impl ReviewOutcome {
    /// The decision and its reason.
    pub fn labels(self) -> (&'static str, &'static str) {
        match self {
            Self::Done(outcome) => outcome.labels(),
            Self::Failed(reason) => ("failed", reason.label()),
        }
    }
}

impl Labels for ReviewOutcome {
    fn all() -> impl Iterator<Item = Self> {
        Outcome::all().map(Self::Done).chain(FailureReason::ALL.iter().copied().map(Self::Failed))
    }

    fn pairs(self) -> Vec<(&'static str, &'static str)> {
        let (decision, reason) = self.labels();
        vec![("decision", decision), ("reason", reason)]
    }
}

impl Outcome {
    /// Every outcome there is.
    pub fn all() -> impl Iterator<Item = Self> {
        [Self::Injected, Self::Moved, Self::Corrected, Self::Restored]
            .into_iter()
            .chain(Skip::ALL.iter().copied().map(Self::Skipped))
    }

    /// The decision and its reason.
    pub fn labels(self) -> (&'static str, &'static str) {
        match self {
            Self::Injected => ("injected", "new_pod"),
            Self::Moved => ("injected", "sidecar_not_first"),
            Self::Corrected => ("injected", "dns_config_changed"),
            Self::Restored => ("injected", "restored_or_copied"),
            Self::Skipped(skip) => ("skipped", skip.label()),
        }
    }
}
