//! What is counted of the servers of forward zones: apart from cluster DNS, whose metrics say nothing about them, and the
//! reverse. There are no such metrics where there is no such zone.

use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::count::Count;
use super::{EXCHANGE_SECONDS, ExchangeResult, Metrics, ResponseCode, Transport};

impl Metrics {
    /// For each of those forward zones, handles that count what concerns its servers under its name, and everything else where
    /// these do.
    pub fn of_zones(&self, zones: &[&str], registry: &mut Registry) -> Vec<Self> {
        if zones.is_empty() {
            return Vec::new();
        }
        let exchanges = Family::<[(&str, String); 3], Count>::default();
        let responses = Family::<[(&str, String); 2], Count>::default();
        let durations = Family::<[(&str, String); 1], Histogram>::new_with_constructor(|| {
            Histogram::new(EXCHANGE_SECONDS)
        });
        let hedges = Family::<[(&str, String); 1], Count>::default();
        let budget_exhausted = Family::<[(&str, String); 1], Count>::default();
        let of_zone = |zone: &&str| {
            let zone = || ("zone", (*zone).to_owned());
            let of_result = |transport: Transport, result: ExchangeResult| {
                let (transport, result) = (transport.name().to_owned(), result.name().to_owned());
                exchanges.get_or_create_owned(&[zone(), ("transport", transport), ("result", result)])
            };
            let of_code = ResponseCode::ALL
                .map(|rcode| responses.get_or_create_owned(&[zone(), ("rcode", rcode.name().to_owned())]));
            Self {
                exchanges: Transport::ALL
                    .map(|transport| ExchangeResult::ALL.map(|result| of_result(transport, result))),
                exchange_duration: durations.get_or_create_owned(&[zone()]),
                responses: [of_code.clone(), of_code],
                hedges: hedges.get_or_create_owned(&[zone()]),
                budget_exhausted: budget_exhausted.get_or_create_owned(&[zone()]),
                ..self.clone()
            }
        };
        let metrics = zones.iter().map(of_zone).collect();
        let help = "Attempts to ask a server of a forward zone, by how they ended";
        registry.register("forward_exchanges_total", help, exchanges);
        let help = "Time of an attempt to ask a server of a forward zone that was not overtaken";
        registry.register("forward_exchange_duration_seconds", help, durations);
        let help = "Responses of the servers of a forward zone, by what they say";
        registry.register("forward_responses_total", help, responses);
        let help = "Transmissions of a question to servers of a forward zone after its first";
        registry.register("forward_hedges_total", help, hedges);
        let help = "Attempts to ask a server of a forward zone that were not made because its retry budget was empty";
        registry.register("forward_budget_exhausted_total", help, budget_exhausted);
        metrics
    }
}

#[cfg(test)]
mod tests {
    use super::super::Server;
    use super::*;
    use std::time::Duration;

    #[test]
    fn what_concerns_a_zone_is_counted_there_and_nowhere_else() {
        let (metrics, mut registry) = Metrics::new();
        let zones = metrics.of_zones(&["consul", "corp.example"], &mut registry);
        zones[0].exchange(Transport::Udp, ExchangeResult::Silent, Duration::from_secs(1));
        zones[0].response(Server::Upstream, ResponseCode::Refused);
        zones[1].hedged();
        zones[1].budget_exhausted();
        zones[1].looped();
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).expect("encodes");
        for line in [
            "podlocal_dns_forward_exchanges_total{zone=\"consul\",transport=\"udp\",result=\"silent\"} 1",
            "podlocal_dns_forward_exchanges_total{zone=\"corp.example\",transport=\"tcp\",result=\"answer\"} 0",
            "podlocal_dns_forward_exchange_duration_seconds_count{zone=\"consul\"} 1",
            "podlocal_dns_forward_responses_total{zone=\"consul\",rcode=\"refused\"} 1",
            "podlocal_dns_forward_hedges_total{zone=\"corp.example\"} 1",
            "podlocal_dns_forward_budget_exhausted_total{zone=\"corp.example\"} 1",
            "podlocal_dns_upstream_exchanges_total{transport=\"udp\",result=\"silent\"} 0",
            "podlocal_dns_upstream_responses_total{server=\"upstream\",rcode=\"refused\"} 0",
            "podlocal_dns_upstream_hedges_total 0",
            "podlocal_dns_upstream_loops_total 1",
        ] {
            assert!(text.lines().any(|other| other == line), "{line} is missing in:\n{text}");
        }
    }

    #[test]
    fn without_a_zone_there_is_no_such_metric() {
        let (metrics, mut registry) = Metrics::new();
        assert!(metrics.of_zones(&[], &mut registry).is_empty());
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).expect("encodes");
        assert!(!text.contains("forward_"), "{text}");
    }
}
