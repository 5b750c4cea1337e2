//! The bytes of an AdmissionReview -> the bytes of its answer (`admission.k8s.io/v1`).
//!
//! **What our own failure means is said here and nowhere else:** nothing. A review that we cannot read, or a
//! pod that we cannot edit, is answered `allowed`, unchanged, with a warning. The pod then has the DNS that
//! it would have had without us; `failurePolicy: Ignore` says the same for the time when nobody answers at
//! all.
//!
//! Anyone who reaches the port may have written the review. So what it takes in memory has a bound,
//! [`memory`], and what becomes of it elsewhere than in its own answer are checked names alone.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Map, Value, json};

use crate::cluster::Cluster;
use crate::decide::Namespace;
use crate::mutate::{Mutation, Outcome, Policy, mutate};
use crate::names;
use crate::notice::Notice;
use crate::patch;

mod read;

pub use read::MOST_STORED;

/// The most characters of a warning; the API server cuts longer ones
/// (`kubernetes/staging/src/k8s.io/api/admission/v1`, `AdmissionResponse.Warnings`).
const LONGEST_WARNING: usize = 256;

/// The most warnings of one answer; 4096 characters in all are kept.
const MOST_WARNINGS: usize = 16;

/// The largest answer, in bytes: a connection may hold it until the client reads. The usual one has 5 KiB,
/// and all settings at their longest make 40.
pub const LARGEST_ANSWER: usize = 64 << 10;

/// The longest uid. The API server's have 36 characters.
const LONGEST_UID: usize = 256;

/// The API version that we speak.
const API_VERSION: &str = "admission.k8s.io/v1";

/// A review and what became of it.
#[derive(Debug)]
pub struct Reviewed {
    /// The body of the HTTP answer.
    pub body: Vec<u8>,
    /// What was done.
    pub verdict: Verdict,
    /// How many settings of the pod were ignored.
    pub ignored: usize,
    /// The namespace of the pod, as far as the review could be read and if it is a valid name; else empty.
    pub namespace: String,
    /// The pod's name, or what its name will start with; the same.
    pub name: String,
    /// What the pod's owner has to learn; `None` for a dry run, too, which must leave no trace.
    pub notice: Option<Notice>,
}

/// What was done with a review.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// It was answered as it should be.
    Done(Outcome),
    /// We failed; the pod is allowed as it is.
    Failed(Reason),
}

/// Why the webhook failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "`Failure` has a sentence for each")]
pub enum Reason {
    InvalidJson,
    InvalidReview,
    UnexpectedRequest,
    PatchFailed,
    TooLarge,
}

/// The failures behind [`Reason`], with details for the warning and the log.
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

/// Answers a review. `annotations_of` tells the annotations of a namespace, as far as they are known.
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

/// The answer to a review that has more than `limit` bytes, of which only the beginning was kept.
pub fn too_large(beginning: &[u8], limit: usize) -> Reviewed {
    let read::Read { review, .. } = read::read(beginning);
    let why = format!("its admission review has more than {} MiB", limit >> 20);
    answered(&review["request"], &Err(Failure::TooLarge(why)))
}

/// The most memory, in bytes, that answering a review of `length` bytes takes beside them.
///
/// A text with escapes is unescaped into a buffer that grows by doubling. What is stored may be the pod's
/// once, the edited one's, the patch's, and the text's of both; of a pod from elsewhere it is so twice. A
/// body is stored at most a hundredfold: `webhook/tests/memory.rs` looks for worse.
pub fn memory(length: usize) -> usize {
    const COPIES: usize = 8;
    3 * length + COPIES * MOST_STORED.min(100 * length) + 4 * LARGEST_ANSWER
}

/// The response, and what else follows from the result.
fn answered(request: &Value, result: &Result<Mutation, Failure>) -> Reviewed {
    let uid = text(&request["uid"]);
    let (mut response, mut verdict) = match result {
        Ok(mutation) => (done(uid, mutation), Verdict::Done(mutation.outcome)),
        Err(failure) => (allowed(uid, &[failure.to_string()]), Verdict::Failed(failure.reason())),
    };
    let mut mutation = result.as_ref().ok();
    if size(&response) > LARGEST_ANSWER {
        let failure = Failure::TooLarge(format!("the response has more than {} KiB", LARGEST_ANSWER >> 10));
        // The uid that is as long as that is none.
        let uid = if uid.len() > LONGEST_UID { "" } else { uid };
        response = allowed(uid, &[failure.to_string()]);
        (verdict, mutation) = (Verdict::Failed(failure.reason()), None);
    }
    let answer = json!({"apiVersion": API_VERSION, "kind": "AdmissionReview", "response": response});
    let names = ["/name", "/object/metadata/name", "/object/metadata/generateName"];
    let name = names.into_iter().map(|pointer| text(request.pointer(pointer).unwrap_or(&Value::Null)));
    let namespace = names::label(text(&request["namespace"])).unwrap_or_default();
    let told = mutation.filter(|_| request["dryRun"] != true);
    Reviewed {
        body: answer.to_string().into_bytes(),
        verdict,
        ignored: mutation.map_or(0, |mutation| mutation.ignored.len()),
        notice: told.and_then(|told| Notice::of(&request["object"]["metadata"], namespace, told)),
        namespace: namespace.to_owned(),
        name: name.filter(|name| !name.is_empty()).find_map(names::prefix).unwrap_or_default().to_owned(),
    }
}

/// The bytes of a response, its texts unescaped.
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

/// Whether this is a review that we can answer: the creation of a pod.
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

/// The response for a pod that was decided about.
fn done(uid: &str, mutation: &Mutation) -> Value {
    let mut response = allowed(uid, &mutation.warnings());
    if !mutation.patch.is_empty() {
        response["patchType"] = json!("JSONPatch");
        response["patch"] = json!(BASE64.encode(mutation.patch.to_string()));
    }
    response
}

/// A response that lets the pod through.
fn allowed(uid: &str, warnings: &[String]) -> Value {
    let mut response = json!({"uid": uid, "allowed": true});
    if !warnings.is_empty() {
        let shown = warnings.iter().take(MOST_WARNINGS);
        response["warnings"] = shown.map(|warning| shown_warning(warning)).collect();
    }
    response
}

/// One warning as the API server takes it: one line, with our name, cut to size.
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
    fn reason(&self) -> Reason {
        match self {
            Self::Json(_) => Reason::InvalidJson,
            Self::TooLarge(_) => Reason::TooLarge,
            Self::Review { .. } => Reason::InvalidReview,
            Self::Request { .. } => Reason::UnexpectedRequest,
            Self::Edit(_) => Reason::PatchFailed,
        }
    }
}

impl Reason {
    /// Every reason.
    pub const ALL: [Self; 5] =
        [Self::InvalidJson, Self::InvalidReview, Self::UnexpectedRequest, Self::PatchFailed, Self::TooLarge];

    /// The name for machines.
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

impl Verdict {
    /// Every verdict there is.
    pub fn all() -> impl Iterator<Item = Self> {
        Outcome::all().map(Self::Done).chain(Reason::ALL.map(Self::Failed))
    }

    /// The decision and its reason, for machines: labels of a metric, fields of a log line.
    pub fn labels(self) -> (&'static str, &'static str) {
        match self {
            Self::Done(outcome) => outcome.labels(),
            Self::Failed(reason) => ("failed", reason.label()),
        }
    }
}

#[cfg(test)]
mod tests;
