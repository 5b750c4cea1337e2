//! The metrics of the servers of forward zones. They are separate from those of cluster DNS, so that each
//! says something about its own servers alone. Without a forward zone there are none of them.

use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::count::Count;
use super::{ATTEMPT_SECONDS, AttemptResult, Metrics, ResponseCode, Transport};

impl Metrics {
    /// For each forward zone, handles that count everything about its servers under the name of the zone, and
    /// everything else in the same metrics as `self`.
    pub fn of_zones(&self, zones: &[&str], registry: &mut Registry) -> Vec<Self> {
        if zones.is_empty() {
            return Vec::new();
        }
        let attempts = Family::<[(&str, String); 3], Count>::default();
        let responses = Family::<[(&str, String); 2], Count>::default();
        let durations = Family::<[(&str, String); 1], Histogram>::new_with_constructor(|| {
            Histogram::new(ATTEMPT_SECONDS)
        });
        let retransmissions = Family::<[(&str, String); 1], Count>::default();
        let budget_exhausted = Family::<[(&str, String); 1], Count>::default();
        let of_zone = |zone: &&str| {
            let zone = || ("zone", (*zone).to_owned());
            let of_result = |transport: Transport, result: AttemptResult| {
                let (transport, result) = (transport.name().to_owned(), result.name().to_owned());
                attempts.get_or_create_owned(&[zone(), ("transport", transport), ("result", result)])
            };
            let of_code = ResponseCode::ALL
                .map(|rcode| responses.get_or_create_owned(&[zone(), ("rcode", rcode.name().to_owned())]));
            Self {
                attempts: Transport::ALL
                    .map(|transport| AttemptResult::ALL.map(|result| of_result(transport, result))),
                attempt_duration: durations.get_or_create_owned(&[zone()]),
                responses: [of_code.clone(), of_code],
                retransmissions: retransmissions.get_or_create_owned(&[zone()]),
                budget_exhausted: budget_exhausted.get_or_create_owned(&[zone()]),
                ..self.clone()
            }
        };
        let metrics = zones.iter().map(of_zone).collect();
        let help = "Attempts to get an answer from a server of a forward zone, by result";
        registry.register("forward_zone_attempts_total", help, attempts);
        let help = "Time from the transmission to the end of an attempt, without superseded attempts";
        registry.register("forward_zone_attempt_duration_seconds", help, durations);
        let help = "Responses of the servers of a forward zone, by RCODE";
        registry.register("forward_zone_responses_total", help, responses);
        let help = "Transmissions of a query to the servers of a forward zone after its first one";
        registry.register("forward_zone_retransmissions_total", help, retransmissions);
        let help = "Retries that were not sent because the retry budget of the forward zone was empty";
        registry.register("forward_zone_retry_budget_exhausted_total", help, budget_exhausted);
        metrics
    }
}

#[cfg(test)]
mod tests {
    use super::super::Server;
    use super::*;
    use std::time::Duration;

    #[test]
    fn attempts_at_a_forward_zone_are_counted_for_that_zone_alone() {
        let (metrics, mut registry) = Metrics::new();
        let zones = metrics.of_zones(&["consul", "corp.example"], &mut registry);
        zones[0].attempt(Transport::Udp, AttemptResult::Timeout, Duration::from_secs(1));
        zones[0].response(Server::Upstream, ResponseCode::Refused);
        zones[1].retransmitted();
        zones[1].budget_exhausted();
        zones[1].looped();
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).expect("encodes");
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
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).expect("encodes");
        assert!(!text.contains("forward_"), "{text}");
    }
}
