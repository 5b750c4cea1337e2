//! The metrics and their users: monitors find their ports; the dashboard, the alerts and the documentation
//! use metrics that the running programs expose; and traffic creates no new series.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use podlocal_harness::loopback::client::ask_from;
use podlocal_harness::loopback::hostile;
use podlocal_harness::loopback::proxy::{Proxy, get};
use podlocal_harness::loopback::upstream::Upstream;
use podlocal_harness::metrics::samples;
use podlocal_harness::model::admission::{defaulted, review};
use podlocal_harness::model::job::{DEFAULT_MANIFEST, Job};
use podlocal_harness::programs::Programs;
use podlocal_settings::names::ADMIN_PORT_NAME;
use podlocal_tests::monitoring::exposition::{self, Families};
use podlocal_tests::monitoring::expression::{mistakes, names, shown};
use podlocal_tests::monitoring::{
    DASHBOARD, DOCUMENT, TARGET_LABELS, grafana, in_repository, panels, reference, rules, stage,
};
use serde_json::{Value, json};

#[test]
fn each_monitor_finds_the_pods_and_the_port_by_name() {
    let sidecars = read("manifests/overlays/prometheus-operator/podmonitor-sidecars.yaml");
    assert_eq!(sidecars["spec"]["podMetricsEndpoints"][0]["port"], ADMIN_PORT_NAME);
    assert_eq!(sidecars["spec"]["namespaceSelector"]["any"], true);
    assert_eq!(sidecars["spec"]["selector"], json!({}));
    let webhook = read("manifests/overlays/prometheus-operator/podmonitor-webhook.yaml");
    let deployment = read("manifests/base/deployment.yaml");
    assert_eq!(webhook["metadata"]["namespace"], deployment["metadata"]["namespace"]);
    let template = &deployment["spec"]["template"];
    for (label, value) in webhook["spec"]["selector"]["matchLabels"].as_object().expect("labels") {
        assert_eq!(template["metadata"]["labels"][label], *value);
    }
    let ports = template["spec"]["containers"][0]["ports"].as_array().expect("ports");
    let admin = &webhook["spec"]["podMetricsEndpoints"][0]["port"];
    assert!(ports.iter().any(|port| port["name"] == *admin && admin == "admin"), "{ports:?}");
}

#[tokio::test]
async fn every_expression_uses_metrics_that_the_programs_expose() {
    let families = exposed().await;
    let alerts = rules::alerts().expect("alerts").into_iter();
    let alerts = alerts.map(|alert| (text(&alert["alert"]), text(&alert["expr"])));
    let dashboard = json_of(DASHBOARD);
    let mut seen = BTreeSet::new();
    for (place, expression) in alerts.chain(grafana::expressions(&dashboard)) {
        let mistakes = mistakes(&expression, &families);
        assert!(mistakes.is_empty(), "{place}: {}: {expression}", mistakes.join("; "));
        seen.extend(names(&expression).metrics.into_iter().map(|(metric, _)| metric));
    }
    // A metric that neither the dashboard nor an alert uses should not be exposed; the exceptions are for
    // manual diagnosis.
    let closer = ["upstream_tcp", "ejected_servers", "cache_entries", "process_cpu", "process_max"];
    for (name, family) in &families {
        let is_seen = family.samples.iter().any(|sample| seen.contains(sample));
        assert!(
            is_seen || closer.iter().any(|part| name.contains(part)),
            "{name} is on no panel and in no alert"
        );
    }
}

#[tokio::test]
async fn names_follow_prometheus_conventions() {
    for (name, family) in exposed().await {
        assert_eq!(family.kind == "counter", name.ends_with("_total"), "{name} is a {}", family.kind);
        assert!(name.starts_with("podlocal_dns_") || name.starts_with("podlocal_webhook_"), "{name}");
        assert!(family.help.len() > 10, "{name} has no help");
        for unit in ["_ms", "_milliseconds", "_micro", "_kib", "_mib", "_percent", "_minutes"] {
            assert!(!name.contains(unit), "{name} is not in base units");
        }
        let is_time = name.contains("duration") || name.contains("timestamp");
        assert!(!is_time || name.ends_with("_seconds"), "{name} says nothing of its unit");
    }
}

