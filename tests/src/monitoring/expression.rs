//! Finds the metrics and labels in a PromQL expression
//! (<https://prometheus.io/docs/prometheus/latest/querying/basics/>). The syntax is checked by promtool.

use std::collections::BTreeSet;

use super::TARGET_LABELS;
use super::exposition::{Families, Family};

/// The metrics and labels in an expression.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Names {
    /// Each metric with its matchers.
    pub metrics: Vec<(String, Vec<Matcher>)>,
    /// The labels of `by`, `without`, `on`, `ignoring`, `group_left` and `group_right`.
    pub grouping: BTreeSet<String>,
}

/// A label matcher.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Matcher {
    /// The label.
    pub label: String,
    /// The values; the alternatives of a regular expression.
    pub values: Vec<String>,
}

/// Metrics of other programs that the expressions may use, with their labels.
///
/// `apiserver_admission_webhook_fail_open_count` is the API server's, of Kubernetes 1.25 and newer
/// (`k8s.io/apiserver/pkg/admission/metrics`); `ALERTS` is Prometheus' own.
pub const EXTERNAL_METRICS: [(&str, &[&str]); 2] = [
    ("apiserver_admission_webhook_fail_open_count", &["name", "type"]),
    ("ALERTS", &["alertname", "alertstate", "severity"]),
];

const KEYWORDS: [&str; 8] = ["and", "or", "unless", "bool", "offset", "inf", "nan", "atan2"];
const GROUPING: [&str; 6] = ["by", "without", "on", "ignoring", "group_left", "group_right"];

/// Parses an expression.
pub fn names(expression: &str) -> Names {
    let mut names = Names::default();
    let mut rest = expression;
    while let Some(start) = rest.find(|character: char| !character.is_whitespace()) {
        rest = &rest[start..];
        let word_length = rest.find(|character| !is_of_word(character)).unwrap_or(rest.len());
        let (word, behind) = rest.split_at(word_length);
        if word.is_empty() {
            // A string, a range in brackets, or an operator.
            let length = match rest.as_bytes()[0] {
                b'"' => 2 + rest[1..].find('"').unwrap_or(rest.len() - 2),
                b'[' => 1 + rest.find(']').unwrap_or(rest.len() - 1),
                _ => rest.chars().next().map_or(1, char::len_utf8),
            };
            rest = &rest[length..];
            continue;
        }
        rest = behind;
        let next = behind.trim_start();
        if GROUPING.contains(&word) {
            if let Some((labels, behind)) = next.strip_prefix('(').and_then(|next| next.split_once(')')) {
                let labels = labels.split(',').map(str::trim).filter(|label| !label.is_empty());
                names.grouping.extend(labels.map(str::to_owned));
                rest = behind;
            }
        } else if !["(", "by ", "by(", "without ", "without("].iter().any(|start| next.starts_with(start))
            && !KEYWORDS.contains(&word)
            && !word.starts_with(|character: char| character.is_ascii_digit())
        {
            let mut matchers = Vec::new();
            if let Some((inside, behind)) = behind.strip_prefix('{').and_then(|next| next.split_once('}')) {
                matchers = inside.split(',').filter_map(matcher).collect();
                rest = behind;
            }
            names.metrics.push((word.to_owned(), matchers));
        }
    }
    names
}

fn is_of_word(character: char) -> bool {
    character.is_ascii_alphanumeric() || character == '_' || character == ':' || character == '.'
}

fn matcher(text: &str) -> Option<Matcher> {
    let (label, value) = text.split_once(['=', '!'])?;
    let value = value.trim_start_matches(['=', '~', '!']).trim().trim_matches('"');
    Some(Matcher { label: label.trim().to_owned(), values: value.split('|').map(str::to_owned).collect() })
}

