//! Counts how many injected pods use the shared tier. A pod keeps the settings with which it was created.

use std::net::SocketAddr;

use podlocal_settings::names::CONTAINER_NAME;
use podlocal_settings::table;
use podlocal_settings::value;
use serde_json::Value;

use super::finding::Finding;

/// The numbers of running injected pods.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct TierUsage {
    injected: u64,
    with_tier: u64,
}

impl TierUsage {
    /// Counts a pod by its `spec`; a pod without the sidecar does not count.
    pub(crate) fn add(&mut self, spec: &Value, tier: SocketAddr) {
        let mut containers = spec["initContainers"].as_array().into_iter().flatten();
        let Some(sidecar) = containers.find(|container| container["name"] == CONTAINER_NAME) else { return };
        self.injected += 1;
        let variable = table::SHARED_TIER.variable();
        let mut variables = sidecar["env"].as_array().into_iter().flatten();
        let given = variables
            .find(|given| given["name"] == variable.as_str())
            .and_then(|given| given["value"].as_str());
        let addresses = given.and_then(|text| value::addresses(text).ok()).unwrap_or_default();
        self.with_tier += u64::from(addresses.contains(&tier));
    }

    /// The finding for the report.
    ///
    /// | injected pods | with the shared tier | |
    /// |---|---|---|
    /// | none | | no finding |
    /// | some | none | problem: no pod uses the tier |
    /// | some | some | ok: the others have opted out, or are older than the tier |
    pub(crate) fn finding(self) -> Option<Finding> {
        let Self { injected, with_tier } = self;
        let what = format!("injected pods that use the shared tier: {with_tier} of {injected}");
        match (injected, with_tier) {
            (0, _) => None,
            (_, 0) => Some(Finding::problem(
                what,
                "create them again (kubectl rollout restart): a pod keeps the settings with which it was created",
            )),
            _ => Some(Finding::ok(what)),
        }
    }
}
