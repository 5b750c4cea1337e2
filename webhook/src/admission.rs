//! The bytes of an AdmissionReview -> the bytes of its answer (`admission.k8s.io/v1`).
//!
//! **What our own failure means is said here and nowhere else:** nothing. A review that we cannot read, or a pod
//! that we cannot edit, is answered `allowed`, unchanged, with a warning. The pod then has the DNS that it would have
//! had without us; `failurePolicy: Ignore` says the same for the time when nobody answers at all.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Map, Value, json};

use crate::cluster::Cluster;
use crate::decide::Namespace;
use crate::mutate::{Mutation, Outcome, Policy, mutate};
use crate::notice::Notice;
use crate::patch;

/// The most characters of a warning; the API server cuts longer ones
/// (`kubernetes/staging/src/k8s.io/api/admission/v1`, `AdmissionResponse.Warnings`).
const LONGEST_WARNING: usize = 256;

/// The most warnings of one answer; 4096 characters in all are kept.
const MOST_WARNINGS: usize = 16;

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
    /// The namespace of the pod, as far as the review could be read.
    pub namespace: String,
    /// The pod's name, or what its name will start with.
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

/// Why we failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "each has its sentence in `Failure`")]
pub enum Reason {
    NotJson,
    NotAReview,
    NotAPodRequest,
    NotEditable,
}

/// The same with what people want to know.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("the body is no JSON: {0}")]
    Json(#[from] serde_json::Error),
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
    let (review, parsed) = match serde_json::from_slice(body) {
        Ok(review) => (review, Ok(())),
        Err(error) => (Value::Null, Err(Failure::from(error))),
    };
    let request = &review["request"];
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let uid = text(&request["uid"]);
    let namespace = text(&request["namespace"]);
    let name = ["/name", "/object/metadata/name", "/object/metadata/generateName"]
        .into_iter()
        .map(|pointer| text(request.pointer(pointer).unwrap_or(&Value::Null)))
        .find(|name| !name.is_empty())
        .unwrap_or_default();

    let of_namespace = || Namespace { annotations: annotations_of(&namespace), name: namespace.clone() };
    let result = parsed
        .and_then(|()| check(&review))
        .and_then(|()| Ok(mutate(&request["object"], &of_namespace(), cluster, policy)?));
    let (response, verdict) = match &result {
        Ok(mutation) => (done(&uid, mutation), Verdict::Done(mutation.outcome)),
        Err(failure) => (allowed(&uid, &[failure.to_string()]), Verdict::Failed(failure.reason())),
    };
    let mutation = result.as_ref().ok();
    let told = mutation.filter(|_| request["dryRun"] != true);
    let notice = told.and_then(|mutation| Notice::of(&request["object"]["metadata"], &namespace, mutation));
    let ignored = mutation.map_or(0, |mutation| mutation.ignored.len());
    let answer = json!({"apiVersion": API_VERSION, "kind": "AdmissionReview", "response": response});
    Reviewed { body: answer.to_string().into_bytes(), verdict, ignored, namespace, name, notice }
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

impl Failure {
    fn reason(&self) -> Reason {
        match self {
            Self::Json(_) => Reason::NotJson,
            Self::Review { .. } => Reason::NotAReview,
            Self::Request { .. } => Reason::NotAPodRequest,
            Self::Edit(_) => Reason::NotEditable,
        }
    }
}

impl Reason {
    /// Every reason.
    pub const ALL: [Self; 4] = [Self::NotJson, Self::NotAReview, Self::NotAPodRequest, Self::NotEditable];

    /// The name for machines.
    pub fn label(self) -> &'static str {
        match self {
            Self::NotJson => "not_json",
            Self::NotAReview => "not_a_review",
            Self::NotAPodRequest => "not_a_pod_request",
            Self::NotEditable => "not_editable",
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
