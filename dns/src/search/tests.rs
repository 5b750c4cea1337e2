use super::*;
use crate::wire::Flags;

const TYPE_SRV: u16 = 33;
const TYPE_TXT: u16 = 16;
const TYPE_PTR: u16 = 12;

fn settings(local_nxdomain: LocalNxdomain) -> Settings {
    let mut settings = Settings::defaults();
    settings.namespace = Some("web".to_owned());
    settings.local_nxdomain = local_nxdomain;
    settings
}

fn key(name: &str, rtype: u16) -> Key {
    let name = wire::name_from_text(name).expect("a name");
    Key::new(&wire::question(&name, rtype, CLASS_IN), Flags(Flags::RD), false)
}

/// In one word: `ask`, `complete`, the rule by which it is impossible, or the names above, as people write them.
fn verdict(search: &Search, name: &str, rtype: u16) -> String {
    let text = |name: Option<&[u8]>| {
        let text = name.map(|name| wire::NameText(name).to_string());
        text.map_or("-".to_owned(), |text| text.trim_end_matches(".cluster.local.").to_owned())
    };
    match search.verdict(&key(name, rtype)) {
        Verdict::Ask => "ask".to_owned(),
        Verdict::Impossible(rule) => rule.to_string(),
        Verdict::Probe => "probe".to_owned(),
        Verdict::Below(ancestors) => format!("{} {}", text(ancestors.namespace), text(ancestors.service)),
        Verdict::Complete => "complete".to_owned(),
    }
}

fn check(search: &Search, table: &[(&str, &str)]) {
    for (name, expected) in table {
        for rtype in [TYPE_A, TYPE_AAAA] {
            assert_eq!(verdict(search, name, rtype), *expected, "{name}, type {rtype}");
        }
    }
}

#[test]
fn every_name_of_the_dns_specification_for_kubernetes_is_asked_for() {
    let search = Search::new(&settings(LocalNxdomain::Full));
    check(
        &search,
        &[
            ("dns-version.cluster.local", "ask"),
            ("db.web.svc.cluster.local", "ask"),
            ("db.prod.svc.cluster.local", "prod.svc -"),
            ("_https._tcp.db.prod.svc.cluster.local", "ask"),
            ("rank-0.workers.web.svc.cluster.local", "- workers.web.svc"),
            ("rank-0.workers.prod.svc.cluster.local", "prod.svc workers.prod.svc"),
            ("10-244-1-7.db.prod.svc.cluster.local", "prod.svc db.prod.svc"),
        ],
    );
}

#[test]
fn names_of_coredns_beyond_the_specification_are_asked_for() {
    let search = Search::new(&settings(LocalNxdomain::Full));
    check(
        &search,
        &[
            ("cluster.local", "ask"),
            ("svc.cluster.local", "ask"),
            ("pod.cluster.local", "ask"),
            ("prod.svc.cluster.local", "ask"),
            ("ns.dns.cluster.local", "ask"),
            ("10-244-1-7.prod.pod.cluster.local", "ask"),
            ("x.10-244-1-7.prod.pod.cluster.local", "ask"),
            // The underscore of a port and its protocol is optional.
            ("http.tcp.db.prod.svc.cluster.local", "prod.svc db.prod.svc"),
            ("_http.tcp.db.prod.svc.cluster.local", "prod.svc db.prod.svc"),
            ("zone-a.prefer._zone.db.prod.svc.cluster.local", "ask"),
            ("region.zone-a.pin._zone.db.prod.svc.cluster.local", "ask"),
            ("*.prod.svc.cluster.local", "prod.svc -"),
        ],
    );
}

#[test]
fn r1_to_r3_what_an_expansion_makes_of_an_outside_name_is_impossible() {
    let search = Search::new(&settings(LocalNxdomain::Impossible));
    check(
        &search,
        &[
            ("api.example.com.cluster.local", "R1"),
            ("com.cluster.local", "R1"),
            ("dns.cluster.local", "R1"),
            ("a.dns-version.cluster.local", "R1"),
            ("x.ns.dns.cluster.local", "R1"),
            ("svcs.cluster.local", "R1"),
            ("api.example.com.web.svc.cluster.local", "R3"),
            ("a.b.example.com.web.svc.cluster.local", "R2"),
            ("a.tcp.b.c.web.svc.cluster.local", "R2"),
            ("kubernetes.default.svc.cluster.local.web.svc.cluster.local", "R2"),
            // R4 and R5 concern `full` alone.
            ("api.example.com.svc.cluster.local", "ask"),
            ("example.com.web.svc.cluster.local", "ask"),
        ],
    );
}

