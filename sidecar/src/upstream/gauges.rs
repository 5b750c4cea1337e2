//! The health of the servers, at the moment of a scrape.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::metrics::MetricType;

use super::path::Path;
use super::{Servers, Upstream as _};
use crate::metrics::{Gauges, Server};

impl Gauges for Servers {
    fn gauges(&self) -> Vec<(&'static str, &'static str, u64)> {
        let is_down = self.condition().is_down;
        let idle = self.0.sockets.pool().count();
        let paths = self.paths();
        let ejected = |of_tier: bool| {
            paths.iter().filter(|(path, is_ejected)| path.is_tier == of_tier && *is_ejected).count() as u64
        };
        vec![
            ("upstream_ejected_servers", "Servers of the upstream that are ejected", ejected(false)),
            ("shared_tier_ejected_servers", "Servers of the shared tier that are ejected", ejected(true)),
            (
                "upstream_unavailable",
                "1 while no upstream server is known to answer, else 0",
                u64::from(is_down),
            ),
            ("upstream_tcp_idle_connections", "Idle TCP connections to upstream servers", idle as u64),
        ]
    }

    fn servers(&self) -> Vec<(String, Server, bool)> {
        let shown = |(path, is_ejected): (&Path, bool)| {
            let server = if path.is_tier { Server::SharedTier } else { Server::Upstream };
            (path.address.to_string(), server, !is_ejected)
        };
        self.paths().into_iter().map(shown).collect()
    }
}

/// The health of the servers of each zone, at the moment of a scrape.
#[derive(Debug)]
pub(super) struct ZonesHealth(pub(super) Vec<(String, Servers)>);

impl Collector for ZonesHealth {
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
            for (path, is_ejected) in servers.paths() {
                let address = path.address.to_string();
                let labels = [("zone", zone.as_str()), ("address", address.as_str())];
                family.encode_family(&labels)?.encode_gauge(&u64::from(!is_ejected))?;
            }
        }
        Ok(())
    }
}
