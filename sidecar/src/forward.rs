//! Routing of names to the servers of forward zones. Pure.
//!
//! | name | queried servers |
//! |---|---|
//! | the zone itself, or below it | the servers of the zone |
//! | below several zones | the servers of the longest |
//! | the cluster domain or below it, even if a zone is above it | cluster DNS |
//! | ends in the letters of a zone but not in its labels: `myconsul` and the zone `consul` | cluster DNS |
//! | any other, the root too | cluster DNS |
//!
//! Names are on the wire and in lower case, as in [`podlocal_dns::key::Key`]. Only questions that the cache
//! cannot answer are routed.

use podlocal_dns::wire;
use podlocal_settings::Settings;

/// A value for each zone, and the cluster domain, which is never part of a zone.
#[derive(Debug)]
pub struct ForwardZones<T> {
    zones: Vec<(Vec<u8>, T)>,
    cluster_domain: Vec<u8>,
}

impl<T> ForwardZones<T> {
    /// The zones of the settings, with their values in that order.
    pub fn new(settings: &Settings, values: impl IntoIterator<Item = T>) -> Self {
        let zones = settings.forward_zones.iter().map(|forward| wire::zone(&forward.zone));
        Self { zones: zones.zip(values).collect(), cluster_domain: wire::zone(&settings.cluster_domain) }
    }

    /// The zone that a name belongs to, with its value; `None`: the query for the name goes to cluster DNS.
    pub fn zone_of(&self, name: &[u8]) -> Option<(&[u8], &T)> {
        if self.zones.is_empty() || wire::end_at(name, &self.cluster_domain).is_some() {
            return None;
        }
        let zones = self.all().filter(|(zone, _)| wire::end_at(name, zone).is_some());
        zones.max_by_key(|(zone, _)| zone.len())
    }

    /// Every zone with its value.
    pub fn all(&self) -> impl Iterator<Item = (&[u8], &T)> {
        self.zones.iter().map(|(zone, value)| (zone.as_slice(), value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use podlocal_dns::key::Key;
    use podlocal_dns::wire::Flags;
    use podlocal_settings::value;

    fn of(zones: &str) -> ForwardZones<usize> {
        let zone = value::DomainName::parse("k8s.corp.example").expect("a domain");
        let forward_zones = value::forward_zones(zones, &zone, |_| false).expect("zones");
        ForwardZones::new(&Settings { cluster_domain: zone, forward_zones, ..Settings::defaults() }, 0..)
    }

    #[test]
    fn the_longest_zone_applies_outside_the_cluster_domain() {
        let zones = of("example=10.0.0.1,consul=10.0.0.2,a.corp.example=10.0.0.3,corp.example=10.0.0.4");
        for (name, expected) in [
            ("consul", Some(1)),
            ("web.service.consul", Some(1)),
            ("myconsul", None),
            ("my.notconsul", None),
            ("consul.org", None),
            ("example", Some(0)),
            ("www.example", Some(0)),
            ("corp.example", Some(3)),
            ("b.corp.example", Some(3)),
            ("a.corp.example", Some(2)),
            ("x.y.a.corp.example", Some(2)),
            ("xa.corp.example", Some(3)),
            ("k8s.corp.example", None),
            ("db.prod.svc.k8s.corp.example", None),
            ("myk8s.corp.example", Some(3)),
            ("www.example.com", None),
            (".", None),
        ] {
            let name = wire::name_from_text(name).unwrap_or_else(|| wire::ROOT.to_vec());
            let value = zones.zone_of(&name).map(|(_, value)| *value);
            assert_eq!(value, expected, "{}", wire::NameText(&name));
        }
        assert_eq!(of("").zone_of(b"\x06consul\x00"), None);
    }

    #[test]
    fn zones_are_compared_without_regard_to_case() {
        let zones = of("CONSUL=10.0.0.1");
        let key = Key::new(b"\x03Web\x06CoNsUl\x00\x00\x01\x00\x01", Flags(Flags::RD), false);
        assert_eq!(zones.zone_of(key.name()), Some((b"\x06consul\x00".as_slice(), &0)));
    }
}
