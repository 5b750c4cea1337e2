use super::*;

/// Texts by the name of their setting, each given with the flag.
pub(crate) fn given(texts: &[(&str, &str)]) -> impl Fn(&Setting) -> Vec<Given> {
    move |setting| {
        let of_setting = texts.iter().filter(|(name, _)| *name == setting.name);
        of_setting.map(|(_, text)| Given { origin: setting.flag(), text: (*text).to_owned() }).collect()
    }
}

#[test]
fn every_default_and_bound_of_the_table_parses() {
    let settings = Settings::defaults();
    assert_eq!(settings.cache_size, 4 << 20);
    assert_eq!(settings.memory_request().as_str(), "12Mi");
    assert_eq!(settings.memory_limit().as_str(), "32Mi");
    let shared = read(given(&[("role", "shared")]));
    assert_eq!((shared.settings.cache_size, shared.errors), (64 << 20, Vec::new()));
    assert_eq!(shared.settings.search_list(), Vec::<String>::new());
    // A second, invalid text for each setting makes `read` parse every bound, too.
    let refused = read(|setting| vec![Given { origin: setting.flag(), text: "? ?".to_owned() }]);
    assert_eq!(refused.errors.len(), table::TABLE.len());
    assert_eq!(refused.settings, settings);
}

#[test]
fn the_first_given_value_wins_and_is_passed_on() {
    let read = read(given(&[("cache-size", " 8Mi "), ("cache-size", "1Mi")]));
    assert_eq!(read.settings.cache_size, 8 << 20);
    assert_eq!(read.accepted, [(&table::CACHE_SIZE, "8Mi".to_owned())]);
    assert_eq!(read.errors, []);
}

#[test]
fn an_invalid_value_falls_back_to_the_next_given_one() {
    let read = read(given(&[("ndots", "many"), ("ndots", "3")]));
    assert_eq!(read.settings.ndots, 3);
    assert_eq!(read.errors[0].to_string(), "--ndots: invalid value \"many\": expected a whole number");
}

#[test]
fn an_empty_list_overrides_other_lists() {
    let read = read(given(&[
        ("wait-for-names", " "),
        ("wait-for-names", "*.workers"),
        ("prefetch-names", ""),
        ("prefetch-names", "db.prod"),
        ("upstream", ""),
        ("upstream", "10.0.0.1"),
        ("search", ""),
        ("search", "a.example"),
    ]));
    assert_eq!((read.settings, read.errors), (Settings::defaults(), Vec::new()));
}

#[test]
fn only_optional_lists_may_be_empty() {
    for setting in table::TABLE {
        let read = read(given(&[(setting.name, "")]));
        let may_be_empty = setting.is_list() && setting.default.is_empty();
        assert_eq!(read.errors.is_empty(), may_be_empty, "{}", setting.name);
    }
}

#[test]
fn all_errors_are_reported_together() {
    let read = read(given(&[
        ("ndots", "16"),
        ("cache-size", "4MB"),
        ("max-ttl", "60"),
        ("log-level", "loud"),
        ("upstream", "dns.example"),
    ]));
    let origins: Vec<_> = read.errors.iter().map(|error| error.origin.as_str()).collect();
    assert_eq!(origins, ["--ndots", "--cache-size", "--max-ttl", "--upstream", "--log-level"]);
    assert_eq!(read.errors[0].expected, "a number of dots from 0 to 15");
    assert_eq!(read.settings, Settings::defaults());
}

