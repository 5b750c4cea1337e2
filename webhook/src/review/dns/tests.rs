//! The DNS configuration of injected pods.

use podlocal_settings::table::Setting;

use super::*;
use crate::review::annotations;
use crate::review::cluster_state::Tier;

fn cluster() -> Cluster {
    Cluster {
        dns: vec!["10.96.0.10:53".parse().expect("valid")],
        domain: podlocal_settings::Settings::defaults().cluster_domain,
        extra_search: vec!["corp.example".to_owned()],
        version: None,
        serves_impossible_names: false,
        admits_namespaces: true,
        shared_tier: Tier::default(),
        limits: crate::review::limits::Limits::default(),
    }
}

fn configured(base: Base, own: &Value, annotated: &Value) -> Result<Dns, Skip> {
    configure(
        base,
        own,
        "web",
        &cluster(),
        &annotations::read(annotated.as_object(), None, &Vec::new(), "cluster.local"),
    )
}

#[test]
fn servers_that_may_know_other_names_than_the_clusters_dns_are_a_backup() {
    const UPSTREAM: &Setting = &table::UPSTREAM;
    const BACKUP: &Setting = &table::BACKUP_UPSTREAM;
    let (one, both) = (vec!["8.8.8.8"], vec!["10.96.0.10", "8.8.8.8"]);
    for (base, own, annotated, expected) in [
        (Base::Cluster, vec![], vec![], ("10.96.0.10", "")),
        (Base::Cluster, one.clone(), vec![], ("10.96.0.10", "8.8.8.8")),
        (Base::Cluster, both.clone(), vec![], ("10.96.0.10", "8.8.8.8")),
        (Base::Cluster, one.clone(), vec![(BACKUP, "10.0.0.2")], ("10.96.0.10", "10.0.0.2")),
        (Base::Cluster, one.clone(), vec![(BACKUP, "127.0.0.1")], ("10.96.0.10", "8.8.8.8")),
        (Base::Cluster, one.clone(), vec![(UPSTREAM, "10.0.0.2")], ("10.0.0.2", "")),
        (Base::Cluster, one, vec![(UPSTREAM, "10.0.0.2"), (BACKUP, "10.0.0.3")], ("10.0.0.2", "10.0.0.3")),
        (Base::Own, both, vec![], ("10.96.0.10", "8.8.8.8")),
        (Base::Own, vec!["8.8.8.8", "10.96.0.10"], vec![], ("8.8.8.8,10.96.0.10", "")),
        (Base::Own, vec!["1.1.1.1", "8.8.8.8"], vec![], ("1.1.1.1,8.8.8.8", "")),
    ] {
        let annotations: Value =
            annotated.iter().map(|(setting, text)| (setting.annotation(), json!(text))).collect();
        let dns = configured(base, &json!({"nameservers": own}), &annotations).expect("fits");
        let found = (addresses(&dns.upstream), addresses(&dns.backup_upstream));
        assert_eq!(found, (expected.0.to_owned(), expected.1.to_owned()), "{base:?} {own:?} {annotated:?}");
    }
}

#[test]
fn tier_is_used_only_by_pods_on_cluster_dns_without_own_choice() {
    const UPSTREAM: &Setting = &table::UPSTREAM;
    const TIER: &Setting = &table::SHARED_TIER;
    const USE: &Setting = &table::USE_SHARED_TIER;
    let mut cluster = cluster();
    cluster.shared_tier = Tier::at(vec!["10.96.0.53:53".parse().expect("valid")]);
    let own = json!({"nameservers": ["10.0.0.1"]});
    for (base, annotated, expected) in [
        (Base::Cluster, vec![], ("10.96.0.53", 0)),
        (Base::Cluster, vec![(UPSTREAM, "10.0.0.2")], ("", 0)),
        (Base::Cluster, vec![(UPSTREAM, "127.0.0.1")], ("10.96.0.53", 1)),
        (Base::Cluster, vec![(TIER, "10.0.0.3:5353")], ("10.0.0.3:5353", 0)),
        (Base::Cluster, vec![(TIER, "10.0.0.3"), (UPSTREAM, "10.0.0.2")], ("10.0.0.3", 0)),
        (Base::Cluster, vec![(TIER, "::1,10.0.0.3")], ("10.0.0.3", 1)),
        (Base::Cluster, vec![(TIER, "127.0.0.1")], ("10.96.0.53", 1)),
        (Base::Cluster, vec![(USE, "false")], ("", 0)),
        (Base::Cluster, vec![(USE, "false"), (TIER, "10.0.0.3")], ("", 0)),
        (Base::Own, vec![], ("", 0)),
        (Base::Own, vec![(TIER, "10.0.0.3")], ("10.0.0.3", 0)),
    ] {
        let annotations = annotated.iter().map(|(setting, text)| (setting.annotation(), json!(text)));
        let read = annotations::read(Some(&annotations.collect()), None, &Vec::new(), "cluster.local");
        let dns = configure(base, &own, "web", &cluster, &read).expect("fits");
        assert_eq!(
            (addresses(&dns.shared_tier).as_str(), read.errors.len()),
            expected,
            "{base:?} {annotated:?}"
        );
    }
}

#[test]
fn number_of_servers_is_limited_to_the_sidecar_maximum() {
    let mut many = cluster();
    let servers = (1..=9).map(|last| SocketAddr::from(([10, 0, 0, last], 53)));
    many.shared_tier = Tier::at(servers.collect());
    let read = annotations::read(None, None, &Vec::new(), "cluster.local");
    let dns = configure(Base::Cluster, &Value::Null, "web", &many, &read).expect("fits");
    let taken = value::addresses(&addresses(&dns.shared_tier)).expect("the sidecar takes it");
    assert_eq!(taken.len(), 8);
}

#[test]
fn dns_config_beyond_api_server_limits_is_not_generated() {
    let searches = |count: usize, length: usize| {
        let name = |index: usize| format!("{index:0>width$}.example", width = length - 8);
        json!({"searches": (0..count).map(name).collect::<Vec<_>>()})
    };
    assert_eq!(configured(Base::Cluster, &searches(29, 20), &json!({})), Err(Skip::TooManySearchDomains));
    assert!(configured(Base::Cluster, &searches(28, 20), &json!({})).is_ok());
    assert_eq!(configured(Base::Cluster, &searches(28, 71), &json!({})), Err(Skip::SearchListTooLong));
    let four = json!({"nameservers": ["10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4"]});
    assert_eq!(configured(Base::Cluster, &four, &json!({})), Err(Skip::TooManyNameservers));
}

#[test]
fn expansion_without_the_sidecar_matches_the_kubelet() {
    let of = |base, own: &Value| expansion_without_sidecar(base, own, "web", &cluster());
    let usual = ["web.svc.cluster.local", "svc.cluster.local", "cluster.local", "corp.example"];
    assert_eq!(
        of(Base::Cluster, &Value::Null),
        Expansion { search: usual.map(ToOwned::to_owned).to_vec(), ndots: 5 }
    );
    let own =
        json!({"searches": ["a.example", "cluster.local"], "options": [{"name": "ndots", "value": "3"}]});
    let found = of(Base::Cluster, &own);
    assert_eq!((found.search.len(), found.search[4].as_str(), found.ndots), (5, "a.example", 3));
    assert_eq!(
        of(Base::Own, &json!({"searches": ["a.example"]})),
        Expansion { search: vec!["a.example".to_owned()], ndots: 1 }
    );
}
