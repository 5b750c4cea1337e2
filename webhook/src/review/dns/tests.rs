//! The DNS configuration of injected pods.

use podlocal_settings::table::Setting;

use super::*;
use crate::review::annotations;
use crate::review::cluster_state::{ClusterFlags, Tier};

fn cluster() -> Cluster {
    let flags = ClusterFlags { dns: vec![([10, 96, 0, 10], 53).into()], ..ClusterFlags::default() };
    Cluster::new(&flags, "")
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
        let read = annotations::read(annotations.as_object(), None, &Vec::new(), "cluster.local");
        let own = json!({"nameservers": own});
        let dns = configure(base, &own, "web", &cluster(), &read).expect("fits");
        let found = (addresses(&dns.upstream), addresses(&dns.backup_upstream));
        assert_eq!(found, (expected.0.to_owned(), expected.1.to_owned()), "{base:?} {own} {annotated:?}");
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
