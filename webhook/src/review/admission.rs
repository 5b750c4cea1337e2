//! Turns the bytes of an AdmissionReview into the bytes of its response (`admission.k8s.io/v1`).
//!
//! **Only this module decides what a failure of the webhook means for a pod:** the pod is allowed unchanged.
//! A review that cannot be read, or a pod that cannot be edited, is answered `allowed` with a warning. The
//! pod then has the DNS that it has without the webhook. `failurePolicy: Ignore` does the same while the
//! webhook does not answer.
//!
//! Any client that reaches the port may have written the review. So its memory is limited ([`memory`]), and
//! only validated names from it appear outside of its own response.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Map, Value, json};

use super::cluster_state::Cluster;
use super::mutate::{Mutation, Policy, mutate};
use super::names;
use super::namespace::Namespace;
use super::notice::Notice;
use super::outcome::{FailureReason, ReviewOutcome};
use super::patch;

mod read;

pub(crate) use read::MOST_STORED;

/// The maximum length of a warning, in characters; the API server truncates longer ones
/// (`kubernetes/staging/src/k8s.io/api/admission/v1`, `AdmissionResponse.Warnings`).
const LONGEST_WARNING: usize = 256;

/// The maximum number of warnings in one response; the API server keeps 4096 characters in total.
const MOST_WARNINGS: usize = 16;

/// The largest response, in bytes: a connection may hold it until the client reads it. A typical one has 5
/// KiB; with every setting at its longest value it has 40 KiB.
pub const LARGEST_ANSWER: usize = 64 << 10;

/// The longest uid, in bytes. The API server's have 36 characters.
const LONGEST_UID: usize = 256;

const API_VERSION: &str = "admission.k8s.io/v1";

/// The result of a review.
#[derive(Debug)]
pub struct Reviewed {
    /// The body of the HTTP response.
    pub body: Vec<u8>,
    /// The result of the review.
    pub outcome: ReviewOutcome,
    /// The number of ignored settings of the pod.
    pub(crate) ignored: usize,
    /// The namespace of the pod; empty if it could not be read or is not a valid name.
    pub namespace: String,
    /// The pod's name or `generateName`; empty in the same cases.
    pub name: String,
    /// The notice for the owner of the pod. `None` also for a dry run, which must have no side effects.
    pub(crate) notice: Option<Notice>,
}

/// The failures behind [`FailureReason`], with details for the warning and the log.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("the request body is not valid JSON: {0}")]
    Json(serde_json::Error),
    #[error("not injected: the pod is too large: {0}")]
    TooLarge(String),
    #[error("expected an AdmissionReview of {API_VERSION} with a request, got {got}")]
    Review { got: String },
    #[error("expected the creation of a pod, got {got}")]
    Request { got: String },
    #[error("{0}")]
    Edit(#[from] patch::Error),
}

/// Answers a review. `annotations_of` returns the known annotations of a namespace.
pub fn review(
    body: &[u8],
    annotations_of: impl Fn(&str) -> Map<String, Value>,
    cluster: &Cluster,
    policy: &Policy,
) -> Reviewed {
    let read::Read { review, result } = read::read(body);
    let request = &review["request"];
    let result = result.map_err(Failure::from).and_then(|()| check(&review)).and_then(|()| {
        let name = text(&request["namespace"]).to_owned();
        let namespace = Namespace { annotations: annotations_of(&name), name };
        Ok(mutate(&request["object"], &namespace, cluster, policy)?)
    });
    answered(request, &result)
}

/// Answers a review of more than `limit` bytes, of which only the beginning was kept.
pub(crate) fn too_large(beginning: &[u8], limit: usize) -> Reviewed {
    let read::Read { review, .. } = read::read(beginning);
    let why = format!("its admission review has more than {} MiB", limit >> 20);
    answered(&review["request"], &Err(Failure::TooLarge(why)))
}

/// The most memory, in bytes, that answering a review of `length` bytes takes in addition to these bytes.
///
/// A string with escapes is unescaped into a buffer that grows by doubling. The stored fields may exist in
/// the pod, in the edited pod, in the patch, and in the text of both; for a replaced sidecar twice. A body
/// takes at most 100 times its size when it is stored: `webhook/tests/memory.rs` searches for worse cases.
pub fn memory(length: usize) -> usize {
    const COPIES: usize = 8;
    3 * length + COPIES * MOST_STORED.min(100 * length) + 4 * LARGEST_ANSWER
}

