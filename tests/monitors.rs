//! The metrics and their users: monitors find their ports; the dashboard, the alerts and the documentation
//! use metrics that the running programs expose; and traffic creates no new series. `UPDATE=1` writes the
//! table of metrics in the documentation.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::SocketAddr;

use podlocal_harness::loopback::client::ask_from;
use podlocal_harness::loopback::hostile;
use podlocal_harness::loopback::proxy::Proxy;
use podlocal_harness::loopback::upstream::Upstream;
use podlocal_harness::metrics::{families, samples};
use podlocal_harness::model::admission::{Webhook, defaulted, review};
use podlocal_harness::model::job::{DEFAULT_MANIFEST, Job};
use podlocal_harness::programs::Programs;
use podlocal_harness::repository::root;
use podlocal_settings::names::ADMIN_PORT_NAME;
use podlocal_tests::monitoring::files::{self, ALERTS, DASHBOARD, Expression, shown_labels};
use podlocal_tests::monitoring::programs;
use serde_json::{Value, json};

#[path = "monitors/promql.rs"]
mod promql;

use promql::{Families, mistakes, uses};

/// The document with every metric, panel and alert.
const DOCUMENT: &str = "docs/monitoring.md";

/// Exposed metrics that neither the dashboard nor an alert uses: they are for manual diagnosis.
const FOR_DIAGNOSIS: [&str; 7] = [
    "podlocal_dns_cache_entries",
    "podlocal_dns_process_cpu_seconds_total",
    "podlocal_dns_process_max_fds",
    "podlocal_dns_shared_tier_ejected_servers",
    "podlocal_dns_upstream_ejected_servers",
    "podlocal_dns_upstream_tcp_connections_total",
    "podlocal_dns_upstream_tcp_idle_connections",
];

