//! The datagram loop: a hit is answered on the spot, a miss by a task for all who wait for it.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use std::vec;

use tokio::net::UdpSocket;
use tokio::time::{Instant, sleep};

use super::crowd::{Crowds, Joined, Waiting};
use super::{Ending, Places, Service, Step};
use crate::cache::key::Key;
use crate::limits;
use crate::metrics::{Limit, Transport};
use crate::query::Query;
use crate::resolver::Resolution;
use crate::shutdown::Drain;
use crate::upstream::Upstream;

/// The largest query that is read; what is longer is cut off and so gets FORMERR.
const LARGEST_QUERY: usize = 4096;

/// Serves until the drain begins; what has arrived by then is still answered.
pub async fn serve<U: Upstream>(socket: Arc<UdpSocket>, service: Arc<Service<U>>, mut drain: Drain) {
    let mut server = Server {
        socket,
        service,
        received: vec![0; LARGEST_QUERY],
        out: Vec::with_capacity(4096),
        crowds: Arc::default(),
    };
    loop {
        tokio::select! {
            biased;
            () = drain.begun() => break,
            _ = server.socket.readable() => {}
        }
        if let Err(error) = server.batch(&drain).await {
            tracing::debug!(%error, "cannot receive");
            sleep(AFTER_AN_ERROR).await;
        }
        // A flood of hits must not keep misses, TCP and probes waiting.
        tokio::task::yield_now().await;
    }
    // What has arrived by now: its coming is known when the runtime has looked.
    tokio::task::yield_now().await;
    while server.batch(&drain).await.is_ok_and(|taken| taken == limits::BATCH) {}
}

/// How long to wait when the kernel cannot give us a datagram, for want of memory, say.
const AFTER_AN_ERROR: Duration = Duration::from_millis(10);

struct Server<U> {
    socket: Arc<UdpSocket>,
    service: Arc<Service<U>>,
    received: Vec<u8>,
    out: Vec<u8>,
    crowds: Arc<Crowds>,
}

impl<U: Upstream> Server<U> {
    /// Takes what is there, up to [`limits::BATCH`], and says how many that were. The clock is read once.
    async fn batch(&mut self, drain: &Drain) -> io::Result<usize> {
        let now = Instant::now().into_std();
        for taken in 0..limits::BATCH {
            let (length, client) = match self.socket.try_recv_from(&mut self.received) {
                Ok(received) => received,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(taken),
                // An earlier answer met a closed port; the client is gone, and that is its business.
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => continue,
                Err(error) => return Err(error),
            };
            let bytes = self.received.get(..length).unwrap_or_default();
            match self.service.step(bytes, client.ip(), Transport::Udp, now, &mut self.out) {
                Step::Answer => send(&self.socket, &self.out, client).await,
                Step::Silence => {}
                Step::Wait(query, places) => self.wait(&query, client, places, drain).await,
            }
        }
        Ok(limits::BATCH)
    }

    /// Lets a client wait: behind others for the same answer, or as the first, for whom it is asked for.
    async fn wait(&mut self, query: &Query, client: SocketAddr, places: Places, drain: &Drain) {
        let waiting = Waiting::new(query, client, places);
        match self.crowds.join(&query.key, waiting, self.service.max_waiters_per_flight) {
            Joined::Behind => {}
            Joined::First => {
                let (socket, service) = (Arc::clone(&self.socket), Arc::clone(&self.service));
                let (crowds, key) = (Arc::clone(&self.crowds), query.key.clone());
                let gathered = Gathered { service, crowds, key, told: None };
                let drain = drain.clone();
                tokio::spawn(async move {
                    gathered.serve(&socket).await;
                    drop(drain);
                });
            }
            Joined::Full => {
                self.service.metrics.limit_reached(Limit::WaitersPerFlight);
                let ending = Ending::of(&self.service, query, Transport::Udp);
                ending.write(&Resolution::Overload, true, &mut self.out);
                send(&self.socket, &self.out, client).await;
            }
        }
    }
}

/// Those who wait for one answer.
struct Gathered<U: Upstream> {
    service: Arc<Service<U>>,
    crowds: Arc<Crowds>,
    key: Key,
    /// Those who are being told; who asks from then on is of another crowd.
    told: Option<vec::IntoIter<Waiting>>,
}

impl<U: Upstream> Gathered<U> {
    async fn serve(mut self, socket: &UdpSocket) {
        let resolution = self.service.resolve(&self.key).await;
        let now = Instant::now().into_std();
        let mut out = Vec::with_capacity(limits::UDP_ANSWER_WITHOUT_EDNS);
        let told = self.told.insert(self.crowds.take(&self.key).into_iter());
        for (number, waiting) in told.enumerate() {
            let ending = Ending::of(&self.service, waiting.client(), Transport::Udp);
            ending.write(&resolution, number == 0, &mut out);
            self.service.metrics.waited(waiting.time(now));
            send(socket, &out, waiting.address).await;
            if number % limits::BATCH == limits::BATCH - 1 {
                // A crowd must not keep those waiting who could be answered at once.
                tokio::task::yield_now().await;
            }
        }
    }
}

impl<U: Upstream> Drop for Gathered<U> {
    /// Whoever is still there was not answered: the task was dropped, or panicked.
    fn drop(&mut self) {
        let rest = self.told.take().unwrap_or_else(|| self.crowds.take(&self.key).into_iter());
        for waiting in rest {
            drop(Ending::of(&self.service, waiting.client(), Transport::Udp));
        }
    }
}

/// A client whose port is closed, or whose queue is full, does not get its answer: UDP promises no more.
async fn send(socket: &UdpSocket, answer: &[u8], client: SocketAddr) {
    let sent = match socket.try_send_to(answer, client) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => socket.send_to(answer, client).await,
        sent => sent,
    };
    if let Err(error) = sent {
        tracing::debug!(%error, %client, "cannot send");
    }
}
