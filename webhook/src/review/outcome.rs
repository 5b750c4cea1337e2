//! The outcomes of a review: labels of a metric, fields of a log line. Pure.

use super::skip::Skip;

/// The outcome of a review.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ReviewOutcome {
    /// A decision was made about the pod.
    Done(Outcome),
    /// The webhook failed; the pod is allowed unchanged.
    Failed(FailureReason),
}

/// Why the webhook failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "`Failure` has a sentence for each")]
pub enum FailureReason {
    InvalidJson,
    InvalidReview,
    UnexpectedRequest,
    PatchFailed,
    TooLarge,
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

impl FailureReason {
    /// Every reason.
    pub const ALL: [Self; 5] =
        [Self::InvalidJson, Self::InvalidReview, Self::UnexpectedRequest, Self::PatchFailed, Self::TooLarge];

    /// The stable name in metric labels and log fields.
    pub fn label(self) -> &'static str {
        match self {
            Self::InvalidJson => "invalid_json",
            Self::InvalidReview => "invalid_review",
            Self::UnexpectedRequest => "unexpected_request",
            Self::PatchFailed => "patch_failed",
            Self::TooLarge => "too_large",
        }
    }
}

impl ReviewOutcome {
    /// Every possible outcome.
    pub fn all() -> impl Iterator<Item = Self> {
        Outcome::all().map(Self::Done).chain(FailureReason::ALL.map(Self::Failed))
    }

    /// The decision and its reason: labels of a metric, fields of a log line.
    pub fn labels(self) -> (&'static str, &'static str) {
        match self {
            Self::Done(outcome) => outcome.labels(),
            Self::Failed(reason) => ("failed", reason.label()),
        }
    }
}

impl Outcome {
    /// Every outcome there is.
    pub fn all() -> impl Iterator<Item = Self> {
        [Self::Injected, Self::Moved, Self::Corrected, Self::Restored]
            .into_iter()
            .chain(Skip::ALL.map(Self::Skipped))
    }

    /// The decision and its reason: labels of a metric, fields of a log line.
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
