//! Every review is answered, even an invalid one.

use super::*;
use crate::review::cluster_state::ClusterFlags;
use crate::review::outcome::Outcome;
use podlocal_settings::table;

fn cluster() -> Cluster {
    let flags = ClusterFlags { dns: vec![([10, 96, 0, 10], 53).into()], ..ClusterFlags::default() };
    Cluster::new(&flags, "")
}

fn answer(body: &[u8]) -> (Value, ReviewOutcome) {
    let policy = Policy { image: "sidecar:1".to_owned(), defaults: Vec::new() };
    let reviewed = review(body, |_| Map::new(), &cluster(), &policy);
    let answer: Value = serde_json::from_slice(&reviewed.body).expect("JSON");
    assert_eq!((&answer["apiVersion"], &answer["kind"]), (&json!(API_VERSION), &json!("AdmissionReview")));
    assert_eq!(answer["response"]["allowed"], true);
    (answer["response"].clone(), reviewed.outcome)
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
fn unreadable_review_is_allowed_with_warning_and_uid() {
    let no_kind = json!({"request": {"uid": "u-2"}}).to_string();
    let mut service = review_of(&json!({}));
    service["request"]["kind"]["kind"] = json!("Service");
    let mut update = review_of(&json!({"spec": {"containers": []}}));
    update["request"]["operation"] = json!("UPDATE");
    let odd = review_of(&json!({"metadata": [], "spec": {"containers": []}})).to_string();
    for (body, uid, reason) in [
        ("{".to_owned(), "", FailureReason::InvalidJson),
        (String::new(), "", FailureReason::InvalidJson),
        ("[1]".to_owned(), "", FailureReason::InvalidReview),
        (no_kind, "u-2", FailureReason::InvalidReview),
        (service.to_string(), "u-1", FailureReason::UnexpectedRequest),
        (update.to_string(), "u-1", FailureReason::UnexpectedRequest),
        (odd, "u-1", FailureReason::PatchFailed),
    ] {
        let (response, outcome) = answer(body.as_bytes());
        assert_eq!((&response["uid"], outcome), (&json!(uid), ReviewOutcome::Failed(reason)), "{body}");
        assert_eq!(response["warnings"].as_array().map(Vec::len), Some(1), "{body}");
        assert!(response.get("patch").is_none(), "{body}");
    }
}

#[test]
fn the_namespace_is_that_of_the_request_and_never_of_the_pod() {
    let pod = json!({"metadata": {"generateName": "x-", "namespace": "evil"}, "spec": {"containers": []}});
    let (response, outcome) = answer(review_of(&pod).to_string().as_bytes());
    assert_eq!(outcome, ReviewOutcome::Done(Outcome::Injected));
    let patch = BASE64.decode(response["patch"].as_str().expect("a text")).expect("base64");
    let patch = String::from_utf8(patch).expect("UTF-8");
    assert!(patch.contains("web.svc.cluster.local") && !patch.contains("evil"), "{patch}");
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
    assert!(warning.contains(&key) && warning.contains(value) && warning.contains("expected"), "{warning}");
    assert_eq!(shown_warning(&long).chars().count(), LONGEST_WARNING);
}
