//! The servers together: loops, and the memory of an exchange.

use super::*;
use crate::metrics::Transport;
use crate::query::MARKER_OPTION;
use crate::upstream::network::Network;
use crate::upstream::query_message::QueryMessage;
use podlocal_dns::upstream::Target;
use podlocal_dns::wire::Flags;
use std::time::Duration;

#[tokio::test]
async fn only_the_proxys_own_queries_and_probes_are_a_loop() {
    let (metrics, registry) = Metrics::new();
    let addresses = vec![SocketAddr::from(([127, 0, 0, 1], 1)), SocketAddr::from(([127, 0, 0, 1], 2))];
    let start = || Servers::start(&addresses, &Settings::defaults(), &metrics);
    let (servers, others) = (start().expect("random"), start().expect("random"));
    let key = Key::new(b"\x01a\x00\x00\x01\x00\x01", Flags(Flags::RD), false);
    for Path { marker, .. } in &servers.sockets().paths {
        let probe = marker.probe("cluster.local").expect("random");
        for (key, with_edns) in [(&key, true), (&probe, true), (&probe, false)] {
            let bytes = QueryMessage::new(*marker, with_edns).expect("random").bytes(key);
            let query = Query::parse(&bytes).expect("our own message is a query");
            assert!(servers.is_loop(&query));
            assert!(!others.is_loop(&query), "another proxy's");
        }
        let without_option = QueryMessage::new(*marker, false).expect("random").bytes(&key);
        assert!(!servers.is_loop(&Query::parse(&without_option).expect("a query")));
    }
    assert!((65_001..=65_534).contains(&MARKER_OPTION), "RFC 6891 section 9");
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry).expect("encodes");
    assert!(text.contains("podlocal_dns_upstream_loops_total 6"), "{text}");
}

#[tokio::test]
async fn an_exchange_in_flight_takes_little_memory() {
    let addresses = vec![SocketAddr::from(([127, 0, 0, 1], 1))];
    let servers = Servers::start(&addresses, &Settings::defaults(), &Metrics::new().0);
    let servers = servers.expect("random");
    let key = Key::new(b"\x01a\x00\x00\x01\x00\x01", Flags(Flags::RD), false);
    let exchange = size_of_val(&servers.ask(&key, Instant::now()));
    let target = Target { server: 0, transport: Transport::Udp };
    let attempt = size_of_val(&servers.sockets().ask(target, &key, false));
    assert!(exchange <= 768 && attempt <= 512, "{exchange} bytes, and {attempt} for each attempt");
}

#[test]
fn a_loop_is_logged_once_a_minute() {
    let (warning, start) = (WarningLimit::default(), Instant::now());
    for (seconds, is_due) in [(0, true), (0, false), (59, false), (60, true), (119, false)] {
        assert_eq!(warning.is_due(start + Duration::from_secs(seconds)), is_due, "after {seconds} s");
    }
}
