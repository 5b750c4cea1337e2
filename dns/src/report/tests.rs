use std::fmt::Debug;

use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::stats::Stats;
use super::*;

/// Parses the text and writes it again: nothing is lost, and nothing is added.
fn is_parsed_and_written<T: Serialize + DeserializeOwned + Debug>(document: &Value) {
    let parsed: T = serde_json::from_str(&document.to_string()).expect("a document");
    assert_eq!(serde_json::to_value(&parsed).expect("writes"), *document, "{parsed:?}");
}

fn report(answered_by: &Value) -> Value {
    json!({
        "name": "a.",
        "type": "A",
        "rcode": "NOERROR",
        "answers": [{ "name": "a.", "ttl_s": 30, "type": "A", "data": "10.0.0.1" }],
        "more_answers": 4,
        "outcome": "miss",
        "answered_by": answered_by,
        "duration_us": 5,
        "exchanges": [exchange(&json!("b."))],
        "steps": [{ "at_us": 6, "text": "so" }],
    })
}

fn exchange(zone: &Value) -> Value {
    json!({
        "name": "a.",
        "type": "A",
        "server": "10.96.0.10:53",
        "transport": "tcp",
        "is_shared_tier": true,
        "zone": zone,
        "result": "answer",
        "attempts": 2,
        "duration_us": 3,
        "is_coalesced": true,
    })
}

#[test]
fn a_report_has_the_fields_of_the_documentation() {
    for answered_by in [
        json!({ "rule": { "rule": "R1", "reason": "so" } }),
        json!({ "cache": { "age_s": 1, "remaining_s": 2, "cached_for": "question" } }),
        json!({ "cache": { "age_s": 1, "remaining_s": 2, "cached_for": "every_type" } }),
        json!({ "cache": { "age_s": 1, "remaining_s": 2, "cached_for": "search_list" } }),
        json!({ "expired": { "age_s": 3, "expired_for_s": 1, "reason": "so" } }),
        json!({ "upstream": exchange(&Value::Null) }),
        json!({ "search_list": { "name": "b.", "is_coalesced": true } }),
        json!({ "concurrent_query": { "is_coalesced": false } }),
        json!({ "none": { "reason": "so" } }),
    ] {
        is_parsed_and_written::<Report>(&report(&answered_by));
    }
}

#[test]
fn a_report_of_another_version_is_an_error() {
    for answered_by in [json!({ "oracle": {} }), json!({ "rule": {} }), Value::Null] {
        assert!(serde_json::from_str::<Report>(&report(&answered_by).to_string()).is_err(), "{answered_by}");
    }
}

fn upstream(known: &Value) -> Value {
    json!({
        "is_unavailable": false,
        "retry_budget": 49,
        "attempts": { "answer": 190 },
        "retransmissions": 30,
        "retry_budget_exhausted": 0,
        "servers": [{
            "address": "10.96.0.10:53",
            "is_shared_tier": false,
            "is_ejected": false,
            "failures": 0,
            "srtt_us": known,
            "rttvar_us": known,
            "last_response_s": known,
            "last_failure_s": null,
            "last_failure": null,
        }],
    })
}

#[test]
fn stats_are_parsed_with_and_without_optional_fields() {
    let memory = json!({ "resident_bytes": 1, "peak_resident_bytes": 2 });
    let names = json!({ "counted_for_s": 1, "top": [{ "name": "a.", "count": 2, "error": 1 }] });
    for (known, memory, names) in [(json!(7), memory, names), (Value::Null, Value::Null, Value::Null)] {
        let stats = json!({
            "version": "0.1.0",
            "uptime_s": 11_530,
            "role": "pod",
            "listen": ["127.0.0.1:53"],
            "workers": 1,
            "search": ["svc.k"],
            "ndots": 2,
            "queries": { "udp": 1990, "tcp": 10 },
            "outcomes": { "hit": 1500 },
            "background_queries": {},
            "limits_reached": { "in_flight": 0 },
            "panics": 0,
            "queries_waiting": 1,
            "queries_in_flight": 2,
            "cache": { "entries": 211, "bytes": 84, "max_bytes": 85 },
            "upstream": upstream(&known),
            "forward_zones": [{ "zone": "consul.", "upstream": upstream(&Value::Null) }],
            "memory": memory,
            "names": names,
        });
        is_parsed_and_written::<Stats>(&stats);
    }
    assert!(serde_json::from_str::<Stats>("null").is_err());
}
