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
    pub(super) cluster: Route<U>,
    pub(super) forward: ForwardZones<Route<U>>,
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
        let max_forward_zone_flights = limits::forward_zone_flights(settings.max_in_flight, forward.len());
        let forward = forward.into_iter().map(|upstream| route(upstream, max_forward_zone_flights));
        Self {
            cluster: route(cluster, settings.max_in_flight),
            forward: ForwardZones::new(settings, forward),
        }
    }

    /// The route of a name.
    pub(super) fn route_of(&self, name: &[u8]) -> &Route<U> {
        self.forward.zone_of(name).map_or(&self.cluster, |(_, route)| route)
    }

    /// The forward zone of a name, on the wire; `None`: its queries go to cluster DNS.
    pub(super) fn forward_zone(&self, name: &[u8]) -> Option<&[u8]> {
        self.forward.zone_of(name).map(|(zone, _)| zone)
    }

    /// The number of flights on all routes.
    pub(super) fn flights(&self) -> usize {
        let all = std::iter::once(&self.cluster).chain(self.forward.all().map(|(_, route)| route));
        all.map(|route| route.questions.count()).sum()
    }
}
