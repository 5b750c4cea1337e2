//! The files that people edit: Grafana's JSON of the dashboard, and the alerts.

use std::fs;
use std::path::Path;

use podlocal_harness::repository::root;
use serde_json::{Value, json};

use podlocal_harness::failure::{Failure, WithContext};

/// The dashboard. Edit it in Grafana and export it, or edit the JSON.
pub const DASHBOARD: &str = "manifests/overlays/prometheus-operator/dashboard.json";

/// The PrometheusRule with the alerts.
pub const ALERTS: &str = "manifests/overlays/prometheus-operator/prometheusrule.yaml";

/// A PromQL expression in one of these files.
#[derive(Debug, Clone, Default)]
pub struct Expression {
    /// The title of its panel, or the name of its alert.
    pub owner: String,
    /// The expression, with Grafana's variables.
    pub promql: String,
    /// The legend of its series.
    pub legend: String,
}

impl Expression {
    /// The expression for Prometheus: all namespaces, all workloads, and this range for rates.
    pub fn with_range(&self, range: &str) -> String {
        let promql = self.promql.replace("$__rate_interval", range);
        ["$namespace", "$workload"].into_iter().fold(promql, |promql, name| promql.replace(name, ".*"))
    }
}

/// Every expression in one of these files.
pub fn expressions(file: &str) -> Result<Vec<Expression>, Failure> {
    let mut found = Vec::new();
    collect(&read(file)?, "", &mut found);
    Ok(found)
}

/// Panels of a collapsed row are inside the row, so this searches the whole file.
fn collect(value: &Value, owner: &str, found: &mut Vec<Expression>) {
    let owner = ["title", "name", "alert"].iter().find_map(|key| value[key].as_str()).unwrap_or(owner);
    if let Some(promql) = value["expr"].as_str() {
        let legend = value["legendFormat"].as_str().unwrap_or_default().to_owned();
        found.push(Expression { owner: owner.to_owned(), promql: promql.to_owned(), legend });
    }
    match value {
        Value::Array(items) => items.iter().for_each(|item| collect(item, owner, found)),
        Value::Object(members) => members.values().for_each(|member| collect(member, owner, found)),
        _ => {}
    }
}

/// The labels in a template text of Prometheus or Grafana: `{{ $labels.pod }}`, `{{pod}}`.
pub fn shown_labels(template: &str) -> impl Iterator<Item = &str> {
    let inside = template.split("{{").skip(1).filter_map(|rest| Some(rest.split_once("}}")?.0.trim()));
    let label = inside.map(|inside| inside.strip_prefix("$labels.").unwrap_or(inside));
    label.filter(|label| !label.starts_with('$'))
}

/// Writes `alerts.json`, the alerts as Prometheus reads them, and `dashboard.json`, the expressions of the
/// dashboard as recording rules, so that `promtool check rules` checks their syntax.
pub fn write_rules(folder: &Path) -> Result<(), Failure> {
    let alerts = json!({"groups": read(ALERTS)?["spec"]["groups"]});
    let rule = |(number, expression): (usize, &Expression)| json!({"record": format!("panel:{number}"), "expr": expression.with_range("1m")});
    let rules: Vec<_> = expressions(DASHBOARD)?.iter().enumerate().map(rule).collect();
    let dashboard = json!({"groups": [{"name": "dashboard", "rules": rules}]});
    for (name, rules) in [("alerts.json", alerts), ("dashboard.json", dashboard)] {
        let file = folder.join(name);
        fs::write(&file, format!("{rules:#}\n")).with_context(|| format!("writing {}", file.display()))?;
    }
    Ok(())
}

/// Reads a file of the repository: YAML, or JSON, which is valid YAML.
pub fn read(file: &str) -> Result<Value, Failure> {
    let text = fs::read_to_string(root().join(file)).with_context(|| format!("reading {file}"))?;
    serde_saphyr::from_str(&text).with_context(|| format!("reading {file}"))
}
