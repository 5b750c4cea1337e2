use podlocal_dns::report::stats::{Cache, Memory, Name};

use super::*;

fn counts(of: &[(&str, u64)]) -> Counts {
    of.iter().map(|(label, count)| ((*label).to_owned(), *count)).collect()
}

pub(crate) fn stats() -> Stats {
    let server = |address: &str, is_shared_tier: bool, failures: u32| Server {
        address: address.to_owned(),
        is_shared_tier,
        is_ejected: failures > 1,
        failures,
        srtt_us: (failures == 0).then_some(840),
        rttvar_us: (failures == 0).then_some(210),
        last_response_s: (failures == 0).then_some(2),
        last_failure_s: Some(190),
        last_failure: Some("timeout".to_owned()),
    };
    Stats {
        version: "0.1.0".to_owned(),
        uptime_s: 11_530,
        role: "pod".to_owned(),
        listen: vec!["127.0.0.1:53".to_owned(), "[::1]:53".to_owned()],
        workers: 1,
        search: Vec::new(),
        ndots: 2,
        queries: counts(&[("udp", 1990), ("tcp", 10)]),
        outcomes: counts(&[
            ("hit", 1500),
            ("impossible_name", 300),
            ("miss", 190),
            ("upstream_failed", 10),
            ("stale", 0),
        ]),
        background_queries: counts(&[("refresh", 12), ("search_completion", 0)]),
        limits_reached: counts(&[("in_flight", 0)]),
        panics: 0,
        queries_waiting: 1,
        queries_in_flight: 2,
        cache: Cache { entries: 211, bytes: 84 << 10, max_bytes: 4 << 20 },
        upstream: Upstream {
            is_unavailable: false,
            retry_budget: 49,
            attempts: counts(&[("answer", 190), ("timeout", 40), ("failure", 0)]),
            retransmissions: 30,
            retry_budget_exhausted: 0,
            servers: vec![server("10.96.0.40:53", true, 2), server("10.96.0.10:53", false, 0)],
        },
        forward_zones: vec![ForwardZone {
            zone: "consul.".to_owned(),
            upstream: Upstream {
                is_unavailable: true,
                retry_budget: 3,
                attempts: counts(&[("timeout", 4)]),
                retransmissions: 2,
                retry_budget_exhausted: 1,
                servers: vec![server("10.0.0.53:53", false, 2)],
            },
        }],
        memory: Some(Memory { resident_bytes: 3 << 20, peak_resident_bytes: 3_250_000 }),
        names: None,
    }
}

#[test]
fn stats_page_has_all_counters() {
    let expected = "\
podlocal   sidecar 0.1.0, pod, 1 thread, up 3 h 12 m
listening  127.0.0.1:53 [::1]:53
queries    2000
           hit                     1500   75.0 %  ##############################
           impossible_name          300   15.0 %  ######
           miss                     190    9.5 %  ####
           upstream_failed           10    0.5 %  #
hit rate   88.2 % from the cache, 90.0 % answered without an upstream query
waiting    1 client, 2 upstream exchanges in flight
cache      211 answers, 84 KiB of 4.0 MiB
memory     3.0 MiB, at most 3.1 MiB
upstream   available; 230 attempts: answer 190, timeout 40; 30 retransmissions; retry budget 49, exhausted 0 times
           10.96.0.40:53 (shared tier) ejected after 2 failures, no response yet, last failure 3 m 10 s ago (timeout)
           10.96.0.10:53 healthy, round-trip time 0.8 ms +- 0.2 ms, last response 2 s ago, last failure 3 m 10 s ago (timeout)
forward    consul. unavailable; 4 attempts: timeout 4; 2 retransmissions; retry budget 3, exhausted 1 time
           10.0.0.53:53 ejected after 2 failures, no response yet, last failure 3 m 10 s ago (timeout)
background refresh 12
limits     none
";
    assert_eq!(page(&stats(), None, Paint::NONE), expected);
}

#[test]
fn the_page_shows_a_rate_and_the_requested_names() {
    let previous = Stats { uptime_s: 11_528, queries: counts(&[("udp", 1900)]), ..stats() };
    let name = |name: &str, count, error| Name { name: name.to_owned(), count, error };
    let top = vec![name("db.n.svc.k.", 40, 0), name("api.example.com.", 9, 3)];
    let after = Stats { names: Some(Names { counted_for_s: 61, top }), panics: 1, ..stats() };
    let page = page(&after, Some(&previous), Paint::NONE);
    for line in [
        "queries    2000, 50 per second",
        "names      counted for 1 m 1 s",
        "                   40  db.n.svc.k.",
        "                    9  api.example.com. (at most 3 too high)",
        "panics     1; please report the lines in the log",
    ] {
        assert!(page.lines().any(|other| other == line), "{line} is missing in\n{page}");
    }
}

#[test]
fn the_page_of_an_idle_proxy_is_complete() {
    let idle = Stats { queries: Counts::new(), outcomes: Counts::new(), ..stats() };
    let idle = Stats { names: Some(Names { counted_for_s: 0, top: Vec::new() }), ..idle };
    let page = page(&idle, Some(&idle), Paint::NONE);
    assert!(page.contains("queries    0, 0 per second\nhit rate   no queries yet\n"), "{page}");
    assert!(page.contains("none yet: run stats again, or use --watch"), "{page}");
}
