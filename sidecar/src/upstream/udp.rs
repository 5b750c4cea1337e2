//! The datagrams of a query: sent, and received until one answers it.

use std::io;

use tokio::time::timeout;

use super::outgoing::{OutgoingQuery, Reaction};
use super::shared_socket::Ticket;
use super::shared_socket::queries::Delivery;
use crate::limits;
use crate::metrics::Transport;

/// Waits for the response to a query; returns it, an error of the socket, or `None`: the query is to be sent
/// over TCP. The caller limits the time.
///
/// The socket has a random port (RFC 5452 section 9.2), and is connected, so the kernel drops datagrams from
/// other addresses and reports when no server listens. A datagram that does not match is ignored and the
/// socket still read, within the limits of [`super::spoofing`]: a forged answer must not end the exchange.
pub async fn response(mut ticket: Ticket, query: &mut OutgoingQuery<'_>) -> io::Result<Option<Vec<u8>>> {
    let (must_resend, mut response) = match receive_response(&mut ticket, query).await? {
        Received::Response(must_resend, response) => (must_resend, response),
        Received::RetryOverTcp => return Ok(None),
        Received::StopListening => {
            drop(ticket);
            return std::future::pending().await;
        }
    };
    if must_resend {
        ticket.send(&query.bytes())?;
        // Boxed, because it is rarely needed.
        let again = timeout(limits::WITHOUT_EDNS_TIMEOUT, receive_response(&mut ticket, query));
        match Box::pin(again).await {
            Ok(Ok(Received::Response(_, better))) => response = better,
            _ => query.record_fallback_failure(),
        }
    }
    ticket.mark_answered(query.is_port_known());
    Ok(Some(response))
}

/// A datagram that is not ignored.
enum Received {
    /// A response, and whether to resend the query without EDNS before returning it.
    Response(bool, Vec<u8>),
    RetryOverTcp,
    StopListening,
}

/// The first datagram that is not ignored.
async fn receive_response(ticket: &mut Ticket, query: &mut OutgoingQuery<'_>) -> io::Result<Received> {
    loop {
        let received = match ticket.next_delivery().await {
            Delivery::Datagram(datagram) => received(query.receive(&datagram, Transport::Udp), datagram),
            Delivery::NearMisses(count) => {
                // Until one of them has a consequence.
                (0..count).find_map(|_| received(query.near_miss(), Vec::new()))
            }
            Delivery::Undelivered(kind) => return Err(kind.into()),
        };
        if let Some(received) = received {
            return Ok(received);
        }
    }
}

/// `None`: the datagram is ignored.
fn received(reaction: Reaction, datagram: Vec<u8>) -> Option<Received> {
    match reaction {
        Reaction::RetryOverTcp => Some(Received::RetryOverTcp),
        Reaction::StopListening => Some(Received::StopListening),
        reaction => reaction
            .response(|| datagram)
            .map(|(must_resend, response)| Received::Response(must_resend, response)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Metrics;
    use crate::upstream::loop_detection::LoopMarker;
    use crate::upstream::query_message::QueryMessage;
    use crate::upstream::shared_sockets::SharedSockets;
    use podlocal_dns::key::Key;
    use podlocal_dns::wire::Flags;
    use std::net::SocketAddr;
    use std::sync::{Arc, Mutex};
    use std::time::Duration;
    use tokio::time::Instant;

    #[tokio::test]
    async fn a_refused_datagram_is_reported_immediately() {
        // An address of the loopback that no other test uses.
        let nobody = SocketAddr::from(([127, 83, 65, 83], 5353));
        let key = Key::new(b"\x01a\x00\x00\x01\x00\x01", Flags(Flags::RD), false);
        let question = QueryMessage::new(&key, LoopMarker::new().expect("random")).expect("random");
        let (path, metrics, now) = (Mutex::default(), Metrics::new().0, Instant::now());
        let mut query = OutgoingQuery::new(question, &path, &metrics, false, now);
        let shared_sockets = SharedSockets::new(1, &Arc::default(), &metrics);
        let sent = shared_sockets.send(0, nobody, false, |id, out| query.write_with_id(id, out), now);
        let (shared, sent) = sent.expect("a socket");
        let ticket = shared.ticket(sent, key.question(), now);
        let outcome = timeout(Duration::from_secs(5), response(ticket, &mut query)).await;
        let error = outcome.expect("at once").expect_err("nobody listens");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    }
}
