//! Where queries go: to cluster DNS, or to the servers of a forward zone.
//!
//! Each route has its own servers with their own health, and its own limit on flights: while the servers of
//! one are silent, its flights take no places of the others.

use std::sync::Arc;

use podlocal_dns::key::Key;
use podlocal_settings::Settings;

use super::outcome::Answer;
use crate::flight::Flights;
use crate::forward::ForwardZones;
use crate::limits;

/// Cluster DNS, and the forward zones.
#[derive(Debug)]
pub(super) struct Routes<U> {
    cluster: Route<U>,
    /// In the order of the settings.
    forward: Vec<Route<U>>,
    zones: ForwardZones,
}

/// The upstream for some of the names, and its flights.
#[derive(Debug)]
pub(super) struct Route<U> {
    pub(super) upstream: U,
    /// One exchange per question.
    pub(super) questions: Arc<Flights<Key, Answer>>,
    /// One walk through the search list per question.
    pub(super) completions: Arc<Flights<Key, Answer>>,
}

impl<U> Routes<U> {
    /// Cluster DNS, and the servers of each forward zone of the settings, in that order.
    pub(super) fn new(settings: &Settings, cluster: U, forward: Vec<U>) -> Self {
        let route = |upstream, max_flights| Route {
            upstream,
            questions: Flights::new(max_flights, settings.max_waiters_per_query),
            completions: Flights::new(max_flights, settings.max_waiters_per_query),
        };
        let zones = ForwardZones::new(settings);
        debug_assert_eq!(zones.count(), forward.len(), "every zone has its servers");
        let max_forward_zone_flights = limits::forward_zone_flights(settings.max_in_flight, forward.len());
        Self {
            cluster: route(cluster, settings.max_in_flight),
            forward: forward.into_iter().map(|upstream| route(upstream, max_forward_zone_flights)).collect(),
            zones,
        }
    }

    /// The route of a name.
    pub(super) fn route_of(&self, name: &[u8]) -> &Route<U> {
        let forward = self.zones.zone_of(name).and_then(|place| self.forward.get(place));
        forward.unwrap_or(&self.cluster)
    }

    /// The forward zone of a name, on the wire; `None`: its queries go to cluster DNS.
    pub(super) fn forward_zone(&self, name: &[u8]) -> Option<&[u8]> {
        self.zones.name(self.zones.zone_of(name)?)
    }

    /// Whether the queries for both names go to the same servers.
    pub(super) fn have_same_route(&self, one: &[u8], other: &[u8]) -> bool {
        self.zones.zone_of(one) == self.zones.zone_of(other)
    }

    /// The route of names without a forward zone.
    pub(super) fn cluster(&self) -> &Route<U> {
        &self.cluster
    }

    /// The routes of forward zones, with the name of each zone on the wire.
    pub(super) fn forward(&self) -> impl Iterator<Item = (&[u8], &Route<U>)> {
        let named = |(place, route)| Some((self.zones.name(place)?, route));
        self.forward.iter().enumerate().filter_map(named)
    }

    /// The number of flights on all routes.
    pub(super) fn flights(&self) -> usize {
        let all = std::iter::once(&self.cluster).chain(&self.forward);
        all.map(|route| route.questions.count()).sum()
    }
}
