//! The dashboard as Grafana's JSON model
//! (<https://grafana.com/docs/grafana/latest/dashboards/build-dashboards/view-dashboard-json-model/>).

use serde_json::{Value, json};

use super::panels::{CHOSEN, Kind, LINE_COLOURS, Line, Panel, ROWS, Unit};

/// The width of the dashboard, in Grafana's columns.
const COLUMNS: usize = 24;

/// The metric whose labels fill the variables.
const VARIABLES_OF: &str = "podlocal_dns_build_info";

/// The whole dashboard.
#[must_use]
pub fn dashboard() -> Value {
    let (mut panels, mut y) = (Vec::new(), 0);
    for row in &ROWS {
        panels.push(json!({
            "type": "row", "id": panels.len() + 1, "title": row.title, "collapsed": false, "panels": [],
            "gridPos": {"x": 0, "y": y, "w": COLUMNS, "h": 1},
        }));
        y += 1;
        let (mut x, mut height) = (0, 0);
        for panel in row.panels {
            let [w, h] = size(panel);
            if x + w > COLUMNS {
                (x, y) = (0, y + height);
            }
            panels.push(shown(panel, panels.len() + 1, [x, y, w, h]));
            (x, height) = (x + w, h);
        }
        y += height;
    }
    json!({
        "title": "PodLocal DNS",
        "uid": "podlocal-dns",
        "description": "What an operator asks in an outage, from top to bottom. docs/monitoring.md explains every panel, metric and alert.",
        "tags": ["dns", "podlocal-dns"],
        "schemaVersion": 39,
        "version": 1,
        "editable": true,
        "graphTooltip": 1,
        "time": {"from": "now-3h", "to": "now"},
        "refresh": "30s",
        "timezone": "",
        "annotations": {"list": [alerts()]},
        "templating": {"list": variables()},
        "panels": panels,
    })
}

/// Every expression in a dashboard, with the title of its panel or the name of its annotation.
#[must_use]
pub fn expressions(dashboard: &Value) -> Vec<(String, String)> {
    let annotations = dashboard["annotations"]["list"].as_array().into_iter().flatten();
    let annotations = annotations.map(|annotation| (text(&annotation["name"]), text(&annotation["expr"])));
    panel_expressions(dashboard).into_iter().chain(annotations).collect()
}

/// Every expression of a panel, with the panel's title.
#[must_use]
pub fn panel_expressions(dashboard: &Value) -> Vec<(String, String)> {
    let panels = dashboard["panels"].as_array().into_iter().flatten();
    let of_panel = |panel: &Value| {
        let title = text(&panel["title"]);
        let targets = panel["targets"].as_array().cloned().unwrap_or_default().into_iter();
        targets.map(move |target| (title.clone(), text(&target["expr"])))
    };
    panels.flat_map(of_panel).collect()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// The expression with the placeholders replaced: all proxies, and this range.
#[must_use]
pub fn filled(expression: &str, range: &str) -> String {
    let filled = expression.replace("$__rate_interval", range);
    ["$namespace", "$workload"].into_iter().fold(filled, |text, variable| text.replace(variable, ".*"))
}

/// The size of a panel in columns and rows.
fn size(panel: &Panel) -> [usize; 2] {
    match panel.kind {
        Kind::Stat(_) => [6, 4],
        Kind::Lines | Kind::Stacked => [if is_wide(panel) { 12 } else { 8 }, 8],
    }
}

/// The four panels after the numbers are placed in pairs, so that every row is full.
fn is_wide(panel: &Panel) -> bool {
    let first = &ROWS[0].panels;
    first.iter().any(|other| other.title == panel.title)
}

fn shown(panel: &Panel, id: usize, [x, y, w, h]: [usize; 4]) -> Value {
    let place = json!({"x": x, "y": y, "w": w, "h": h});
    let targets = panel.lines.iter().zip('A'..).map(|(line, letter)| target(line, letter));
    let (kind, custom, options) = match panel.kind {
        Kind::Stat(_) => ("stat", json!({}), stat_options()),
        Kind::Lines => ("timeseries", lines(0, "none"), line_options()),
        Kind::Stacked => ("timeseries", lines(40, "normal"), line_options()),
    };
    let mut defaults = json!({"unit": unit(panel.unit), "min": 0, "custom": custom});
    if let Kind::Stat(Some(threshold)) = panel.kind {
        let steps = json!([{"color": "green", "value": null}, {"color": "red", "value": threshold}]);
        defaults["thresholds"] = json!({"mode": "absolute", "steps": steps});
    }
    json!({
        "type": kind, "id": id, "title": panel.title, "description": panel.description,
        "datasource": source(), "gridPos": place, "targets": targets.collect::<Vec<_>>(),
        "fieldConfig": {"defaults": defaults, "overrides": overrides(panel)}, "options": options,
    })
}

/// Colours with a meaning, for panels with many lines.
fn overrides(panel: &Panel) -> Value {
    let tones = LINE_COLOURS.iter().filter(|_| panel.kind == Kind::Stacked).map(|(names, colour)| {
        let matcher = json!({"id": "byRegexp", "options": format!("/({})$/", names.join("|"))});
        let colour = json!({"mode": "fixed", "fixedColor": colour});
        json!({"matcher": matcher, "properties": [{"id": "color", "value": colour}]})
    });
    tones.collect()
}

fn target(line: &Line, letter: char) -> Value {
    let expression = line.expression.replace("{S}", &format!("{{{CHOSEN}}}"));
    let expression = expression.replace(",S}", &format!(",{CHOSEN}}}")).replace("[R]", "[$__rate_interval]");
    json!({"refId": letter.to_string(), "expr": expression, "legendFormat": line.legend, "datasource": source()})
}

fn unit(unit: Unit) -> &'static str {
    match unit {
        Unit::Count => "short",
        Unit::PerSecond => "ops",
        Unit::Share => "percentunit",
        Unit::Seconds => "s",
        Unit::Bytes => "bytes",
    }
}