/// Queries and reviews must not create series: a label with a value from them would create one series for
/// each value.
#[tokio::test]
async fn traffic_creates_no_new_series() {
    let programs = Programs::build().expect("programs");
    let upstream = Upstream::start(1).await.expect("an upstream");
    let proxy = Proxy::start(&programs.sidecar, upstream.address, &[]).await.expect("a sidecar");
    let before = series(proxy.admin).await;
    hostile::flood(proxy.dns, 200).await.expect("a flood");
    for number in 0..40_u8 {
        let name = format!("n{number}.example-{number}.test");
        let source = [127, 0, 1, number].into();
        let kind = u16::from(number).into();
        ask_from(source, proxy.dns, &name, kind).await.expect("asks");
    }
    assert_eq!(before, series(proxy.admin).await);

    let folder = tempfile::tempdir().expect("a folder");
    let webhook = stage::webhook(&programs.webhook, folder.path()).await.expect("a webhook");
    let before = series(webhook.admin).await;
    for number in 0..40 {
        let mut pod = defaulted(Job::read(DEFAULT_MANIFEST).expect("a Job").pod(0));
        pod["metadata"]["annotations"][format!("podlocal-dns.io/odd-{number}")] = json!(number.to_string());
        pod["spec"]["dnsPolicy"] = json!(format!("Policy{}", number % 4));
        let body = review(&pod, &format!("namespace-{number}"), &format!("uid-{number}")).to_string();
        webhook.client.post(body).await.expect("an answer");
    }
    assert_eq!(before, series(webhook.admin).await);
}

/// The series of a page without their values.
async fn series(admin: std::net::SocketAddr) -> BTreeSet<String> {
    let answer = get(admin, "/metrics").await.expect("a page");
    let ours = samples(&answer).filter(|sample| sample.name.starts_with("podlocal_"));
    let series: BTreeSet<_> = ours.map(|sample| sample.series.to_owned()).collect();
    assert!(series.len() > 40, "{answer}");
    series
}

#[test]
fn dashboard_json_is_up_to_date() {
    let expected = format!("{:#}\n", grafana::dashboard());
    let written = fs::read_to_string(in_repository(DASHBOARD)).expect("a dashboard");
    assert!(expected == written, "run: cargo run --bin monitoring -- write");
}

#[tokio::test]
async fn docs_describe_every_metric_panel_and_alert() {
    let document = fs::read_to_string(in_repository(DOCUMENT)).expect("a document");
    let written = reference::updated_document(&document, &exposed().await).expect("marks");
    assert!(written == document, "run: cargo run --bin monitoring -- write");
    for row in &panels::ROWS {
        for panel in row.panels {
            assert!(panel.description.len() > 20, "{} says nothing", panel.title);
            assert!(!panel.lines.is_empty(), "{} shows nothing", panel.title);
        }
    }
    // A panel that the documentation names must exist.
    let table = document.split("\n## ").find(|part| part.starts_with("The dashboard")).expect("a section");
    let rows = table.lines().filter(|line| line.starts_with("| ")).skip(2);
    let named = rows.filter_map(|row| row.split('|').nth(2)).flat_map(|cell| cell.split(", "));
    let titles: Vec<_> = panels::ROWS.iter().flat_map(|row| row.panels).map(|panel| panel.title).collect();
    let joined = titles.join(", ");
    for name in named.map(str::trim) {
        assert!(joined.contains(name), "no panel is called {name}");
    }
}