#[test]
fn r4_and_r5_a_missing_namespace_or_service_decides_for_its_names() {
    let search = Search::new(&settings(LocalNxdomain::Full));
    check(
        &search,
        &[
            ("api.example.com.svc.cluster.local", "com.svc example.com.svc"),
            ("example.com.svc.cluster.local", "com.svc -"),
            ("example.com.web.svc.cluster.local", "- com.web.svc"),
        ],
    );
}

#[test]
fn r6_other_types_and_classes_are_asked_for() {
    let search = Search::new(&settings(LocalNxdomain::Full));
    for rtype in [TYPE_SRV, TYPE_TXT, 255, 12, 65] {
        assert_eq!(verdict(&search, "api.example.com.cluster.local", rtype), "ask");
    }
    for name in ["a.cluster.local", "db.prod.svc"] {
        let name = wire::name_from_text(name).expect("a name");
        let chaos = Key::new(&wire::question(&name, TYPE_A, 3), Flags(0), false);
        assert_eq!(search.verdict(&chaos), Verdict::Ask);
    }
}

#[test]
fn names_of_every_type_are_completed() {
    let search = Search::new(&settings(LocalNxdomain::Full));
    for rtype in [TYPE_SRV, TYPE_TXT, 255, 12, 65] {
        assert_eq!(verdict(&search, "_http._tcp.db.prod.svc", rtype), "complete", "type {rtype}");
        assert_eq!(verdict(&search, "_http._tcp.db.prod", rtype), "complete", "type {rtype}");
        assert_eq!(verdict(&search, "4.3.2.1.in-addr.arpa", rtype), "ask", "type {rtype}");
    }
}

#[test]
fn off_decides_nothing_inside_the_cluster_domain() {
    let search = Search::new(&settings(LocalNxdomain::Off));
    for name in ["a.cluster.local", "api.example.com.web.svc.cluster.local", "a.b.svc.cluster.local"] {
        assert_eq!(verdict(&search, name, TYPE_A), "ask");
    }
    assert_eq!(verdict(&search, "db.prod.svc", TYPE_A), "complete", "completion invents nothing");
}

#[test]
fn completion_is_for_what_the_tuned_ndots_no_longer_expands() {
    let search = Search::new(&settings(LocalNxdomain::Full));
    check(
        &search,
        &[
            ("db", "ask"),
            ("db.prod", "ask"),
            ("db.prod.svc", "complete"),
            ("api.example.com", "complete"),
            ("a.b.example.com", "complete"),
            ("a.b.c.d.example", "complete"),
            ("a.b.c.d.e.example", "ask"),
            ("notcluster.local.x", "complete"),
        ],
    );
    let usual = Search::new(&Settings { ndots: 5, ..settings(LocalNxdomain::Full) });
    check(&usual, &[("db.prod.svc", "ask"), ("api.example.com", "ask")]);
    let no_list = Search::new(&Settings::defaults());
    check(&no_list, &[("db.prod.svc", "ask"), ("api.example.com", "ask")]);
}

#[test]
fn completion_goes_by_the_ndots_that_the_pod_would_have() {
    for (original, expected) in
        [(2, ["ask"; 3]), (3, ["complete", "ask", "ask"]), (5, ["complete", "complete", "ask"])]
    {
        let search = Search::new(&Settings { original_ndots: original, ..settings(LocalNxdomain::Full) });
        let names = ["api.example.com", "a.b.example.com", "a.b.c.d.example.com"];
        assert_eq!(names.map(|name| verdict(&search, name, TYPE_A)), expected, "{original}");
    }
    let search = Search::new(&settings(LocalNxdomain::Full));
    assert_eq!(search.verdict(&key("api.example.com", TYPE_A).as_is()), Verdict::Ask, "it was completed");
}

/// The candidates of a name: without the cluster domain, and with the question that is asked first.
fn candidates(search: &Search, name: &str) -> Vec<String> {
    let text = |name: &[u8]| {
        let text = wire::NameText(name).to_string();
        text.trim_end_matches('.').trim_end_matches("cluster.local").trim_end_matches('.').to_owned()
    };
    let name = wire::name_from_text(name).expect("a name");
    let candidate = |Candidate { name, first }| match first {
        First::Own => text(&name),
        First::Address => format!("{} if A", text(&name)),
        First::Namespace(namespace) => format!("{} if {}", text(&name), text(&namespace)),
    };
    search.candidates(&name).into_iter().map(candidate).collect()
}

