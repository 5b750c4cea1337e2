//! The objects for the Prometheus Operator and the programs agree: each monitor finds its port, and each alert asks for
//! series that exist.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use podlocal_settings::names::ADMIN_PORT_NAME;
use prometheus_client::encoding::text::encode;
use serde_json::Value;

#[test]
fn each_monitor_finds_the_pods_and_the_port_by_name() {
    let sidecars = read("overlays/prometheus-operator/podmonitor-sidecars.yaml");
    assert_eq!(sidecars["spec"]["podMetricsEndpoints"][0]["port"], ADMIN_PORT_NAME);
    assert_eq!(sidecars["spec"]["namespaceSelector"]["any"], true);
    assert_eq!(sidecars["spec"]["selector"], serde_json::json!({}));
    let webhook = read("overlays/prometheus-operator/podmonitor-webhook.yaml");
    let deployment = read("base/deployment.yaml");
    assert_eq!(webhook["metadata"]["namespace"], deployment["metadata"]["namespace"]);
    let template = &deployment["spec"]["template"];
    for (label, value) in webhook["spec"]["selector"]["matchLabels"].as_object().expect("labels") {
        assert_eq!(template["metadata"]["labels"][label], *value);
    }
    let ports = template["spec"]["containers"][0]["ports"].as_array().expect("ports");
    let admin = &webhook["spec"]["podMetricsEndpoints"][0]["port"];
    assert!(ports.iter().any(|port| port["name"] == *admin && admin == "admin"), "{ports:?}");
}

#[test]
fn every_series_of_an_alert_is_one_of_ours_with_its_labels() {
    let (_, registry) = podlocal_sidecar::metrics::Metrics::new();
    let mut page = podlocal_webhook::metrics::Metrics::new().page();
    encode(&mut page, &registry).expect("text");
    let mut seen = BTreeSet::new();
    for alert in alerts() {
        let expression = alert["expr"].as_str().expect("a text");
        let selectors = selectors(expression);
        assert!(!selectors.is_empty(), "{expression}");
        for (metric, matchers) in selectors {
            let series = |line: &&str| line.split(['{', ' ']).next() == Some(metric);
            assert!(page.lines().any(|line| series(&line)), "no series is named {metric}");
            for (label, value) in matchers {
                let labelled = format!("{label}=\"{value}\"");
                let is_known = page.lines().filter(series).any(|line| line.contains(&labelled));
                assert!(is_known, "no series of {metric} has {labelled}");
            }
            seen.insert(metric.to_owned());
        }
    }
    assert!(seen.len() > 5, "{seen:?}");
}

#[test]
fn a_summary_names_only_labels_that_its_expression_keeps() {
    for alert in alerts() {
        let summary = alert["annotations"]["summary"].as_str().expect("a summary");
        let expression = alert["expr"].as_str().expect("a text");
        for label in summary.split("{{ $labels.").skip(1).map(|rest| rest.split(' ').next().expect("a word"))
        {
            let is_kept = match expression.split_once("sum by (") {
                Some((_, rest)) => {
                    rest.split(')').next().expect("labels").split(", ").any(|kept| kept == label)
                }
                // Without an aggregation the labels of the scrape are there.
                None => ["namespace", "pod"].contains(&label),
            };
            assert!(is_kept, "{label} in {summary}");
        }
    }
}

/// The metrics of a PromQL expression, each with its matchers; an alternative of a regular expression is a matcher.
fn selectors(expression: &str) -> Vec<(&str, Vec<(&str, &str)>)> {
    let is_of_a_name = |character: char| character.is_ascii_alphanumeric() || character == '_';
    let starts = expression.match_indices("podlocal_").map(|(start, _)| start);
    let read = |start: usize| {
        let rest = &expression[start..];
        let (name, rest) = rest.split_at(rest.find(|c| !is_of_a_name(c)).unwrap_or(rest.len()));
        let matchers =
            rest.strip_prefix('{').and_then(|rest| rest.split_once('}')).map_or("", |(inside, _)| inside);
        let matchers = matchers.split(',').filter(|matcher| !matcher.is_empty()).flat_map(|matcher| {
            let (label, value) = matcher.trim().split_once('=').expect("an equality");
            value.trim_start_matches('~').trim_matches('"').split('|').map(move |value| (label, value))
        });
        (name, matchers.collect())
    };
    starts.map(read).collect()
}

fn alerts() -> Vec<Value> {
    let rules = read("overlays/prometheus-operator/prometheusrule.yaml");
    let groups = rules["spec"]["groups"].as_array().expect("groups").clone();
    groups.into_iter().flat_map(|group| group["rules"].as_array().expect("rules").clone()).collect()
}

fn read(file: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../manifests").join(file);
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
