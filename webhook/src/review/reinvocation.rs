//! A pod that already has the sidecar, and the changes of other webhooks since its injection. Pure.
//!
//! The API server calls the webhook again if a later webhook has changed the pod
//! (`reinvocationPolicy: IfNeeded`). Two changes matter: a container in front of the sidecar, and a
//! `dnsConfig` whose search expansion differs from the settings of the sidecar. The sidecar expands the names
//! that the C library does not expand, so with a wrong `ndots` it would leave names unexpanded, or expand
//! them twice.

use podlocal_settings::Settings;
use podlocal_settings::read::{self, Given};
use podlocal_settings::table::{self, Setting};
use podlocal_settings::write;
use serde_json::{Value, json};

use super::dns::{self, Expansion};

/// The settings of the sidecar that do not match the pod's `dnsConfig`, with their correct values. Empty if
/// the pod no longer uses the sidecar: that change was intended.
pub(crate) fn corrections(spec: &Value, container: &Value) -> Vec<(&'static Setting, String)> {
    let config = &spec["dnsConfig"];
    if spec["dnsPolicy"] != "None" || config["nameservers"][0] != dns::PROXY {
        return Vec::new();
    }
    let settings = sidecar_settings(container);
    let Expansion { search, ndots } = dns::expansion(config);
    let mut corrections = Vec::new();
    if settings.ndots != ndots {
        // Without the sidecar, the value of the other webhook would apply, too.
        corrections.push((&table::NDOTS, ndots.to_string()));
        corrections.push((&table::ORIGINAL_NDOTS, ndots.to_string()));
    }
    if settings.search_list() != search {
        corrections.push((&table::SEARCH, write::search_list(&search)));
    }
    corrections
}

/// The variables of the sidecar, with `corrections` applied.
pub(crate) fn corrected_env(container: &Value, corrections: &[(&'static Setting, String)]) -> Value {
    let mut variables = container["env"].as_array().cloned().unwrap_or_default();
    for (setting, text) in corrections {
        let name = setting.variable();
        variables.retain(|variable| variable["name"] != name);
        variables.push(json!({"name": name, "value": text}));
    }
    Value::Array(variables)
}

/// The settings in the variables of the sidecar.
pub(crate) fn sidecar_settings(container: &Value) -> Settings {
    let variables = container["env"].as_array().map(Vec::as_slice).unwrap_or_default();
    let given = |setting: &Setting| {
        let of_setting = variables.iter().filter(|variable| variable["name"] == setting.variable());
        let texts = of_setting.filter_map(|variable| variable["value"].as_str());
        texts.map(|text| Given { origin: setting.variable(), text: text.to_owned() }).collect()
    };
    read::read(given).settings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn container(variables: &[(&Setting, &str)]) -> Value {
        let variables =
            variables.iter().map(|(setting, text)| json!({"name": setting.variable(), "value": text}));
        json!({"name": "x", "env": variables.collect::<Vec<_>>()})
    }

    fn spec(search: &[&str], ndots: &str) -> Value {
        let options = [json!({"name": "ndots", "value": ndots})];
        json!({
            "dnsPolicy": "None",
            "dnsConfig": {"nameservers": [dns::PROXY], "searches": search, "options": options},
        })
    }

    const OF_WEB: [&str; 3] = ["web.svc.cluster.local", "svc.cluster.local", "cluster.local"];

    #[test]
    fn sidecar_with_matching_settings_needs_no_correction() {
        let ours = container(&[(&table::NAMESPACE, "web")]);
        assert_eq!(corrections(&spec(&OF_WEB, "2"), &ours), []);
        let ours = container(&[(&table::SEARCH, "a.example,b.example"), (&table::NDOTS, "1")]);
        assert_eq!(corrections(&spec(&["a.example", "b.example"], "1"), &ours), []);
    }

    #[test]
    fn changed_ndots_or_search_list_is_corrected() {
        let ours = container(&[(&table::NDOTS, "3"), (&table::NAMESPACE, "web")]);
        let expected = [&table::NDOTS, &table::ORIGINAL_NDOTS].map(|setting| (setting, "1".to_owned()));
        assert_eq!(corrections(&spec(&OF_WEB, "1"), &ours), expected);
        let more = spec(&["web.svc.cluster.local", "corp.example"], "3");
        let expected = [(&table::SEARCH, "web.svc.cluster.local,corp.example".to_owned())];
        let found = corrections(&more, &ours);
        assert_eq!(found, expected);
        let ours = json!({"env": corrected_env(&ours, &found)});
        assert_eq!(corrections(&more, &ours), []);
        assert_eq!(ours["env"][0], json!({"name": table::NDOTS.variable(), "value": "3"}), "the others stay");
    }

    #[test]
    fn pod_that_bypasses_the_sidecar_is_not_corrected() {
        let ours = container(&[(&table::NAMESPACE, "web")]);
        let mut other = spec(&OF_WEB, "5");
        other["dnsConfig"]["nameservers"] = json!(["169.254.20.10"]);
        assert_eq!(corrections(&other, &ours), []);
        let mut other = spec(&OF_WEB, "5");
        other["dnsPolicy"] = json!("ClusterFirst");
        assert_eq!(corrections(&other, &ours), []);
    }
}