#[test]
fn impossible_candidates_are_left_out() {
    let [full, impossible, off] = [LocalNxdomain::Full, LocalNxdomain::Impossible, LocalNxdomain::Off]
        .map(|assist| Search::new(&settings(assist)));
    let table: &[(&str, &[&str])] = &[
        ("api.example.com", &["api.example.com.svc if com.svc"]),
        ("redis-0.redis.dev", &["redis-0.redis.dev.svc if dev.svc"]),
        ("rank-0.workers.web", &["rank-0.workers.web.svc"]),
        ("a.b.example.com", &[]),
        ("_sip._tcp.example.com", &["_sip._tcp.example.com.svc if com.svc"]),
        ("sip.udp.example.com", &["sip.udp.example.com.svc if com.svc"]),
        ("x.tcp.com", &["x.tcp.com.web.svc", "x.tcp.com.svc if com.svc"]),
        ("a.b.c.d.example", &[]),
        ("db.prod.svc", &["db.prod.svc.svc if svc.svc", "db.prod.svc"]),
        ("rank-0.db.prod.svc", &["rank-0.db.prod.svc"]),
        ("_http._tcp.db.prod.svc", &["_http._tcp.db.prod.svc"]),
        ("1-2-3-4.prod.pod", &["1-2-3-4.prod.pod.svc if pod.svc", "1-2-3-4.prod.pod if A"]),
        ("a.prefer._zone.db.prod", &["a.prefer._zone.db.prod.svc if A"]),
    ];
    for (name, expected) in table {
        assert_eq!(candidates(&full, name), *expected, "{name}");
    }
    assert_eq!(candidates(&impossible, "api.example.com"), ["api.example.com.svc if A"]);
    let all = ["api.example.com.web.svc if A", "api.example.com.svc if A", "api.example.com if A"];
    assert_eq!(candidates(&off, "api.example.com"), all);
}

#[test]
fn names_that_end_in_a_search_domain_are_not_expanded_again() {
    let search = vec!["web.svc.cluster.local".to_owned(), "corp.example".to_owned()];
    let search = Search::new(&Settings { search: Some(search), ..settings(LocalNxdomain::Full) });
    check(&search, &[("a.corp.example", "ask"), ("a.notcorp.example", "complete")]);
}

#[test]
fn the_cluster_domain_ends_a_name_at_a_whole_label() {
    let search = Search::new(&settings(LocalNxdomain::Full));
    for (name, at) in [("a.cluster.local", Some(2)), ("a.mycluster.local", None), ("cluster.local", Some(0))]
    {
        assert_eq!(search.zone_at(&wire::name_from_text(name).expect("a name")), at, "{name}");
    }
    assert_eq!(search.zone_at(&[0]), None);
}

#[test]
fn the_ladder_is_the_c_librarys() {
    let search = Search::new(&settings(LocalNxdomain::Full));
    let texts = |text: &str| {
        let names = search.search_names(text);
        names.iter().map(|name| wire::NameText(name).to_string()).collect::<Vec<_>>()
    };
    let expanded = ["db.prod.web.svc.cluster.local.", "db.prod.svc.cluster.local.", "db.prod.cluster.local."];
    assert_eq!(texts("db.prod"), [&expanded[..], &["db.prod."]].concat());
    assert_eq!(texts("www.example.com")[0], "www.example.com.");
    assert_eq!(texts("db."), ["db."]);
    assert_eq!(search.search_names("www.example.com").len(), 4);
}

#[test]
fn nxdomain_is_shared_by_all_types_or_in_the_cluster_by_addresses() {
    let search = Search::new(&settings(LocalNxdomain::Full));
    assert!(search.shares_missing(&key("www.example.com", TYPE_TXT)));
    assert!(search.shares_missing(&key("db.web.svc.cluster.local", TYPE_A)));
    assert!(!search.shares_missing(&key("svc.cluster.local", TYPE_TXT)));
    for name in ["8.8.96.10.in-addr.arpa", "7.0.0.0.6.9.0.0.d.f.ip6.arpa", "in-addr.arpa"] {
        assert!(!search.shares_missing(&key(name, TYPE_PTR)), "{name}");
        assert!(search.shares_missing(&key(name, TYPE_AAAA)), "{name}");
    }
    assert!(search.shares_missing(&key("8.8.96.10.xin-addr.arpa", TYPE_PTR)));
}

#[test]
fn probes_are_answered_for_any_type_and_setting() {
    for assist in [LocalNxdomain::Full, LocalNxdomain::Off] {
        let search = Search::new(&settings(assist));
        for rtype in [TYPE_TXT, TYPE_A] {
            assert_eq!(verdict(&search, "0123.podlocal-dns-probe.cluster.local", rtype), "probe");
        }
        for other in [
            "podlocal-dns-probe.cluster.local",
            "a.b.podlocal-dns-probe.cluster.local",
            "a.podlocal-dns-probe.example",
        ] {
            assert_ne!(verdict(&search, other, TYPE_TXT), "probe", "{other}");
        }
    }
}
