//! Which names are asked of servers of their own: the forward zones of the settings. Pure.
//!
//! | name | asked of |
//! |---|---|
//! | a zone's own, or below it | the zone's servers |
//! | below several zones | the servers of the longest |
//! | the cluster domain or below it, whatever zone is above | the cluster's DNS |
//! | ends in a zone's letters and not in its labels: `myconsul` and the zone `consul` | the cluster's DNS |
//! | any other, the root too | the cluster's DNS |
//!
//! Names are on the wire and in lower case, as [`crate::cache::key::Key`] has them. Only what is not in the cache comes here.

use podlocal_settings::Settings;

use crate::wire;

/// The zones, and the cluster domain, which is none of them.
#[derive(Debug)]
pub struct ForwardZones {
    zones: Vec<Vec<u8>>,
    cluster_domain: Vec<u8>,
}

impl ForwardZones {
    /// What the settings say.
    pub fn new(settings: &Settings) -> Self {
        let zones = settings.forward_zones.iter().map(|forward| wire::zone_from_text(&forward.zone));
        Self { zones: zones.collect(), cluster_domain: wire::zone_from_text(&settings.cluster_domain) }
    }

    /// The place in the settings of the zone that a name belongs to; `None`: it is asked of the cluster's DNS.
    pub fn zone_of(&self, name: &[u8]) -> Option<usize> {
        if self.zones.is_empty() || wire::end_at(name, &self.cluster_domain).is_some() {
            return None;
        }
        let zones = self.zones.iter().enumerate().filter(|(_, zone)| wire::end_at(name, zone).is_some());
        zones.max_by_key(|(_, zone)| zone.len()).map(|(place, _)| place)
    }

    /// A zone's name, on the wire.
    pub fn name(&self, place: usize) -> Option<&[u8]> {
        self.zones.get(place).map(Vec::as_slice)
    }

    /// How many zones there are.
    pub fn count(&self) -> usize {
        self.zones.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::key::Key;
    use crate::wire::Flags;
    use podlocal_settings::value;

    fn of(zones: &str) -> ForwardZones {
        let zone = "k8s.corp.example".to_owned();
        let forward_zones = value::forward_zones(zones, &zone, |_| false).expect("zones");
        ForwardZones::new(&Settings { cluster_domain: zone, forward_zones, ..Settings::defaults() })
    }

    #[test]
    fn the_longest_zone_of_a_name_holds_and_never_in_the_cluster_domain() {
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
            let name = wire::zone_from_text(name);
            assert_eq!(zones.zone_of(&name), expected, "{}", wire::NameText(&name));
        }
        assert_eq!(of("").zone_of(b"\x06consul\x00"), None);
    }

    #[test]
    fn case_of_names_and_zones_says_nothing() {
        let zones = of("CONSUL=10.0.0.1");
        let key = Key::new(b"\x03Web\x06CoNsUl\x00\x00\x01\x00\x01", Flags(Flags::RD), false);
        assert_eq!(zones.zone_of(key.name()), Some(0));
        assert_eq!(zones.name(0), Some(b"\x06consul\x00".as_slice()));
    }
}
