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
