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
mod tests {
    use super::*;
    use podlocal_settings::table;

    fn cluster() -> Cluster {
        Cluster {
            dns: vec!["10.96.0.10:53".parse().expect("valid")],
            domain: "cluster.local".to_owned(),
            extra_search: Vec::new(),
            version: None,
            serves_impossible_names: false,
        }
    }

    fn answer(body: &[u8]) -> (Value, Verdict) {
        let policy = Policy { image: "sidecar:1".to_owned(), defaults: Vec::new() };
        let reviewed = review(body, |_| Map::new(), &cluster(), &policy);
        let answer: Value = serde_json::from_slice(&reviewed.body).expect("JSON");
        assert_eq!(
            (&answer["apiVersion"], &answer["kind"]),
            (&json!(API_VERSION), &json!("AdmissionReview"))
        );
        assert_eq!(answer["response"]["allowed"], true);
        (answer["response"].clone(), reviewed.verdict)
    }

    fn review_of(pod: &Value) -> Value {
        json!({
            "apiVersion": API_VERSION, "kind": "AdmissionReview",
            "request": {
                "uid": "u-1", "operation": "CREATE", "namespace": "web", "dryRun": true,
                "kind": {"group": "", "version": "v1", "kind": "Pod"}, "object": pod,
            },
        })
    }

    #[test]
    fn what_cannot_be_read_is_allowed_with_a_warning_and_its_uid_where_it_has_one() {
        let no_kind = json!({"request": {"uid": "u-2"}}).to_string();
        let mut service = review_of(&json!({}));
        service["request"]["kind"]["kind"] = json!("Service");
        let mut update = review_of(&json!({"spec": {"containers": []}}));
        update["request"]["operation"] = json!("UPDATE");
        let odd = review_of(&json!({"metadata": [], "spec": {"containers": []}})).to_string();
        for (body, uid, reason) in [
            ("{".to_owned(), "", Reason::NotJson),
            (String::new(), "", Reason::NotJson),
            ("[1]".to_owned(), "", Reason::NotAReview),
            (no_kind, "u-2", Reason::NotAReview),
            (service.to_string(), "u-1", Reason::NotAPodRequest),
            (update.to_string(), "u-1", Reason::NotAPodRequest),
            (odd, "u-1", Reason::NotEditable),
        ] {
            let (response, verdict) = answer(body.as_bytes());
            assert_eq!((&response["uid"], verdict), (&json!(uid), Verdict::Failed(reason)), "{body}");
            assert_eq!(response["warnings"].as_array().map(Vec::len), Some(1), "{body}");
            assert!(response.get("patch").is_none(), "{body}");
        }
    }

    #[test]
    fn the_namespace_is_that_of_the_request_and_never_of_the_pod() {
        let pod =
            json!({"metadata": {"generateName": "x-", "namespace": "evil"}, "spec": {"containers": []}});
        let (response, verdict) = answer(review_of(&pod).to_string().as_bytes());
        assert_eq!(verdict, Verdict::Done(Outcome::Injected));
        let patch = BASE64.decode(response["patch"].as_str().expect("a text")).expect("base64");
        let patch = String::from_utf8(patch).expect("UTF-8");
        assert!(patch.contains("web.svc.cluster.local") && !patch.contains("evil"), "{patch}");
    }

    #[test]
    fn the_annotations_are_those_of_the_namespace_of_the_request() {
        let pod = json!({"metadata": {"namespace": "evil"}, "spec": {"containers": []}});
        let annotations_of = |namespace: &str| {
            assert_eq!(namespace, "web");
            Map::from_iter([
                (table::NDOTS.annotation(), json!("4")),
                (table::PATIENCE.annotation(), json!("soon")),
            ])
        };
        let policy = Policy { image: "sidecar:1".to_owned(), defaults: Vec::new() };
        let reviewed = review(review_of(&pod).to_string().as_bytes(), annotations_of, &cluster(), &policy);
        let answer: Value = serde_json::from_slice(&reviewed.body).expect("JSON");
        let patch = BASE64.decode(answer["response"]["patch"].as_str().expect("a text")).expect("base64");
        let patch = String::from_utf8(patch).expect("UTF-8");
        assert!(patch.contains(r#"{"name":"ndots","value":"4"}"#), "{patch}");
        let warning = answer["response"]["warnings"][0].as_str().expect("a text");
        assert!(warning.contains("the namespace's annotation"), "{warning}");
        assert_eq!(reviewed.ignored, 1);
    }

    #[test]
    fn the_owner_learns_of_a_skip_but_not_from_a_dry_run() {
        let owner = json!({"apiVersion": "batch/v1", "kind": "Job", "name": "train", "uid": "u-9", "controller": true});
        let pod = json!({
            "metadata": {"generateName": "train-", "ownerReferences": [owner]},
            "spec": {"containers": [], "hostNetwork": true},
        });
        let policy = Policy { image: "sidecar:1".to_owned(), defaults: Vec::new() };
        let notice = |dry_run: bool| {
            let mut of_pod = review_of(&pod);
            of_pod["request"]["dryRun"] = json!(dry_run);
            review(of_pod.to_string().as_bytes(), |_| Map::new(), &cluster(), &policy).notice
        };
        assert_eq!(notice(false).expect("a notice").owner.name, "train");
        assert_eq!(notice(true), None);
    }

    #[test]
    fn a_skip_has_no_patch_and_says_why_unless_it_was_asked_for() {
        let spec = json!({"containers": [], "hostNetwork": true});
        let (response, _) = answer(review_of(&json!({"metadata": {}, "spec": spec})).to_string().as_bytes());
        assert!(response.get("patch").is_none() && response.get("patchType").is_none());
        assert!(response["warnings"][0].as_str().expect("a text").contains("node's network"));

        let labels = json!({"podlocal-dns.io/inject": "disabled"});
        let pod = json!({"metadata": {"labels": labels}, "spec": {"containers": []}});
        let (response, _) = answer(review_of(&pod).to_string().as_bytes());
        assert!(response.get("warnings").is_none());
    }

    #[test]
    fn warnings_fit_into_the_api_servers_limits() {
        let long = format!("line\nbreak \u{7f} {}", "é".repeat(1000));
        let annotations = json!({table::NDOTS.annotation(): long, table::CACHE_SIZE.annotation(): "4MB"});
        let pod = json!({"metadata": {"annotations": annotations}, "spec": {"containers": []}});
        let (response, _) = answer(review_of(&pod).to_string().as_bytes());
        let warnings = response["warnings"].as_array().expect("an array");
        assert_eq!(warnings.len(), 2);
        for warning in warnings {
            let warning = warning.as_str().expect("a text");
            assert!(
                warning.chars().count() <= LONGEST_WARNING && !warning.contains(char::is_control),
                "{warning}"
            );
        }
        let (key, value) = (table::CACHE_SIZE.annotation(), "\"4MB\"");
        let warning = warnings[1].as_str().expect("a text");
        assert!(
            warning.contains(&key) && warning.contains(value) && warning.contains("expected"),
            "{warning}"
        );
        assert_eq!(shown_warning(&long).chars().count(), LONGEST_WARNING);
    }
}
