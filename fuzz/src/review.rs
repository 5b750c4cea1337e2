//! The body of an admission review: [`admission::review`], which reads only the fields that it needs, in a
//! limited amount of memory.
//!
//! The oracle is the complete JSON tree of serde_json: the decision about it must be the same, with the same
//! patch. For any input, the answer allows the pod, and takes no more memory than was reserved.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use podlocal_webhook::review::admission::{self, LARGEST_ANSWER, Reviewed};
use podlocal_webhook::review::cluster_state::{Cluster, ClusterFlags};
use podlocal_webhook::review::mutate::{Policy, mutate};
use podlocal_webhook::review::names;
use podlocal_webhook::review::namespace::Namespace;
use podlocal_webhook::review::outcome::{FailureReason, ReviewOutcome};
use serde_json::{Map, Value};

/// Reviews the body and checks the answer.
pub fn check(body: &[u8]) {
    let flags = ClusterFlags { dns: vec![([10, 96, 0, 10], 53).into()], ..ClusterFlags::default() };
    let cluster = Cluster::new(&flags, "");
    let policy = Policy { image: "sidecar:1".to_owned(), defaults: Vec::new() };
    let mut reviewed = None;
    let allocated = allocation_counter::measure(|| {
        reviewed = Some(admission::review(body, |_| Map::new(), &cluster, &policy));
    });
    let reviewed = reviewed.expect("it was called");
    let most = admission::memory(body.len());
    assert!(allocated.bytes_max <= most as u64, "{} of {most} bytes", allocated.bytes_max);

    let answer: Value = serde_json::from_slice(&reviewed.body).expect("the answer is JSON");
    let response = &answer["response"];
    assert_eq!(response["allowed"], true);
    // An escape may turn one byte into six.
    assert!(reviewed.body.len() <= 6 * LARGEST_ANSWER + 1_000);
    for name in [&reviewed.namespace, &reviewed.name] {
        assert!(name.is_empty() || names::prefix(name).is_some(), "{name:?}");
    }
    match serde_json::from_slice::<Value>(body) {
        Ok(whole) if reviewed.outcome != ReviewOutcome::Failed(FailureReason::TooLarge) => {
            is_decided_alike(&reviewed, response, &whole, &cluster, &policy);
        }
        Ok(_) => {}
        // A part that the review skips may be nested too deeply for serde_json, or have a number out of its
        // range.
        Err(_) => assert!(response["uid"].is_string()),
    }
}

/// Compares the answer with the decision about the complete tree.
fn is_decided_alike(
    reviewed: &Reviewed,
    response: &Value,
    whole: &Value,
    cluster: &Cluster,
    policy: &Policy,
) {
    let request = &whole["request"];
    assert_eq!(response["uid"].as_str(), Some(request["uid"].as_str().unwrap_or_default()));
    let is_review = whole["apiVersion"] == "admission.k8s.io/v1"
        && whole["kind"] == "AdmissionReview"
        && request.is_object();
    let is_creation =
        request["operation"] == "CREATE" && request["kind"]["kind"] == "Pod" && request["object"].is_object();
    let name = request["namespace"].as_str().unwrap_or_default().to_owned();
    let namespace = Namespace { name, annotations: Map::new() };
    let (outcome, patch) = match mutate(&request["object"], &namespace, cluster, policy) {
        _ if !is_review => (ReviewOutcome::Failed(FailureReason::InvalidReview), None),
        _ if !is_creation => (ReviewOutcome::Failed(FailureReason::UnexpectedRequest), None),
        Err(_) => (ReviewOutcome::Failed(FailureReason::PatchFailed), None),
        Ok(mutation) => {
            let patch = (!mutation.patch.is_empty()).then(|| BASE64.encode(mutation.patch.to_string()));
            (ReviewOutcome::Done(mutation.outcome), patch)
        }
    };
    assert_eq!(reviewed.outcome, outcome);
    assert_eq!(response["patch"].as_str(), patch.as_deref());
}