#[test]
fn each_monitor_finds_the_pods_and_the_port_by_name() {
    let sidecars = file("manifests/overlays/prometheus-operator/podmonitor-sidecars.yaml");
    assert_eq!(sidecars["spec"]["podMetricsEndpoints"][0]["port"], ADMIN_PORT_NAME);
    assert_eq!(sidecars["spec"]["namespaceSelector"]["any"], true);
    assert_eq!(sidecars["spec"]["selector"], json!({}));
    let webhook = file("manifests/overlays/prometheus-operator/podmonitor-webhook.yaml");
    let deployment = file("manifests/base/deployment.yaml");
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
async fn every_expression_uses_metrics_and_labels_that_the_programs_expose() {
    let families = exposed().await;
    let mut unused: BTreeSet<_> = families.keys().map(String::as_str).collect();
    for Expression { owner, promql, .. } in expressions() {
        let mistakes = mistakes(&promql, &families);
        assert!(mistakes.is_empty(), "{owner}: {}: {promql}", mistakes.join("; "));
        unused.retain(|name| !uses(&promql, &families[*name]));
    }
    assert_eq!(unused, FOR_DIAGNOSIS.into(), "on no panel and in no alert");
}

/// `promtool check metrics` checks the conventions of Prometheus; these are ours.
#[tokio::test]
async fn names_have_our_prefix_and_their_unit() {
    for (name, family) in exposed().await {
        assert!(name.starts_with("podlocal_dns_") || name.starts_with("podlocal_webhook_"), "{name}");
        assert!(family.help.len() > 10, "{name} has no help");
        for unit in ["_micro", "_kib", "_mib", "_percent"] {
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
    let webhook = Webhook::start_alone(&programs.webhook, folder.path()).await.expect("a webhook");
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
async fn series(admin: SocketAddr) -> BTreeSet<String> {
    let page = programs::page(admin).await.expect("a page");
    let series: BTreeSet<_> = samples(&page).map(|sample| sample.series.to_owned()).collect();
    assert!(series.len() > 40, "{page}");
    series
}

#[tokio::test]
async fn docs_have_every_metric() {
    const MARKS: [&str; 2] = ["<!-- metrics: `just monitoring` -->\n", "<!-- end of metrics -->"];
    let document = document();
    let (before, rest) = document.split_once(MARKS[0]).expect("the beginning of the table");
    let (_, after) = rest.split_once(MARKS[1]).expect("the end of the table");
    let expected = [before, MARKS[0], &table(&exposed().await), MARKS[1], after].concat();
    if std::env::var_os("UPDATE").is_some() {
        fs::write(root().join(DOCUMENT), &expected).expect("the document");
    } else {
        assert!(expected == document, "run: just monitoring");
    }
}

/// The table of metrics, with each label and its values; without the values that depend on the installation.
fn table(families: &Families) -> String {
    let label = |(label, values): (&String, &BTreeSet<String>)| match label.as_str() {
        "le" => None,
        "address" | "version" | "zone" => Some(label.clone()),
        _ => Some(format!("{label}: `{}`", values.iter().cloned().collect::<Vec<_>>().join("`, `"))),
    };
    let mut text = "| metric | type | labels | meaning |\n|---|---|---|---|\n".to_owned();
    for (name, family) in families {
        let labels = family.labels.iter().filter_map(label).collect::<Vec<_>>().join("; ");
        text += &format!("| `{name}` | {} | {labels} | {} |\n", family.kind, family.help);
    }
    text
}

#[test]
fn every_panel_has_its_place_and_a_description() {
    let dashboard = file(DASHBOARD);
    let (mut titles, mut taken) = (BTreeSet::new(), BTreeSet::new());
    for panel in dashboard["panels"].as_array().expect("panels") {
        let of = |key: &str| panel["gridPos"][key].as_u64().expect("a place");
        let [x, y, w, h] = ["x", "y", "w", "h"].map(of);
        let mut cells = (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y)));
        assert!(cells.all(|cell| cell.0 < 24 && taken.insert(cell)), "{panel} overlaps");
        if panel["type"] != "row" {
            assert!(text(&panel["description"]).len() > 20, "{} says nothing", panel["title"]);
            assert!(!panel["targets"][0]["expr"].is_null(), "{} shows nothing", panel["title"]);
            titles.insert(text(&panel["title"]));
        }
    }
    // A panel that the documentation names must exist.
    let document = document();
    let table = document.split("\n## ").find(|part| part.starts_with("The dashboard")).expect("a section");
    let rows = table.lines().filter(|line| line.starts_with("| ")).skip(1);
    for name in rows.filter_map(|row| row.split(" | ").nth(1)).flat_map(|cell| cell.split(", ")) {
        assert!(titles.contains(name), "no panel is called {name}");
    }
}

#[test]
fn every_alert_is_documented_and_tested() {
    let document = document();
    let tests = tests_of_alerts();
    let groups = &file(ALERTS)["spec"]["groups"];
    let groups = groups.as_array().expect("groups").iter();
    let alerts: Vec<_> = groups.flat_map(|group| group["rules"].as_array().expect("rules")).collect();
    assert!(alerts.len() > 15);
    for alert in &alerts {
        let name = text(&alert["alert"]);
        let annotations = &alert["annotations"];
        assert!(["critical", "warning", "info"].contains(&text(&alert["labels"]["severity"])), "{name}");
        let (is_silent, labels) = tests.get(name).unwrap_or_else(|| panic!("{name} has no test"));
        assert!(*is_silent && !labels.is_empty(), "{name} must be silent in one test and fire in another");
        for annotation in ["summary", "description"] {
            let sentence = text(&annotations[annotation]);
            assert!(sentence.ends_with('.'), "{name} has no {annotation}");
            for label in shown_labels(sentence) {
                assert!(labels.contains(&format!("{label}=\"")), "{name} fires without {label}: {sentence}");
            }
        }
        let anchor = format!("/docs/monitoring.md#{}", name.to_lowercase());
        assert!(text(&annotations["runbook_url"]).ends_with(&anchor), "{name}");
        let section = document.split("\n### ").find_map(|section| section.strip_prefix(&format!("{name}\n")));
        let section = section.unwrap_or_else(|| panic!("{name} has no section"));
        for part in ["**What it means.**", "**How to see it.**", "**What to do.**"] {
            assert!(section.contains(part), "{name}: {part}");
        }
    }
    assert_eq!(document.matches("\n### ").count(), alerts.len(), "a section of no alert");
}

/// The alerts with tests: whether each is silent in one, and the labels with which it fires.
fn tests_of_alerts() -> BTreeMap<String, (bool, String)> {
    let mut tested: BTreeMap<_, (bool, String)> = BTreeMap::new();
    let tests = file("tests/monitoring/alerts.yaml");
    let tests = tests["tests"].as_array().expect("tests").iter();
    for expectation in tests.filter_map(|test| test["promql_expr_test"].as_array()).flatten() {
        if let Some((_, alert)) = text(&expectation["expr"]).split_once("alertname=\"") {
            let samples = expectation["exp_samples"].as_array().expect("samples");
            let name = alert.split('"').next().expect("a name").to_owned();
            let (is_silent, labels) = tested.entry(name).or_default();
            *is_silent |= samples.is_empty();
            labels.extend(samples.iter().map(|sample| text(&sample["labels"])));
        }
    }
    tested
}

async fn exposed() -> Families {
    let pages = programs::pages(&Programs::build().expect("programs")).await.expect("metrics");
    families(&pages.map(|(_, page)| page).concat())
}

fn expressions() -> impl Iterator<Item = Expression> {
    [ALERTS, DASHBOARD].into_iter().flat_map(|file| files::expressions(file).expect("expressions"))
}

fn document() -> String {
    fs::read_to_string(root().join(DOCUMENT)).expect("the document")
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn file(path: &str) -> Value {
    files::read(path).expect("a file")
}
