//! Serves DNS over UDP: a hit is answered immediately, a miss when its answer arrives, for all queries that
//! wait for the same answer.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use std::vec;

use podlocal_dns::key::Key;
use tokio::time::{Instant, sleep};

use super::pending::{JoinResult, PendingQueries, Waiter};
use super::{Places, Service, Step};
use crate::datagrams::BatchSocket;
use crate::limits;
use crate::metrics::{Limit, Outcome, Transport};
use crate::query::Query;
use crate::resolver::direct::Reply;
use crate::resolver::{Miss, NoAnswer, Resolution};
use crate::shutdown::Drain;
use crate::upstream::Upstream;

/// Serves until the drain begins; queries that have arrived by then are still answered.
pub async fn serve<U: Upstream>(socket: Arc<BatchSocket>, service: Arc<Service<U>>, mut drain: Drain) {
    let pending = PendingQueries::default();
    let server = Arc::new(UdpServer { socket, service, pending, _drain: drain.clone() });
    loop {
        tokio::select! {
            biased;
            () = drain.begun() => break,
            () = server.socket.readable() => {}
        }
        match server.serve_batch().await {
            // A flood of hits must not delay misses, TCP and probes.
            Ok(true) => tokio::task::yield_now().await,
            Ok(false) => {}
            Err(error) => {
                tracing::debug!(%error, "cannot receive");
                sleep(ERROR_PAUSE).await;
            }
        }
    }
    // Answers the queue of the socket, but not more than it can hold: a flood must not delay the drain or a
    // second signal.
    for _ in 0..MAX_QUEUED_BATCHES {
        if !server.serve_batch().await.is_ok_and(|may_be_more| may_be_more) {
            return;
        }
        tokio::task::yield_now().await;
    }
}

/// The maximum of the receive buffer in batches: the kernel reserves twice the requested size, and a datagram
/// takes 768 bytes.
const MAX_QUEUED_BATCHES: usize = 2 * limits::UDP_RECEIVE_BUFFER / 768 / limits::BATCH;

/// The pause after an error of recvmmsg(2), for example because the kernel is short of memory.
const ERROR_PAUSE: Duration = Duration::from_millis(10);

/// Held by all queries that wait, and with it the drain.
struct UdpServer<U> {
    socket: Arc<BatchSocket>,
    service: Arc<Service<U>>,
    pending: PendingQueries,
    _drain: Drain,
}

impl<U: Upstream> UdpServer<U> {
    /// Answers up to [`limits::BATCH`] datagrams, and returns whether there may be more. The clock is read
    /// once.
    async fn serve_batch(self: &Arc<Self>) -> io::Result<bool> {
        let now = Instant::now();
        let batch = self.socket.receive_and_answer(|bytes, client, out| {
            match self.service.step(bytes, client.ip(), Transport::Udp, now.into_std(), out) {
                Step::Answer(_) => true,
                Step::Silence(_) => false,
                Step::Wait(query, miss, places) => self.wait(&query, miss, client, places, now, out),
            }
        })?;
        self.socket.send_unsent(batch.unsent).await;
        Ok(batch.is_full)
    }

    /// Lets a client wait for an answer; the first one starts the exchange. `true`: it may not wait, and its
    /// answer is in `out`.
    fn wait(
        self: &Arc<Self>,
        query: &Query<'_>,
        miss: Miss,
        client: SocketAddr,
        places: Places,
        now: Instant,
        out: &mut Vec<u8>,
    ) -> bool {
        let waiter = Waiter::new(query, client, places);
        match self.pending.join(&query.key, waiter, self.service.max_waiters_per_query) {
            JoinResult::Coalesced => false,
            JoinResult::First(key, first) => {
                let source = self.service.sources.number(client.ip());
                let waiters = Waiters {
                    server: Arc::clone(self),
                    key: Arc::clone(&key),
                    first: Some(first),
                    others: None,
                };
                let begun = self.service.resolver.begin_miss(&key, miss, source, now, waiters);
                if let Err(waiters) = begun {
                    let service = Arc::clone(&self.service);
                    waiters.wait(async move { service.resolve(&key, client.ip()).await });
                }
                false
            }
            JoinResult::Full => {
                self.service.metrics.limits.inc(Limit::WaitersPerQuery);
                let overload = Resolution::Failed(NoAnswer::Overload);
                self.service.answer(&query.client(), Transport::Udp, &overload, true, out);
                true
            }
        }
    }
}

/// The clients that wait for one answer.
struct Waiters<U: Upstream> {
    server: Arc<UdpServer<U>>,
    key: Arc<Key>,
    first: Option<Waiter>,
    /// The other clients that get the answer now. Queries that arrive from then on start another exchange.
    others: Option<vec::IntoIter<Waiter>>,
}

impl<U: Upstream> Reply for Waiters<U> {
    fn answer(mut self, resolution: &Resolution, now: Instant) {
        self.take_others();
        if self.others.as_ref().is_some_and(|others| others.len() >= limits::BATCH) {
            let resolution = resolution.clone();
            tokio::spawn(async move { self.answer_all(&resolution).await });
            return;
        }
        let mut is_first = true;
        while let Some(waiter) = self.next() {
            let socket = &self.server.socket;
            socket.queue(|out| self.write(&waiter, resolution, std::mem::take(&mut is_first), now, out));
        }
    }

    fn wait(self, resolution: impl Future<Output = Resolution> + Send + 'static) {
        // Boxed, because the runtime moves a future about ten times.
        tokio::spawn(Box::pin(async move {
            let mut waiters = self;
            let resolution = resolution.await;
            waiters.take_others();
            waiters.answer_all(&resolution).await;
        }));
    }
}

impl<U: Upstream> Waiters<U> {
    fn take_others(&mut self) {
        self.others = Some(self.server.pending.remove(&self.key).into_iter());
    }

    fn next(&mut self) -> Option<Waiter> {
        self.first.take().or_else(|| self.others.as_mut()?.next())
    }

    async fn answer_all(mut self, resolution: &Resolution) {
        let (server, now) = (Arc::clone(&self.server), Instant::now());
        let mut is_first = true;
        loop {
            let batch = server.socket.send(|out| {
                let waiter = self.next()?;
                Some(self.write(&waiter, resolution, std::mem::take(&mut is_first), now, out))
            });
            server.socket.send_unsent(batch.unsent).await;
            if !batch.is_full {
                return;
            }
            // Many waiters must not delay queries that can be answered immediately.
            tokio::task::yield_now().await;
        }
    }

    /// Writes the answer for one client, and returns its address.
    fn write(
        &self,
        waiter: &Waiter,
        resolution: &Resolution,
        is_first: bool,
        now: Instant,
        out: &mut Vec<u8>,
    ) -> SocketAddr {
        let service = &self.server.service;
        service.answer(&waiter.client.with_key(&self.key), Transport::Udp, resolution, is_first, out);
        service.record_wait(&waiter.places, now.into_std());
        waiter.address
    }
}

impl<U: Upstream> Drop for Waiters<U> {
    /// Counts the clients that were not answered because the task was dropped or panicked.
    fn drop(&mut self) {
        if self.others.is_none() {
            self.take_others();
        }
        while let Some(unanswered) = self.next() {
            let client = unanswered.client.with_key(&self.key);
            self.server.service.end(&client, Transport::Udp, Outcome::UpstreamFailed);
        }
    }
}