/// Builds the response and everything else that follows from the result.
fn answered(request: &Value, result: &Result<Mutation, Failure>) -> Reviewed {
    let uid = text(&request["uid"]);
    let (mut response, mut outcome) = match result {
        Ok(mutation) => (done(uid, mutation), ReviewOutcome::Done(mutation.outcome)),
        Err(failure) => (allowed(uid, &[failure.to_string()]), ReviewOutcome::Failed(failure.reason())),
    };
    let mut mutation = result.as_ref().ok();
    if size(&response) > LARGEST_ANSWER {
        let failure = Failure::TooLarge(format!("the response has more than {} KiB", LARGEST_ANSWER >> 10));
        // Such a long uid is not a valid one.
        let uid = if uid.len() > LONGEST_UID { "" } else { uid };
        response = allowed(uid, &[failure.to_string()]);
        (outcome, mutation) = (ReviewOutcome::Failed(failure.reason()), None);
    }
    let answer = json!({"apiVersion": API_VERSION, "kind": "AdmissionReview", "response": response});
    let names = ["/name", "/object/metadata/name", "/object/metadata/generateName"];
    let name = names.into_iter().map(|pointer| text(request.pointer(pointer).unwrap_or(&Value::Null)));
    let namespace = names::label(text(&request["namespace"])).unwrap_or_default();
    let told = mutation.filter(|_| request["dryRun"] != true);
    Reviewed {
        body: answer.to_string().into_bytes(),
        outcome,
        ignored: mutation.map_or(0, |mutation| mutation.ignored.len()),
        notice: told.and_then(|told| Notice::of(&request["object"]["metadata"], namespace, told)),
        namespace: namespace.to_owned(),
        name: name.filter(|name| !name.is_empty()).find_map(names::prefix).unwrap_or_default().to_owned(),
    }
}

/// The number of bytes in the strings of a response, without escapes.
fn size(response: &Value) -> usize {
    match response {
        Value::String(text) => text.len(),
        Value::Array(items) => items.iter().map(size).sum(),
        Value::Object(members) => members.values().map(size).sum(),
        _ => 0,
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// Checks that this is a review that the webhook can answer: the creation of a pod.
fn check(review: &Value) -> Result<(), Failure> {
    let request = &review["request"];
    if review["apiVersion"] != API_VERSION || review["kind"] != "AdmissionReview" || !request.is_object() {
        let got = format!("{} {}", review["apiVersion"], review["kind"]);
        return Err(Failure::Review { got });
    }
    let (operation, kind) = (&request["operation"], &request["kind"]["kind"]);
    if operation != "CREATE" || kind != "Pod" || !request["object"].is_object() {
        return Err(Failure::Request { got: format!("{operation} of {kind}") });
    }
    Ok(())
}

/// The response for a pod about which a decision was made.
fn done(uid: &str, mutation: &Mutation) -> Value {
    let mut response = allowed(uid, &mutation.warnings());
    if !mutation.patch.is_empty() {
        response["patchType"] = json!("JSONPatch");
        response["patch"] = json!(BASE64.encode(mutation.patch.to_string()));
    }
    response
}

fn allowed(uid: &str, warnings: &[String]) -> Value {
    let mut response = json!({"uid": uid, "allowed": true});
    if !warnings.is_empty() {
        let shown = warnings.iter().take(MOST_WARNINGS);
        response["warnings"] = shown.map(|warning| shown_warning(warning)).collect();
    }
    response
}

/// A warning as the API server accepts it: one line, with the prefix `podlocal-dns:`, truncated.
fn shown_warning(text: &str) -> String {
    let full = format!("podlocal-dns: {text}");
    let printable = full.chars().map(|character| if character.is_control() { ' ' } else { character });
    let mut shown: String = printable.take(LONGEST_WARNING).collect();
    if full.chars().count() > LONGEST_WARNING {
        shown.pop();
        shown.push('…');
    }
    shown
}

impl From<read::Error> for Failure {
    fn from(error: read::Error) -> Self {
        match error {
            read::Error::Json(error) => Self::Json(error),
            read::Error::TooLarge => Self::TooLarge(error.to_string()),
        }
    }
}

impl Failure {
    fn reason(&self) -> FailureReason {
        match self {
            Self::Json(_) => FailureReason::InvalidJson,
            Self::TooLarge(_) => FailureReason::TooLarge,
            Self::Review { .. } => FailureReason::InvalidReview,
            Self::Request { .. } => FailureReason::UnexpectedRequest,
            Self::Edit(_) => FailureReason::PatchFailed,
        }
    }
}

#[cfg(test)]
mod tests;