/// The errors in an expression: metrics, labels or label values that `families` does not have. A variable
/// (`$namespace`) matches any value, and so does a regular expression that is more than alternatives.
pub fn mistakes(expression: &str, families: &Families) -> Vec<String> {
    let names = names(expression);
    let mut mistakes = Vec::new();
    let mut known: BTreeSet<&str> = TARGET_LABELS.into();
    for (metric, matchers) in &names.metrics {
        if let Some((_, labels)) = EXTERNAL_METRICS.iter().find(|(name, _)| name == metric) {
            known.extend(*labels);
            continue;
        }
        let Some(family) = families.values().find(|family| family.samples.contains(metric)) else {
            mistakes.push(format!("no metric is named {metric}"));
            continue;
        };
        known.extend(family.labels.keys().map(String::as_str));
        mistakes.extend(matchers.iter().filter_map(|matcher| wrong(matcher, family, metric)));
    }
    if names.metrics.is_empty() {
        mistakes.push("it names no metric".to_owned());
    }
    let unknown = names.grouping.iter().filter(|label| !known.contains(label.as_str()));
    mistakes.extend(unknown.map(|label| format!("no metric here has a label {label}")));
    mistakes
}

fn wrong(Matcher { label, values }: &Matcher, family: &Family, metric: &str) -> Option<String> {
    if TARGET_LABELS.contains(&label.as_str()) {
        return None;
    }
    let Some(known) = family.labels.get(label) else {
        return Some(format!("{metric} has no label {label}"));
    };
    let is_any = |value: &str| value.contains(['$', '.', '*', '[', '(']);
    let unknown = values.iter().find(|value| !is_any(value) && !known.contains(*value))?;
    Some(format!("{label} of {metric} is never {unknown:?}"))
}

/// The labels in a template text of Prometheus or Grafana: `{{ $labels.pod }}`, `{{pod}}`.
pub fn shown(text: &str) -> Vec<&str> {
    let inside = text.split("{{").skip(1).filter_map(|rest| Some(rest.split_once("}}")?.0.trim()));
    let label = inside.map(|inside| inside.strip_prefix("$labels.").unwrap_or(inside));
    label.filter(|label| !label.starts_with('$')).collect()
}

#[cfg(test)]
mod tests {
    use super::super::exposition::read;
    use super::*;

    const PAGE: &str = "# HELP a_total A.\n# TYPE a_total counter\na_total{kind=\"x\"} 1\na_total{kind=\"y\"} 1\n\
                        # HELP t_seconds T.\n# TYPE t_seconds histogram\nt_seconds_sum 0\nt_seconds_count 0\n\
                        t_seconds_bucket{le=\"+Inf\"} 0\n";

    #[test]
    fn metrics_matchers_and_groupings_are_found_and_functions_are_not() {
        let text = "sum by (namespace, kind) (rate(a_total{kind=~\"x|y\",pod!=\"\"}[5m])) > 0.05 * ignoring (kind) group_left b";
        let names = names(text);
        let metrics: Vec<_> = names.metrics.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(metrics, ["a_total", "b"]);
        assert_eq!(
            names.metrics[0].1[0],
            Matcher { label: "kind".into(), values: vec!["x".into(), "y".into()] }
        );
        assert_eq!(names.grouping, ["kind", "namespace"].map(str::to_owned).into());
    }

    #[test]
    fn missing_metrics_and_labels_are_named() {
        let families = read(PAGE).unwrap();
        let table = [
            ("sum by (kind, pod) (rate(a_total{kind=\"x\"}[5m]))", ""),
            (
                "histogram_quantile(0.99, sum by (le) (rate(t_seconds_bucket{pod=~\"$pod\"}[$__rate_interval])))",
                "",
            ),
            ("rate(b_total[5m])", "no metric is named b_total"),
            ("rate(t_seconds[5m])", "no metric is named t_seconds"),
            ("a_total{sort=\"x\"}", "a_total has no label sort"),
            ("a_total{kind=~\"x|z\"}", "kind of a_total is never \"z\""),
            ("sum by (sort) (a_total)", "no metric here has a label sort"),
            ("1 > 0", "it names no metric"),
        ];
        for (expression, expected) in table {
            assert_eq!(mistakes(expression, &families).join("; "), expected, "{expression}");
        }
    }

    #[test]
    fn labels_in_texts_are_found() {
        assert_eq!(shown("{{ $labels.pod }} of {{namespace}}: {{ $value }}"), ["pod", "namespace"]);
    }
}
