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