#[test]
fn the_admin_port_differs_from_the_ports_of_dns() {
    let read = read(given(&[("admin-port", "53")]));
    let expected = "--admin-port: invalid value \"53\": expected a port that DNS is not served on";
    assert_eq!((read.settings.admin_port, read.errors[0].to_string().as_str()), (9353, expected));
    assert_eq!(read.accepted, []);
    let read = super::read(given(&[("admin-port", "53"), ("listen", "127.0.0.1:5353")]));
    assert_eq!((read.settings.admin_port, read.errors), (53, Vec::new()));
    let read = super::read(given(&[("admin-port", "0"), ("listen", "127.0.0.1:0")]));
    assert_eq!((read.settings.admin_port, read.errors), (0, Vec::new()), "any free port");
    let read = super::read(given(&[("listen", "127.0.0.1:9353")]));
    assert_eq!(read.errors[0].origin, "--admin-port", "the default is taken");
}

#[test]
fn a_limit_has_room_for_a_full_cache() {
    let read = read(given(&[("cache-size", "64Mi"), ("memory-limit", "32Mi")]));
    let expected = "--memory-limit: invalid value \"32Mi\": expected at least 72Mi, because of cache-size";
    assert_eq!(read.errors[0].to_string(), expected);
    assert_eq!((read.settings, read.accepted), (Settings::defaults(), Vec::new()));
    let read = super::read(given(&[("cache-size", "64Ki"), ("memory-limit", "9Mi")]));
    assert_eq!((read.settings.memory_limit().as_str(), read.errors), ("9Mi", Vec::new()));
}

#[test]
fn the_proxy_does_not_query_itself() {
    for name in ["upstream", "backup-upstream", "shared-tier"] {
        let text = "127.0.0.1,192.0.2.53,0.0.0.0,[::1]:53,::ffff:127.0.0.1,::ffff:0.0.0.0,127.0.0.1:5353";
        let read = read(given(&[(name, text)]));
        assert_eq!(read.errors.len(), 1, "{name}");
        let settings = &read.settings;
        let lists = [&settings.upstream, &settings.backup_upstream, &settings.shared_tier];
        let texts: Vec<_> = lists.into_iter().flatten().map(ToString::to_string).collect();
        assert_eq!(texts, ["192.0.2.53:53", "127.0.0.1:5353"], "{name}");
    }
}

#[test]
fn invalid_forward_zones_fall_back_to_the_next_given_ones() {
    let read = read(given(&[
        ("forward-zones", "a..b=10.0.0.1, x.k8s.example=10.0.0.1,consul=127.0.0.1:5353"),
        ("forward-zones", "consul=10.0.0.53"),
        ("cluster-domain", "k8s.example"),
        ("listen", "127.0.0.1:5353"),
    ]));
    let texts: Vec<_> = read.errors.iter().map(ToString::to_string).collect();
    assert_eq!(
        texts,
        [
            "--forward-zones: invalid value \"a..b=10.0.0.1\": expected a domain name before the =, such as corp.example",
            "--forward-zones: invalid value \"x.k8s.example=10.0.0.1\": expected a zone outside the cluster domain, k8s.example: it \
             would hide names of the cluster",
            "--forward-zones: invalid value \"consul=127.0.0.1:5353\": expected servers other than the proxy itself, which is \
             127.0.0.1:5353",
        ]
    );
    let zones: Vec<_> = read.settings.forward_zones.iter().map(|zone| zone.zone.as_str()).collect();
    assert_eq!(zones, ["consul"]);
    assert!(read.accepted.contains(&(&table::FORWARD_ZONES, "consul=10.0.0.53".to_owned())));
}

#[test]
fn contradicting_values_are_errors_of_both() {
    let read = read(given(&[
        ("min-ttl", "30m"),
        ("max-ttl", "5m"),
        ("memory-request", "1Gi"),
        ("memory-limit", "64Mi"),
    ]));
    let texts: Vec<_> = read.errors.iter().map(ToString::to_string).collect();
    assert_eq!(
        texts,
        [
            "--min-ttl: invalid value \"30m\": expected at most max-ttl, which is 5m",
            "--memory-request: invalid value \"1Gi\": expected at most memory-limit, which is 64Mi"
        ]
    );
    assert_eq!(read.settings, Settings::defaults());
    assert_eq!(read.accepted, []);
}
