//! The fields of a review that are stored.

use super::*;
use serde_json::json;

#[test]
fn fields_that_decide_are_stored_and_others_are_not() {
    let env = json!([{"name": "A", "value": "1"}]);
    let body = json!({
        "kind": "AdmissionReview",
        "request": {
            "uid": "u-1",
            "userInfo": {"groups": ["a"]},
            "object": {
                "metadata": {
                    "labels": {"app": "web", INJECT_LABEL: "enabled"},
                    "annotations": {"other.example/x": "1", "podlocal-dns.io/ndots": "3"},
                    "managedFields": [{"manager": "kubectl"}],
                },
                "spec": {
                    "containers": [{"name": "app", "env": env, "ports": [{"name": "web", "containerPort": 80}]}],
                    "initContainers": [{"name": "a", "env": env}],
                    "volumes": [{}],
                },
            },
        },
    });
    let Read { review, result } = read(body.to_string().as_bytes());
    assert!(result.is_ok());
    let object = json!({
        "metadata": {"labels": {INJECT_LABEL: "enabled"}, "annotations": {"podlocal-dns.io/ndots": "3"}},
        "spec": {
            "containers": [{"name": "app", "ports": [{"containerPort": 80}]}],
            "initContainers": [{"name": "a", "env": env}],
        },
    });
    let expected = json!({"kind": "AdmissionReview", "request": {"uid": "u-1", "object": object}});
    assert_eq!(review, expected);
}

#[test]
fn value_of_unexpected_type_keeps_its_type() {
    let spec = json!({"containers": {"a": 1}, "os": [1, 2], "affinity": 7, "nodeSelector": "x"});
    let Read { review, result } = read(json!({"request": {"object": {"spec": spec}}}).to_string().as_bytes());
    assert!(result.is_ok());
    let expected = json!({"containers": {}, "os": [], "affinity": 7, "nodeSelector": "x"});
    assert_eq!(review["request"]["object"]["spec"], expected);
}

#[test]
fn last_duplicate_member_wins() {
    let Read { review, .. } = read(br#"{"kind": {"a": 1}, "apiVersion": "v1", "kind": [2]}"#);
    assert_eq!(review, json!({"kind": [2], "apiVersion": "v1"}));
}

#[test]
fn fields_read_before_a_parse_error_are_kept() {
    for rest in ["", "]", r#""namespace": "#] {
        let Read { review, result } = read(format!(r#"{{"request": {{"uid": "u-1", {rest}"#).as_bytes());
        assert!(matches!(result, Err(Error::Json(_))), "{rest}");
        assert_eq!(review["request"]["uid"], "u-1", "{rest}");
    }
}

#[test]
fn memory_budget_covers_only_stored_fields() {
    let of_spec =
        |spec: &str| format!(r#"{{"request": {{"uid": "u-1", "object": {{"spec": {{{spec}}}}}}}}}"#);
    let many = |what: &str| vec![what; 300_000].join(",");
    for spec in [
        format!(r#""containers": [{}]"#, many("{}")),
        format!(r#""dnsConfig": [{}]"#, many("1")),
        format!(r#""initContainers": [{{"env": [{}]}}]"#, many("{}")),
        format!(r#""dnsPolicy": "{}""#, "x".repeat(MOST_STORED)),
    ] {
        let Read { review, result } = read(of_spec(&spec).as_bytes());
        assert!(matches!(result, Err(Error::TooLarge)), "{}", &spec[..40]);
        assert_eq!(review["request"]["uid"], "u-1");
    }
    let amounts = r#"{"cpu": "1", "memory": "1Gi"}"#;
    let usual = format!(
        r#"{{"name": "app", "ports": [{{"containerPort": 80}}], "resources": {{"limits": {amounts}, "requests": {amounts}}}}}"#
    );
    for spec in [
        format!(r#""containers": [{}]"#, vec![usual; 200].join(",")),
        format!(r#""containers": [{{"name": "app", "env": [{}]}}]"#, many("{}")),
        format!(r#""volumes": [{}], "containers": []"#, many(r#"{"name": "x"}"#)),
    ] {
        assert!(read(of_spec(&spec).as_bytes()).result.is_ok(), "{}", &spec[..40]);
    }
}
