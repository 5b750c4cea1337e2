//! The servers of forward zones: for each zone an upstream like any other, with a state of its own, so that
//! the health of one says nothing about another, or about cluster DNS.

use std::fmt;

use podlocal_dns::upstream::Setup;
use podlocal_settings::Settings;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use super::{Servers, Upstream};
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
        let addresses = forward.servers.clone();
        let transport = settings.upstream_transport;
        let setup = Setup { servers: addresses.len(), tier: 0, backup: 0, transport };
        started.push(Servers::start_at(addresses, setup, settings, &metrics)?);
    }
    if !started.is_empty() {
        let names = names.into_iter().map(ToOwned::to_owned);
        registry.register_collector(Box::new(Health(names.zip(started.iter().cloned()).collect())));
    }
    Ok(started)
}

/// The health of the servers of each zone, at the moment of a scrape.
#[derive(Debug)]
struct Health(Vec<(String, Servers)>);

impl Collector for Health {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let help = "1 while no server of the forward zone is known to answer, else 0";
        let mut family =
            encoder.encode_descriptor("forward_zone_unavailable", help, None, MetricType::Gauge)?;
        for (zone, servers) in &self.0 {
            let is_down = u64::from(servers.condition().is_down);
            family.encode_family(&[("zone", zone.as_str())])?.encode_gauge(&is_down)?;
        }
        let help = "1 while the server is healthy, 0 while it is ejected";
        let mut family =
            encoder.encode_descriptor("forward_zone_server_healthy", help, None, MetricType::Gauge)?;
        for (zone, servers) in &self.0 {
            let sockets = &servers.0.sockets;
            for (address, is_ejected) in sockets.addresses().iter().zip(servers.0.state.ejected()) {
                let address = address.to_string();
                let labels = [("zone", zone.as_str()), ("address", address.as_str())];
                family.encode_family(&labels)?.encode_gauge(&u64::from(!is_ejected))?;
            }
        }
        Ok(())
    }
}
