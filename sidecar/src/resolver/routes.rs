//! Where questions go: to the cluster's DNS, or to the servers of a forward zone.
//!
//! Each has its own servers with their own health, and its own places for questions under way: while one is silent, its
//! questions do not take the places of the others.

use std::sync::Arc;

use podlocal_settings::Settings;

use super::Answer;
use crate::cache::key::Key;
use crate::flight::Flights;
use crate::forward::ForwardZones;
use crate::limits;

/// The cluster's DNS, and the forward zones.
#[derive(Debug)]
pub(super) struct Routes<U> {
    cluster: Route<U>,
    /// In the order of the settings.
    forward: Vec<Route<U>>,
    zones: ForwardZones,
}

/// Who answers some of the names, and what is asked there at the moment.
#[derive(Debug)]
pub(super) struct Route<U> {
    pub(super) upstream: U,
    /// One exchange per question.
    pub(super) questions: Arc<Flights<Key, Answer>>,
    /// One walk through the search list per question.
    pub(super) completions: Arc<Flights<Key, Answer>>,
}

impl<U> Routes<U> {
    /// The cluster's DNS, and the servers of each forward zone of the settings, in that order.
    pub(super) fn new(settings: &Settings, cluster: U, forward: Vec<U>) -> Self {
        let route = |upstream, most_flights| Route {
            upstream,
            questions: Flights::new(most_flights, settings.max_waiters_per_query),
            completions: Flights::new(most_flights, settings.max_waiters_per_query),
        };
        let zones = ForwardZones::new(settings);
        debug_assert_eq!(zones.count(), forward.len(), "every zone has its servers");
        let most_forwarded = limits::forwarded_flights(settings.max_in_flight, forward.len());
        Self {
            cluster: route(cluster, settings.max_in_flight),
            forward: forward.into_iter().map(|upstream| route(upstream, most_forwarded)).collect(),
            zones,
        }
    }

    /// The way of a name.
    pub(super) fn of(&self, name: &[u8]) -> &Route<U> {
        let forward = self.zones.zone_of(name).and_then(|place| self.forward.get(place));
        forward.unwrap_or(&self.cluster)
    }

    /// The forward zone that a name belongs to, on the wire; `None`: it is asked of the cluster's DNS.
    pub(super) fn forward_zone(&self, name: &[u8]) -> Option<&[u8]> {
        self.zones.name(self.zones.zone_of(name)?)
    }

    /// Whether both names are asked of the same servers.
    pub(super) fn is_same(&self, one: &[u8], other: &[u8]) -> bool {
        self.zones.zone_of(one) == self.zones.zone_of(other)
    }

    /// That of names without a forward zone.
    pub(super) fn cluster(&self) -> &Route<U> {
        &self.cluster
    }

    /// Those of forward zones, with the zone's name on the wire.
    pub(super) fn forward(&self) -> impl Iterator<Item = (&[u8], &Route<U>)> {
        let named = |(place, route)| Some((self.zones.name(place)?, route));
        self.forward.iter().enumerate().filter_map(named)
    }

    /// How many questions are under way, on all of them.
    pub(super) fn flights(&self) -> usize {
        let all = std::iter::once(&self.cluster).chain(&self.forward);
        all.map(|route| route.questions.count()).sum()
    }
}
