//! Serves DNS over UDP: a hit is answered immediately, a miss by a task for all queries that wait for the
//! same answer.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use std::vec;

use tokio::time::{Instant, sleep};

use super::datagrams::BatchSocket;
use super::pending::{JoinResult, PendingQueries, Waiter};
use super::{Ending, Places, Service, Step};
use crate::cache::key::Key;
use crate::limits;
use crate::metrics::{Limit, Transport};
use crate::query::Query;
use crate::resolver::Resolution;
use crate::shutdown::Drain;
use crate::upstream::Upstream;

/// Serves until the drain begins; queries that have arrived by then are still answered.
pub async fn serve<U: Upstream>(socket: Arc<BatchSocket>, service: Arc<Service<U>>, mut drain: Drain) {
    let mut server = UdpServer { socket, service, pending: Arc::default() };
    loop {
        tokio::select! {
            biased;
            () = drain.begun() => break,
            () = server.socket.readable() => {}
        }
        match server.serve_batch(&drain).await {
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
        if !server.serve_batch(&drain).await.is_ok_and(|may_be_more| may_be_more) {
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
}

impl<U: Upstream> UdpServer<U> {
    /// Answers up to [`limits::BATCH`] datagrams, and returns whether there may be more. The clock is read
    /// once.
    async fn serve_batch(&mut self, drain: &Drain) -> io::Result<bool> {
        let now = Instant::now().into_std();
        let batch = self.socket.receive_and_answer(|bytes, client, out| {
            match self.service.step(bytes, client.ip(), Transport::Udp, now, out) {
                Step::Answer(_) => true,
                Step::Silence(_) => false,
                Step::Wait(query, places) => self.wait(&query, client, places, drain, out),
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
        client: SocketAddr,
        places: Places,
        drain: &Drain,
        out: &mut Vec<u8>,
    ) -> bool {
        let waiter = Waiter::new(&query.client(), client, places);
        match self.pending.join(&query.key, waiter, self.service.max_waiters_per_query) {
            JoinResult::Coalesced => false,
            JoinResult::First(key) => {
                let (socket, service) = (Arc::clone(&self.socket), Arc::clone(&self.service));
                let pending = Arc::clone(&self.pending);
                let waiters = Waiters { service, pending, key, first: client.ip(), recipients: None };
                let drain = drain.clone();
                // Boxed, because the runtime moves a future about ten times.
                tokio::spawn(Box::pin(async move {
                    waiters.resolve_and_answer(&socket).await;
                    drop(drain);
                }));
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
    service: Arc<Service<U>>,
    pending: Arc<PendingQueries>,
    key: Arc<Key>,
    /// The source of the first query.
    first: IpAddr,
    /// The clients that get the answer now. Queries that arrive from then on start another exchange.
    recipients: Option<vec::IntoIter<Waiter>>,
}

impl<U: Upstream> Waiters<U> {
    async fn resolve_and_answer(mut self, socket: &BatchSocket) {
        let resolution = self.service.resolve(&self.key, self.first).await;
        let (service, now) = (&self.service, Instant::now().into_std());
        let recipients = self.recipients.insert(self.pending.remove(&self.key).into_iter());
        let mut is_first = true;
        loop {
            let batch = socket.send(|out| {
                let waiter = recipients.next()?;
                let ending = Ending::of(service, &waiter.client, Transport::Udp);
                ending.write(&resolution, std::mem::take(&mut is_first), out);
                service.metrics.waited(waiter.waited_for(now));
                Some(waiter.address)
            });
            socket.send_unsent(batch.unsent).await;
            if !batch.is_full {
                return;
            }
            // Many waiters must not delay queries that can be answered immediately.
            tokio::task::yield_now().await;
        }
    }
}

impl<U: Upstream> Drop for Waiters<U> {
    /// Counts the clients that were not answered because the task was dropped or panicked.
    fn drop(&mut self) {
        let unanswered = self.recipients.take().unwrap_or_else(|| self.pending.remove(&self.key).into_iter());
        for waiter in unanswered {
            drop(Ending::of(&self.service, &waiter.client, Transport::Udp));
        }
    }
}
