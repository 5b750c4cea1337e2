//! Answers to misses on a TCP connection.

use std::future::pending;
use std::net::IpAddr;
use std::sync::Arc;

use podlocal_dns::key::Key;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use tokio::time::Instant;

use super::super::{Ending, Places, Service};
use crate::connections::{Held, Seat};
use crate::metrics::Transport;
use crate::query::{Query, StoredClient};
use crate::resolver::Resolution;
use crate::shutdown::Drain;
use crate::upstream::Upstream;

/// The channel of late answers to their connection. The limit of queries in flight bounds it.
pub(super) type Answers<U> = (UnboundedSender<Box<Late<U>>>, UnboundedReceiver<Box<Late<U>>>);

/// The next late answer.
pub(super) async fn next<U: Upstream>(late: &mut Option<Answers<U>>) -> Box<Late<U>> {
    let late = match late {
        Some((_, queue)) => queue.recv().await,
        None => None,
    };
    match late {
        Some(late) => late,
        None => pending().await,
    }
}

/// A waiting query, and then its answer. Dropped before its answer is written, it counts as failed.
pub(super) struct Late<U: Upstream> {
    service: Arc<Service<U>>,
    key: Arc<Key>,
    client: StoredClient,
    resolution: Option<Resolution>,
    is_written: bool,
    /// The memory of the answer until it is written.
    held: Option<Held>,
    places: Places,
    _under_way: Arc<()>,
    _drain: Drain,
}

impl<U: Upstream> Late<U> {
    pub(super) fn new(
        service: &Arc<Service<U>>,
        query: &Query<'_>,
        places: Places,
        under_way: &Arc<()>,
        drain: &Drain,
    ) -> Self {
        Self {
            service: Arc::clone(service),
            key: Arc::new(query.key.clone()),
            client: query.client().stored(&query.key),
            resolution: None,
            is_written: false,
            held: None,
            places,
            _under_way: Arc::clone(under_way),
            _drain: drain.clone(),
        }
    }

    /// Waits for the answer; `None`: the connection is closed, because memory is short.
    pub(super) async fn resolve(mut self: Box<Self>, source: IpAddr, seat: &Arc<Seat>) -> Option<Box<Self>> {
        let resolution = self.service.resolve(&self.key, source).await;
        let now = Instant::now().into_std();
        self.service
            .metrics
            .wait_duration
            .observe(now.saturating_duration_since(self.places.since).as_secs_f64());
        self.held = Some(seat.hold(resolution.size())?);
        self.resolution = Some(resolution);
        Some(self)
    }

    pub(super) fn write(mut self, answer: &mut Vec<u8>) {
        if let Some(resolution) = self.resolution.take() {
            self.is_written = true;
            let ending = Ending::of(&self.service, self.client.with_key(&self.key), Transport::Tcp);
            ending.write(&resolution, true, answer);
        }
    }
}

impl<U: Upstream> Drop for Late<U> {
    fn drop(&mut self) {
        if !self.is_written {
            drop(Ending::of(&self.service, self.client.with_key(&self.key), Transport::Tcp));
        }
    }
}
