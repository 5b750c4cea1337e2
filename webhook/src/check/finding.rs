//! The findings about the installation, which the report lists. Pure.

use super::api::Unseen;

/// The result for one item of the installation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    /// The state of the item.
    pub(crate) state: State,
    /// The item with its details.
    pub(crate) what: String,
    /// What the user can do about it.
    pub(crate) next: Option<String>,
}

/// The state of an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// It is as expected.
    Ok,
    /// It prevents injection or impairs it.
    Problem,
    /// It could not be determined.
    Unknown,
}

impl State {
    /// The name in the report.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Problem => "problem",
            Self::Unknown => "unknown",
        }
    }
}

impl Finding {
    pub(super) fn ok(what: impl Into<String>) -> Self {
        Self { state: State::Ok, what: what.into(), next: None }
    }

    pub(super) fn problem(what: impl Into<String>, next: impl Into<String>) -> Self {
        Self { state: State::Problem, what: what.into(), next: Some(next.into()) }
    }

    pub(super) fn unknown(what: impl Into<String>, next: impl Into<String>) -> Self {
        Self { state: State::Unknown, what: what.into(), next: Some(next.into()) }
    }

    pub(super) fn absent_namespace(name: &str) -> Self {
        Self::problem(format!("namespace {name} not found"), "kubectl get namespaces")
    }

    /// The finding for an item that could not be read.
    pub(super) fn unseen(what: &str, unseen: &Unseen) -> Self {
        match unseen {
            Unseen::Absent => Self::problem(format!("{what}: not found"), "create it"),
            Unseen::Forbidden(permission) => Self::unknown(
                format!("{what}: no permission to read"),
                format!("ask for this permission: kubectl auth can-i {permission}"),
            ),
            Unseen::Failed(why) => Self::unknown(format!("{what}: {why}"), "try again"),
        }
    }
}