fn lines(fill: u32, stacking: &str) -> Value {
    json!({
        "drawStyle": "line", "lineWidth": 1, "fillOpacity": fill, "showPoints": "never",
        "stacking": {"mode": stacking, "group": "A"},
    })
}

fn line_options() -> Value {
    json!({
        "legend": {"displayMode": "list", "placement": "bottom", "calcs": []},
        "tooltip": {"mode": "multi", "sort": "desc"},
    })
}

fn stat_options() -> Value {
    json!({
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": false},
        "colorMode": "value", "graphMode": "area", "textMode": "auto",
    })
}

fn source() -> Value {
    json!({"type": "prometheus", "uid": "${datasource}"})
}

/// Annotations that mark firing alerts in every panel.
fn alerts() -> Value {
    json!({
        "name": "Alerts", "datasource": source(), "enable": true, "iconColor": "red",
        "expr": "ALERTS{alertname=~\"PodLocalDNS.*\",alertstate=\"firing\"}", "titleFormat": "{{alertname}}",
    })
}

/// The variables: the Prometheus, the namespaces, the workloads. `All` also matches pods without a workload
/// label.
fn variables() -> Value {
    let query = |label: &str, of: &str| {
        let query = format!("label_values({of}, {label})");
        json!({
            "type": "query", "name": label, "label": label, "datasource": source(), "refresh": 2, "sort": 1,
            "query": {"query": query, "refId": label}, "definition": query,
            "multi": true, "includeAll": true, "allValue": ".*", "current": {"text": "All", "value": "$__all"},
        })
    };
    json!([
        {"type": "datasource", "name": "datasource", "label": "data source", "query": "prometheus"},
        query("namespace", VARIABLES_OF),
        query("workload", &format!("{VARIABLES_OF}{{namespace=~\"$namespace\"}}")),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_panels_overlap_and_none_hangs_over() {
        let dashboard = dashboard();
        let panels = dashboard["panels"].as_array().expect("panels");
        let mut taken = std::collections::BTreeSet::new();
        for panel in panels {
            let of = |key: &str| panel["gridPos"][key].as_u64().expect("a place");
            let [x, y, w, h] = ["x", "y", "w", "h"].map(of);
            assert!(x + w <= COLUMNS as u64 && w > 0 && h > 0, "{panel}");
            let mut cells = (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y)));
            assert!(cells.all(|cell| taken.insert(cell)), "{panel} overlaps");
        }
    }

    #[test]
    fn placeholders_become_variables_and_a_range() {
        for (title, expression) in expressions(&dashboard()) {
            assert!(!expression.contains("S}") && !expression.contains("[R]"), "{title}: {expression}");
            let filled = filled(&expression, "1m");
            assert!(!filled.contains('$'), "{title}: {filled}");
        }
    }
}
