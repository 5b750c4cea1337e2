//! The options of an injected pod's `resolv.conf`.

use podlocal_settings::read::Read;
use podlocal_settings::table;
use serde_json::{Value, json};

use super::Base;

/// Our `ndots`, unless the pod has one, then the pod's options as they are. A pod with dnsPolicy `None` has no
/// search domains of ours, so it gets our `ndots` only by its own wish.
pub(super) fn of_pod(base: Base, own: &Value, read: &Read) -> Vec<Value> {
    let own = own.as_array().map(Vec::as_slice).unwrap_or_default();
    let is_asked_for = read.accepted.iter().any(|(setting, _)| *setting == &table::NDOTS);
    let is_ours = base == Base::Cluster || is_asked_for;
    let name = table::NDOTS.name;
    let ours = (is_ours && !own.iter().any(|option| option["name"] == name))
        .then(|| json!({"name": name, "value": read.settings.ndots.to_string()}));
    ours.into_iter().chain(own.iter().cloned()).collect()
}
