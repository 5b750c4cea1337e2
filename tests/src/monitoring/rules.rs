//! The alerts of the manifests, and every expression as a file of rules for promtool and Prometheus.

use std::fs;

use serde_json::{Value, json};

use super::{grafana, in_repository};
use podlocal_harness::failure::{Failure, WithContext};

/// The file of the PrometheusRule.
pub const FILE: &str = "manifests/overlays/prometheus-operator/prometheusrule.yaml";

/// The rule groups of the PrometheusRule.
pub fn groups() -> Result<Value, Failure> {
    let path = in_repository(FILE);
    let text = fs::read_to_string(&path).with_context(|| format!("reading {FILE}"))?;
    let rule: Value = serde_saphyr::from_str(&text).with_context(|| format!("understanding {FILE}"))?;
    Ok(json!({"groups": rule["spec"]["groups"]}))
}

/// Every alert.
pub fn alerts() -> Result<Vec<Value>, Failure> {
    let groups = groups()?;
    let groups = groups["groups"].as_array().into_iter().flatten();
    Ok(groups.flat_map(|group| group["rules"].as_array().cloned().unwrap_or_default()).collect())
}

/// The expressions of the dashboard as recording rules, so that promtool checks their syntax.
pub fn dashboard_rules() -> Value {
    let expressions = grafana::expressions(&grafana::dashboard()).into_iter().enumerate();
    let rule = |(number, (_, expression)): (usize, (String, String))| json!({"record": format!("panel:{number}"), "expr": grafana::filled(&expression, "1m")});
    json!({"groups": [{"name": "dashboard", "rules": expressions.map(rule).collect::<Vec<_>>()}]})
}
