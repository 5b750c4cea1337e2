//! The reasons for which a pod is not injected, as labels and as sentences, and the next steps. Pure.

use podlocal_settings::names::{INJECT_ENABLED, INJECT_LABEL};

use crate::review::skip::Skip;

/// Why a pod does not get the sidecar.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Reason {
    /// Neither the pod nor its namespace is opted in.
    NotOptedIn,
    /// The webhook configuration excludes its namespace.
    NamespaceExcluded,
    /// The webhook skips it.
    Skipped(Skip),
    /// It is not a valid pod; the webhook allows it unchanged.
    Malformed,
}

impl Reason {
    /// The stable label: the same as that of the webhook, if it has one.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::NotOptedIn => "not_opted_in",
            Self::NamespaceExcluded => "namespace_excluded",
            Self::Skipped(skip) => skip.label(),
            Self::Malformed => "malformed",
        }
    }

    /// The sentence for users; it completes "not: ".
    pub(crate) fn sentence(self) -> &'static str {
        match self {
            Self::NotOptedIn => "neither the namespace nor the pod is opted in",
            Self::NamespaceExcluded => {
                "the webhook configuration excludes the namespace, whatever its labels are"
            }
            Self::Skipped(skip) => skip.sentence(),
            Self::Malformed => "it is not a valid pod, and the API server would refuse it",
        }
    }

    /// What to do if this is not intended.
    pub(crate) fn next_step(self) -> String {
        match self {
            Self::NotOptedIn => {
                format!(
                    "kubectl label namespace NAME {INJECT_LABEL}={INJECT_ENABLED}; to see the effect before that: --as-if-enabled"
                )
            }
            Self::NamespaceExcluded => {
                "none: the cluster must be able to start without the webhook".to_owned()
            }
            Self::Malformed => {
                "correct the document; `kubectl apply --dry-run=server` shows the error".to_owned()
            }
            Self::Skipped(skip) => skip.next_step(),
        }
    }

    /// Whether the pod was opted in but is not injected.
    pub(crate) fn is_unexpected(self) -> bool {
        match self {
            Self::NotOptedIn | Self::NamespaceExcluded => false,
            Self::Skipped(skip) => skip.is_unexpected(),
            Self::Malformed => true,
        }
    }

    /// Whether the pod is not opted in.
    pub(crate) fn is_not_opted_in(self) -> bool {
        matches!(self, Self::NotOptedIn | Self::NamespaceExcluded)
    }
}
