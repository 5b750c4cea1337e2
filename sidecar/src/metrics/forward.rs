//! The metrics of the servers of forward zones. They are separate from those of cluster DNS, so that each
//! says something about its own servers alone. Without a forward zone there are none of them.

use std::fmt;
use std::sync::Arc;

use prometheus_client::encoding::{EncodeMetric, MetricEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use super::{ByTransport, Metrics, Server};

/// Writes what one metric of a zone has counted; the label of the zone comes first.
type Write = fn(&Metrics, (&str, &str), &mut MetricEncoder<'_>) -> fmt::Result;

/// The metrics of a zone: the name, the type, the help text, and the values.
const FAMILIES: [(&str, MetricType, &str, Write); 5] = [
    (
        "forward_zone_attempts_total",
        MetricType::Counter,
        "Attempts to get an answer from a server of a forward zone, by result",
        |metrics, zone, encoder| {
            metrics.attempts.values().try_for_each(|((ByTransport(transport), result), value)| {
                let labels = [zone, ("transport", transport.name()), ("result", result.label())];
                encoder.encode_family(&labels)?.encode_gauge(&value)
            })
        },
    ),
    (
        "forward_zone_attempt_duration_seconds",
        MetricType::Histogram,
        "Time from the transmission to the end of an attempt, without superseded attempts",
        |metrics, zone, encoder| metrics.attempt_duration.encode(encoder.encode_family(&[zone])?),
    ),
    (
        "forward_zone_responses_total",
        MetricType::Counter,
        "Responses of the servers of a forward zone, by RCODE",
        |metrics, zone, encoder| {
            let values = metrics.responses.values();
            let mut of_zone = values.filter(|((server, _), _)| *server == Server::Upstream);
            of_zone.try_for_each(|((_, rcode), value)| {
                encoder.encode_family(&[zone, ("rcode", rcode.label())])?.encode_gauge(&value)
            })
        },
    ),
    (
        "forward_zone_retransmissions_total",
        MetricType::Counter,
        "Transmissions of a query to the servers of a forward zone after its first one",
        |metrics, zone, encoder| metrics.retransmissions.encode(encoder.encode_family(&[zone])?),
    ),
    (
        "forward_zone_retry_budget_exhausted_total",
        MetricType::Counter,
        "Retries that were not sent because the retry budget of the forward zone was empty",
        |metrics, zone, encoder| metrics.budget_exhausted.encode(encoder.encode_family(&[zone])?),
    ),
];

/// One metric, for all zones.
#[derive(Debug)]
struct Family {
    zones: Arc<[(String, Metrics)]>,
    kind: MetricType,
    write: Write,
}

impl EncodeMetric for Family {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        self.zones.iter().try_for_each(|(zone, metrics)| (self.write)(metrics, ("zone", zone), &mut encoder))
    }

    fn metric_type(&self) -> MetricType {
        self.kind
    }
}

impl Metrics {
    /// For each forward zone, handles that count everything about its servers under the name of the zone, and
    /// everything else in the same metrics as `self`.
    pub fn of_zones(&self, zones: &[&str], registry: &mut Registry) -> Vec<Self> {
        if zones.is_empty() {
            return Vec::new();
        }
        let of_zone = |zone: &&str| {
            let (mut own, new) = (self.clone(), Self::default());
            (own.attempts, own.attempt_duration, own.responses) =
                (new.attempts, new.attempt_duration, new.responses);
            (own.retransmissions, own.budget_exhausted) = (new.retransmissions, new.budget_exhausted);
            ((*zone).to_owned(), own)
        };
        let zones: Arc<[_]> = zones.iter().map(of_zone).collect();
        for (name, kind, help, write) in FAMILIES {
            registry.register(name, help, Family { zones: Arc::clone(&zones), kind, write });
        }
        zones.iter().map(|(_, metrics)| metrics.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::{AttemptResult, ResponseCode, Transport};
    use super::*;
    use std::time::Duration;

    #[test]
    fn attempts_at_a_forward_zone_are_counted_for_that_zone_alone() {
        let (metrics, mut registry) = Metrics::new();
        let zones = metrics.of_zones(&["consul", "corp.example"], &mut registry);
        zones[0].attempt(Transport::Udp, AttemptResult::Timeout, Duration::from_secs(1));
        zones[0].responses.inc((Server::Upstream, ResponseCode::Refused));
        zones[1].retransmissions.inc();
        zones[1].budget_exhausted.inc();
        zones[1].loops.inc();
        let text = podlocal_telemetry::page(&registry);
        for line in [
            "podlocal_dns_forward_zone_attempts_total{zone=\"consul\",transport=\"udp\",result=\"timeout\"} 1",
            "podlocal_dns_forward_zone_attempts_total{zone=\"corp.example\",transport=\"tcp\",result=\"answer\"} 0",
            "podlocal_dns_forward_zone_attempt_duration_seconds_count{zone=\"consul\"} 1",
            "podlocal_dns_forward_zone_responses_total{zone=\"consul\",rcode=\"refused\"} 1",
            "podlocal_dns_forward_zone_retransmissions_total{zone=\"corp.example\"} 1",
            "podlocal_dns_forward_zone_retry_budget_exhausted_total{zone=\"corp.example\"} 1",
            "podlocal_dns_upstream_attempts_total{transport=\"udp\",result=\"timeout\"} 0",
            "podlocal_dns_upstream_responses_total{server=\"upstream\",rcode=\"refused\"} 0",
            "podlocal_dns_upstream_retransmissions_total 0",
            "podlocal_dns_upstream_loops_total 1",
        ] {
            assert!(text.lines().any(|other| other == line), "{line} is missing in:\n{text}");
        }
    }

    #[test]
    fn without_forward_zones_there_are_no_metrics_of_them() {
        let (metrics, mut registry) = Metrics::new();
        assert!(metrics.of_zones(&[], &mut registry).is_empty());
        let text = podlocal_telemetry::page(&registry);
        assert!(!text.contains("forward_"), "{text}");
    }
}
