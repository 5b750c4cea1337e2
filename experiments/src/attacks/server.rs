//! The upstream of the attacked tier: a DNS server on an address of the node.
//! | zone | behaviour |
//! |---|---|
//! | `victim.test` | answers immediately; for names that begin with `lossy` the first datagram is lost |
//! | `large.test` | answers with 1,000 bytes |
//! | `costly.test` | sets TC over UDP, and returns 64 KiB over TCP that are costly to parse |
//! | `silent.test` | never answers |

use std::collections::HashSet;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use podlocal_harness::failure::{Failure, WithContext as _};
use podlocal_harness::framing;
use tokio::net::{TcpListener, TcpStream, UdpSocket};

use super::message;

/// The port of DNS.
const PORT: u16 = 53;

/// A running server; it ends with the program.
#[derive(Debug)]
pub struct Server {
    queries: Arc<AtomicU64>,
}

impl Server {
    /// Starts it on UDP and TCP.
    pub async fn start(address: Ipv4Addr) -> Result<Self, Failure> {
        let binding = || format!("binding {address}:{PORT}");
        let udp = UdpSocket::bind((address, PORT)).await.with_context(binding)?;
        let tcp = TcpListener::bind((address, PORT)).await.with_context(binding)?;
        let queries = Arc::new(AtomicU64::new(0));
        tokio::spawn(serve_datagrams(udp, Arc::clone(&queries)));
        let counter = Arc::clone(&queries);
        tokio::spawn(framing::serve(tcp, move |stream| serve_stream(stream, Arc::clone(&counter))));
        Ok(Self { queries })
    }

    /// How many queries it has received.
    pub fn queries(&self) -> u64 {
        self.queries.load(Ordering::Relaxed)
    }
}

async fn serve_datagrams(socket: UdpSocket, queries: Arc<AtomicU64>) {
    let (mut buffer, mut lost) = ([0; 1500], HashSet::new());
    loop {
        // An ICMP error from a client that has ended must not stop the server.
        let Ok((length, client)) = socket.recv_from(&mut buffer).await else { continue };
        queries.fetch_add(1, Ordering::Relaxed);
        let Some(query) = buffer.get(..length) else { continue };
        let is_first = message::question(query)
            .is_some_and(|(name, _, _)| name.starts_with("lossy") && lost.insert(name));
        if let (false, Some(message)) = (is_first, respond(query, false)) {
            let _ = socket.send_to(&message, client).await;
        }
    }
}

async fn serve_stream(mut stream: TcpStream, queries: Arc<AtomicU64>) -> std::io::Result<()> {
    loop {
        let query = framing::read(&mut stream).await?;
        queries.fetch_add(1, Ordering::Relaxed);
        if let Some(message) = respond(&query, true) {
            framing::write(&mut stream, &message).await?;
        }
    }
}

/// The response to a query; `None`: silence.
fn respond(query: &[u8], is_stream: bool) -> Option<Vec<u8>> {
    let (name, _, _) = message::question(query)?;
    match name.rsplit('.').nth(1) {
        Some("silent") => None,
        Some("large") => message::large(query),
        Some("costly") if is_stream => message::costly(query),
        Some("costly") => message::truncated(query),
        _ => message::address(query),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_zone_of_a_name_decides() {
        let respond = |name: &str, is_stream| respond(&message::query(1, name, message::A), is_stream);
        let length = |response: Option<Vec<u8>>| response.map_or(0, |message| message.len());
        assert_eq!(respond("a.silent.test", false), None);
        assert!(length(respond("a.costly.test", false)) < 100);
        assert!(length(respond("a.costly.test", true)) > 65_000);
        assert!(length(respond("a.victim.test", false)) < 100);
    }
}
