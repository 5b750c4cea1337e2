//! The datagram loop: a hit is answered on the spot, a miss in a task of its own.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::time::{Instant, sleep};

use super::{Service, Step, Waiting};
use crate::limits;
use crate::metrics::Transport;
use crate::shutdown::Drain;
use crate::upstream::Upstream;

/// The largest query that is read; what is longer is cut off and so gets FORMERR.
const LARGEST_QUERY: usize = 4096;

/// Serves until the drain begins; what has arrived by then is still answered.
pub async fn serve<U: Upstream>(socket: Arc<UdpSocket>, service: Arc<Service<U>>, mut drain: Drain) {
    let mut server =
        Server { socket, service, received: vec![0; LARGEST_QUERY], out: Vec::with_capacity(4096) };
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
    if let Err(error) = server.batch(&drain).await {
        tracing::debug!(%error, "cannot receive");
    }
}

/// How long to wait when the kernel cannot give us a datagram, for want of memory, say.
const AFTER_AN_ERROR: Duration = Duration::from_millis(10);

struct Server<U> {
    socket: Arc<UdpSocket>,
    service: Arc<Service<U>>,
    received: Vec<u8>,
    out: Vec<u8>,
}

impl<U: Upstream> Server<U> {
    /// Takes what is there, up to [`limits::BATCH`]. The clock is read once.
    async fn batch(&mut self, drain: &Drain) -> io::Result<()> {
        let now = Instant::now().into_std();
        for _ in 0..limits::BATCH {
            let (length, client) = match self.socket.try_recv_from(&mut self.received) {
                Ok(received) => received,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                // An earlier answer met a closed port; the client is gone, and that is its business.
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => continue,
                Err(error) => return Err(error),
            };
            let bytes = self.received.get(..length).unwrap_or_default();
            match self.service.step(bytes, client.ip(), Transport::Udp, now, &mut self.out) {
                Step::Answer => send(&self.socket, &self.out, client).await,
                Step::Silence => {}
                Step::Wait(waiting) => self.wait(waiting, client, drain.clone()),
            }
        }
        Ok(())
    }

    fn wait(&self, waiting: Box<Waiting>, client: SocketAddr, drain: Drain) {
        let (socket, service) = (Arc::clone(&self.socket), Arc::clone(&self.service));
        tokio::spawn(async move {
            let mut out = Vec::with_capacity(limits::UDP_ANSWER_WITHOUT_EDNS);
            service.wait(&waiting, Transport::Udp, &mut out).await;
            send(&socket, &out, client).await;
            drop(drain);
        });
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
