//! The datagram loop: a hit is answered on the spot, a miss by a task for all who wait for it.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use std::vec;

use tokio::time::{Instant, sleep};

use super::crowd::{Crowds, Joined, Waiting};
use super::datagrams::Socket;
use super::{Ending, Places, Service, Step};
use crate::cache::key::Key;
use crate::limits;
use crate::metrics::{Limit, Transport};
use crate::query::Query;
use crate::resolver::Resolution;
use crate::shutdown::Drain;
use crate::upstream::Upstream;

/// Serves until the drain begins; what has arrived by then is still answered.
pub async fn serve<U: Upstream>(socket: Arc<Socket>, service: Arc<Service<U>>, mut drain: Drain) {
    let mut server = Server { socket, service, crowds: Arc::default() };
    loop {
        tokio::select! {
            biased;
            () = drain.begun() => break,
            () = server.socket.readable() => {}
        }
        match server.batch(&drain).await {
            // A flood of hits must not keep misses, TCP and probes waiting.
            Ok(true) => tokio::task::yield_now().await,
            Ok(false) => {}
            Err(error) => {
                tracing::debug!(%error, "cannot receive");
                sleep(AFTER_AN_ERROR).await;
            }
        }
    }
    // What has arrived by now, and no more than can have: a flood must not keep the drain, nor a second signal, from coming.
    for _ in 0..MOST_BATCHES_WAITING {
        if !server.batch(&drain).await.is_ok_and(|may_be_more| may_be_more) {
            return;
        }
        tokio::task::yield_now().await;
    }
}

/// What the receive buffer holds at most, in batches: the kernel gives twice what is asked for, and a datagram takes 768
/// bytes there.
const MOST_BATCHES_WAITING: usize = 2 * limits::UDP_RECEIVE_BUFFER / 768 / limits::BATCH;

/// How long to wait when the kernel cannot give us a datagram, for want of memory, say.
const AFTER_AN_ERROR: Duration = Duration::from_millis(10);

struct Server<U> {
    socket: Arc<Socket>,
    service: Arc<Service<U>>,
    crowds: Arc<Crowds>,
}

impl<U: Upstream> Server<U> {
    /// Answers what is there, up to [`limits::BATCH`], and says whether there may be more. The clock is read once.
    async fn batch(&mut self, drain: &Drain) -> io::Result<bool> {
        let now = Instant::now().into_std();
        let batch = self.socket.answer(|bytes, client, out| {
            match self.service.step(bytes, client.ip(), Transport::Udp, now, out) {
                Step::Answer(_) => true,
                Step::Silence(_) => false,
                Step::Wait(query, places) => self.wait(&query, client, places, drain, out),
            }
        })?;
        self.socket.send_late(batch.unsent).await;
        Ok(batch.is_full)
    }

    /// Lets a client wait: behind others for the same answer, or as the first, for whom it is asked for. `true` when
    /// it cannot, and gets what was written.
    fn wait(
        &self,
        query: &Query<'_>,
        client: SocketAddr,
        places: Places,
        drain: &Drain,
        out: &mut Vec<u8>,
    ) -> bool {
        let waiting = Waiting::new(&query.client(), client, places);
        match self.crowds.join(&query.key, waiting, self.service.max_waiters_per_query) {
            Joined::Behind => false,
            Joined::First(key) => {
                let (socket, service) = (Arc::clone(&self.socket), Arc::clone(&self.service));
                let crowds = Arc::clone(&self.crowds);
                let gathered = Gathered { service, crowds, key, first: client.ip(), told: None };
                let drain = drain.clone();
                // Boxed: the runtime would move it ten times.
                tokio::spawn(Box::pin(async move {
                    gathered.serve(&socket).await;
                    drop(drain);
                }));
                false
            }
            Joined::Full => {
                self.service.metrics.limit_reached(Limit::WaitersPerQuery);
                let ending = Ending::of(&self.service, query, Transport::Udp);
                ending.write(&Resolution::Overload, true, out);
                true
            }
        }
    }
}

/// Those who wait for one answer.
struct Gathered<U: Upstream> {
    service: Arc<Service<U>>,
    crowds: Arc<Crowds>,
    key: Arc<Key>,
    /// Who asked first.
    first: IpAddr,
    /// Those who are being told; who asks from then on is of another crowd.
    told: Option<vec::IntoIter<Waiting>>,
}

impl<U: Upstream> Gathered<U> {
    async fn serve(mut self, socket: &Socket) {
        let resolution = self.service.resolve(&self.key, self.first).await;
        let (service, now) = (&self.service, Instant::now().into_std());
        let told = self.told.insert(self.crowds.take(&self.key).into_iter());
        let mut is_first = true;
        loop {
            let batch = socket.send(|out| {
                let waiting = told.next()?;
                let ending = Ending::of(service, &waiting.client, Transport::Udp);
                ending.write(&resolution, std::mem::take(&mut is_first), out);
                service.metrics.waited(waiting.time(now));
                Some(waiting.address)
            });
            socket.send_late(batch.unsent).await;
            if !batch.is_full {
                return;
            }
            // A crowd must not keep those waiting who could be answered at once.
            tokio::task::yield_now().await;
        }
    }
}

impl<U: Upstream> Drop for Gathered<U> {
    /// Whoever is still there was not answered: the task was dropped, or panicked.
    fn drop(&mut self) {
        let rest = self.told.take().unwrap_or_else(|| self.crowds.take(&self.key).into_iter());
        for waiting in rest {
            drop(Ending::of(&self.service, &waiting.client, Transport::Udp));
        }
    }
}
