//! The fields of a review that are stored.

use super::*;
use serde_json::json;

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
