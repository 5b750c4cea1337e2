//! A query over TCP that waits for the upstream.

use std::net::IpAddr;
use std::sync::Arc;

use podlocal_dns::key::Key;
use tokio::time::Instant;

use super::{Places, Service};
use crate::metrics::{Outcome, Transport};
use crate::query::{Query, StoredClient};
use crate::resolver::Resolution;
use crate::upstream::Upstream;

/// The client of a query, and its places. Dropped before it is answered, it counts as failed.
pub(super) struct Late<U: Upstream> {
    service: Arc<Service<U>>,
    key: Arc<Key>,
    client: StoredClient,
    places: Places,
    is_answered: bool,
}

impl<U: Upstream> Late<U> {
    pub(super) fn new(service: &Arc<Service<U>>, query: &Query<'_>, places: Places) -> Self {
        let (service, key) = (Arc::clone(service), Arc::new(query.key.clone()));
        Self { service, client: query.client().stored(&key), key, places, is_answered: false }
    }

    /// Waits for the answer to a query of that source.
    pub(super) async fn resolve(&self, source: IpAddr) -> Resolution {
        let resolution = self.service.resolve(&self.key, source).await;
        self.service.record_wait(&self.places, Instant::now().into_std());
        resolution
    }

    pub(super) fn answer(mut self, resolution: &Resolution, out: &mut Vec<u8>) -> Outcome {
        self.is_answered = true;
        self.service.answer(&self.client.with_key(&self.key), Transport::Tcp, resolution, true, out)
    }
}

impl<U: Upstream> Drop for Late<U> {
    fn drop(&mut self) {
        if !self.is_answered {
            let client = self.client.with_key(&self.key);
            self.service.end(&client, Transport::Tcp, Outcome::UpstreamFailed);
        }
    }
}