#[test]
fn every_alert_is_documented_and_tested() {
    let document = fs::read_to_string(in_repository(DOCUMENT)).expect("a document");
    let tried = tried_out();
    let alerts = rules::alerts().expect("alerts");
    assert!(alerts.len() > 15);
    for alert in &alerts {
        let name = text(&alert["alert"]);
        let annotations = &alert["annotations"];
        assert!(
            ["critical", "warning", "info"].contains(&text(&alert["labels"]["severity"]).as_str()),
            "{name}"
        );
        for annotation in ["summary", "description"] {
            assert!(text(&annotations[annotation]).ends_with('.'), "{name} has no {annotation}");
        }
        let address = text(&annotations["runbook_url"]);
        let anchor = address.split_once("/docs/monitoring.md#").expect("an anchor").1;
        assert_eq!(anchor, name.to_lowercase());
        let section = document
            .split_once(&format!("\n### {name}\n"))
            .unwrap_or_else(|| panic!("{name} has no section"));
        let section = section.1.split("\n### ").next().unwrap_or_default();
        for part in ["**What it means.**", "**How to see it.**", "**What to do.**"] {
            assert!(section.contains(part), "{name}: {part}");
        }
        assert_eq!(tried.get(&name), Some(&[true, true]), "{name}: silent once and firing once");
    }
    assert_eq!(document.matches("\n### ").count(), alerts.len(), "a section of no alert");
}

/// Whether the tests of the alerts have a case in which each alert is silent, and one in which it fires.
fn tried_out() -> BTreeMap<String, [bool; 2]> {
    let tests = read("tests/monitoring/alerts.yaml");
    let mut tried: BTreeMap<String, [bool; 2]> = BTreeMap::new();
    for test in tests["tests"].as_array().expect("tests") {
        for expectation in test["promql_expr_test"].as_array().into_iter().flatten() {
            let expression = text(&expectation["expr"]);
            let alert = expression.split_once("alertname=\"").and_then(|(_, rest)| rest.split('"').next());
            let fires = expectation["exp_samples"].as_array().is_some_and(|samples| !samples.is_empty());
            if let Some(alert) = alert {
                tried.entry(alert.to_owned()).or_default()[usize::from(fires)] = true;
            }
        }
    }
    tried
}

#[tokio::test]
async fn texts_and_legends_show_only_labels_that_their_expression_keeps() {
    let families = exposed().await;
    let mut pairs = Vec::new();
    for alert in rules::alerts().expect("alerts") {
        for annotation in ["summary", "description"] {
            pairs.push((text(&alert["annotations"][annotation]), text(&alert["expr"])));
        }
    }
    for panel in json_of(DASHBOARD)["panels"].as_array().expect("panels") {
        for target in panel["targets"].as_array().into_iter().flatten() {
            pairs.push((text(&target["legendFormat"]), text(&target["expr"])));
        }
    }
    for (shown_text, expression) in pairs {
        for label in shown(&shown_text) {
            assert!(is_kept(label, &expression, &families), "{label} in {shown_text:?} of {expression}");
        }
    }
}

/// Whether the result has the label: the first aggregation keeps it, or there is no aggregation and the
/// metric has it.
fn is_kept(label: &str, expression: &str, families: &Families) -> bool {
    if let Some((_, rest)) = expression.split_once(" by (") {
        return rest.split(')').next().expect("labels").split(", ").any(|kept| kept == label);
    }
    let is_aggregated =
        ["sum(", "count(", "max(", "min(", "avg(", "absent("].iter().any(|word| expression.contains(word));
    let has = |(metric, _): &(String, _)| {
        let family = families.get(metric);
        family.is_some_and(|family| family.labels.contains_key(label))
    };
    !is_aggregated && (TARGET_LABELS.contains(&label) || names(expression).metrics.iter().any(has))
}

async fn exposed() -> Families {
    exposition::families_of_programs(&Programs::build().expect("programs")).await.expect("metrics")
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn json_of(file: &str) -> Value {
    serde_json::from_str(&fs::read_to_string(in_repository(file)).expect("a file")).expect("JSON")
}

fn read(file: &str) -> Value {
    let text = fs::read_to_string(in_repository(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
    serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{file}: {error}"))
}
