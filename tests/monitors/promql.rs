//! The metrics and labels in a PromQL expression. promtool checks the syntax.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use podlocal_harness::metrics::{Family, families};
use regex::Regex;

pub(super) type Families = BTreeMap<String, Family>;

/// The target labels that Prometheus adds according to the monitors in the manifests.
const TARGET_LABELS: [&str; 5] = ["namespace", "pod", "workload", "instance", "job"];

/// The errors in an expression: metrics, labels or label values that `families` does not have.
pub(super) fn mistakes(promql: &str, families: &Families) -> Vec<String> {
    let mut mistakes = Vec::new();
    for selector in SELECTOR.captures_iter(promql) {
        let metric = &selector[1];
        let Some(family) = families.values().find(|family| family.samples.contains(metric)) else {
            mistakes.push(format!("no metric is named {metric}"));
            continue;
        };
        let matchers = selector.get(2).map_or("", |matchers| matchers.as_str());
        for (_, [label, values]) in MATCHER.captures_iter(matchers).map(|matcher| matcher.extract()) {
            let is_known =
                |value| family.labels.get(label).is_some_and(|known: &BTreeSet<_>| known.contains(value));
            if !TARGET_LABELS.contains(&label) && !values.split('|').all(is_known) {
                mistakes.push(format!("{metric} never has {label}={values:?}"));
            }
        }
    }
    let used = families.values().filter(|family| uses(promql, family));
    let mut known: BTreeSet<_> = used.flat_map(|family| family.labels.keys().map(String::as_str)).collect();
    known.extend(TARGET_LABELS);
    for (_, [labels]) in GROUPING.captures_iter(promql).map(|grouping| grouping.extract()) {
        let unknown = labels.split(", ").filter(|label| !label.is_empty() && !known.contains(label));
        mistakes.extend(unknown.map(|label| format!("no metric here has a label {label}")));
    }
    mistakes
}

/// Whether an expression names a metric of this family.
pub(super) fn uses(promql: &str, family: &Family) -> bool {
    SELECTOR.captures_iter(promql).any(|selector| family.samples.contains(&selector[1]))
}

/// A metric of ours, and its label matchers.
static SELECTOR: LazyLock<Regex> = LazyLock::new(|| pattern(r"(podlocal_[a-z0-9_]+)(?:\{([^}]*)\})?"));
/// A label matcher: the label, and the value.
static MATCHER: LazyLock<Regex> = LazyLock::new(|| pattern(r#"([a-z_]+)[=!~]+"([^"]*)""#));
/// A list of labels.
static GROUPING: LazyLock<Regex> =
    LazyLock::new(|| pattern(r"\b(?:by|without|on|ignoring|group_left|group_right) ?\(([a-z_, ]*)\)"));

fn pattern(text: &str) -> Regex {
    Regex::new(text).expect("a pattern")
}

#[test]
fn missing_metrics_and_labels_are_named() {
    let families = families(
        "# TYPE podlocal_a_total counter\npodlocal_a_total{kind=\"x\"} 1\npodlocal_a_total{kind=\"y\"} 1\n\
         # TYPE podlocal_t_seconds histogram\npodlocal_t_seconds_bucket{le=\"+Inf\"} 0\n",
    );
    for (promql, expected) in [
        ("sum by (kind, pod) (rate(podlocal_a_total{kind=~\"x|y\",pod=~\"$pod\"}[5m])) > 0.05", ""),
        ("histogram_quantile(0.99, sum by (le) (rate(podlocal_t_seconds_bucket[$__rate_interval])))", ""),
        ("rate(podlocal_b_total[5m])", "no metric is named podlocal_b_total"),
        ("rate(podlocal_t_seconds[5m])", "no metric is named podlocal_t_seconds"),
        ("podlocal_a_total{sort=\"x\"}", "podlocal_a_total never has sort=\"x\""),
        ("podlocal_a_total{pod=\"\",kind!~\"x|z\"}", "podlocal_a_total never has kind=\"x|z\""),
        ("podlocal_a_total * on (sort) group_left () x", "no metric here has a label sort"),
    ] {
        assert_eq!(mistakes(promql, &families).join("; "), expected, "{promql}");
    }
}
