//! Serves DNS over UDP: a hit is answered immediately, a miss when its answer arrives, for all queries that
//! wait for the same answer.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use std::vec;

use tokio::time::{Instant, sleep};

use super::pending::{JoinResult, PendingQueries, Waiter};
use super::{Ending, Places, Service, Step};
use crate::cache::key::Key;
use crate::datagrams::BatchSocket;
use crate::limits;
use crate::metrics::{Limit, Transport};
use crate::query::Query;
use crate::resolver::direct::Reply;
use crate::resolver::{Miss, Resolution};
use crate::shutdown::Drain;
use crate::upstream::Upstream;

/// Serves until the drain begins; queries that have arrived by then are still answered.
pub async fn serve<U: Upstream>(socket: Arc<BatchSocket>, service: Arc<Service<U>>, mut drain: Drain) {
    let held = Arc::new(drain.clone());
    let mut server = UdpServer { socket, service, pending: Arc::default(), drain: held };
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

struct UdpServer<U> {
    socket: Arc<BatchSocket>,
    service: Arc<Service<U>>,
    pending: Arc<PendingQueries>,
    /// Held by all queries that wait.
    drain: Arc<Drain>,
}

impl<U: Upstream> UdpServer<U> {
    /// Answers up to [`limits::BATCH`] datagrams, and returns whether there may be more. The clock is read
    /// once.
    async fn serve_batch(&mut self) -> io::Result<bool> {
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
        &self,
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
            JoinResult::First(key) => {
                let source = self.service.sources.number(client.ip());
                let waiters = Waiters {
                    socket: Arc::clone(&self.socket),
                    service: Arc::clone(&self.service),
                    pending: Arc::clone(&self.pending),
                    key: Arc::clone(&key),
                    recipients: None,
                    _drain: Arc::clone(&self.drain),
                };
                if let Err(waiters) = self.service.resolver.begin_miss(&key, miss, source, now, waiters) {
                    let service = Arc::clone(&self.service);
                    waiters.wait(async move { service.resolve(&key, client.ip()).await });
                }
                false
            }
            JoinResult::Full => {
                self.service.metrics.limit_reached(Limit::WaitersPerQuery);
                let ending = Ending::of(&self.service, query, Transport::Udp);
                ending.write(&Resolution::Overload, true, out);
                true
            }
        }
    }
}

/// The clients that wait for one answer.
struct Waiters<U: Upstream> {
    socket: Arc<BatchSocket>,
    service: Arc<Service<U>>,
    pending: Arc<PendingQueries>,
    key: Arc<Key>,
    /// The clients that get the answer now. Queries that arrive from then on start another exchange.
    recipients: Option<vec::IntoIter<Waiter>>,
    _drain: Arc<Drain>,
}

impl<U: Upstream> Reply for Waiters<U> {
    fn answer(mut self, resolution: &Resolution, now: Instant) {
        self.take_recipients();
        if self.recipients.as_ref().is_some_and(|recipients| recipients.len() > limits::BATCH) {
            let resolution = resolution.clone();
            tokio::spawn(async move { self.answer_all(&resolution).await });
            return;
        }
        let socket = Arc::clone(&self.socket);
        let mut is_first = true;
        while let Some(waiter) = self.recipients.as_mut().and_then(Iterator::next) {
            socket.queue(|out| self.write(&waiter, resolution, std::mem::take(&mut is_first), now, out));
        }
    }

    fn wait(self, resolution: impl Future<Output = Resolution> + Send + 'static) {
        // Boxed, because the runtime moves a future about ten times.
        tokio::spawn(Box::pin(async move {
            let mut waiters = self;
            let resolution = resolution.await;
            waiters.take_recipients();
            waiters.answer_all(&resolution).await;
        }));
    }
}

impl<U: Upstream> Waiters<U> {
    fn take_recipients(&mut self) {
        self.recipients = Some(self.pending.remove(&self.key).into_iter());
    }

    async fn answer_all(mut self, resolution: &Resolution) {
        let (socket, now) = (Arc::clone(&self.socket), Instant::now());
        let mut is_first = true;
        loop {
            let batch = socket.send(|out| {
                let waiter = self.recipients.as_mut()?.next()?;
                Some(self.write(&waiter, resolution, std::mem::take(&mut is_first), now, out))
            });
            socket.send_unsent(batch.unsent).await;
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
        Ending::of(&self.service, waiter.client.with_key(&self.key), Transport::Udp)
            .write(resolution, is_first, out);
        self.service.metrics.waited(waiter.waited_for(now.into_std()));
        waiter.address
    }
}

impl<U: Upstream> Drop for Waiters<U> {
    /// Counts the clients that were not answered because the task was dropped or panicked.
    fn drop(&mut self) {
        let unanswered = self.recipients.take().unwrap_or_else(|| self.pending.remove(&self.key).into_iter());
        for waiter in unanswered {
            drop(Ending::of(&self.service, waiter.client.with_key(&self.key), Transport::Udp));
        }
    }
}
