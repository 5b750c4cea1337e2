//! The servers of forward zones: for each zone an upstream like any other, with a state of its own, so that
//! the health of one says nothing about another, or about cluster DNS.

use podlocal_dns::upstream::Setup;
use podlocal_settings::Settings;
use prometheus_client::registry::Registry;

use super::Servers;
use super::gauges::ZonesHealth;
use crate::metrics::Metrics;

/// Starts the servers of each forward zone of the settings, in that order, and registers their metrics. All
/// servers of a zone know the same names, and there are no others: neither the shared tier nor the backup
/// upstream is among them.
///
/// # Errors
///
/// The kernel gives no random bytes.
pub fn start(
    settings: &Settings,
    metrics: &Metrics,
    registry: &mut Registry,
) -> std::io::Result<Vec<Servers>> {
    let zones = &settings.forward_zones;
    let names: Vec<_> = zones.iter().map(|forward| forward.zone.as_str()).collect();
    let mut started = Vec::new();
    for (forward, metrics) in zones.iter().zip(metrics.of_zones(&names, registry)) {
        let addresses = &forward.servers;
        let transport = settings.upstream_transport;
        let setup = Setup { servers: addresses.len(), tier: 0, backup: 0, transport };
        started.push(Servers::start_at(addresses, setup, settings, &metrics)?);
    }
    if !started.is_empty() {
        let names = names.into_iter().map(ToOwned::to_owned);
        registry.register_collector(Box::new(ZonesHealth(names.zip(started.iter().cloned()).collect())));
    }
    Ok(started)
}
