//! One query to one server, and its response: with the sidecar's EDNS, and again without it if EDNS may be
//! the cause of a failure; over UDP as long as replies can be trusted.

use std::io;

use podlocal_dns::key::Key;
use podlocal_dns::wire::{self, Flags, Message, Rcode, Reading};
use tokio::time::{Instant, timeout};

use super::path::Path;
use super::query_message::QueryMessage;
use super::spoofing::{NearMissAction, Stray};
use crate::limits;
use crate::metrics::{Metrics, Transport, Unwanted};

/// A socket or a connection on which one query waits for its response.
pub trait Link: Send {
    /// The transport.
    const TRANSPORT: Transport;

    /// Sends a message.
    fn send(&mut self, message: &[u8]) -> impl Future<Output = io::Result<()>> + Send;

    /// Waits for what arrives next.
    fn receive(&mut self) -> impl Future<Output = io::Result<Arrival>> + Send;
}

/// What arrived for a query.
#[derive(Debug)]
pub enum Arrival {
    /// A message that may answer it.
    Message(Vec<u8>),
    /// So many datagrams in a row that would answer it, but for a wrong id. They are counted and not kept: a
    /// flood of them takes no memory, and each of them counts.
    NearMisses(u32),
}

/// How a query on a link ends.
#[derive(Debug)]
pub enum Received {
    /// The response, without its OPT record.
    Response(Vec<u8>),
    /// A failure of which EDNS may be the cause: the response, unless the query, which has no EDNS now, gets
    /// a better one.
    Failure(Vec<u8>),
    /// Over UDP only: replies are not trusted, and the query has to be sent over TCP, or over UDP later.
    Distrusted(NearMissAction),
}

/// A query, and what it has received.
#[derive(Debug)]
pub struct OutgoingQuery<'a> {
    key: &'a Key,
    path: &'a Path,
    metrics: &'a Metrics,
    message: QueryMessage,
    is_edns_fallback: bool,
    /// Near misses on the UDP socket of the query.
    near_misses: u8,
}

impl<'a> OutgoingQuery<'a> {
    /// A new query with these markers of other proxies; `is_repeated` when the server did not answer an
    /// earlier one. The query of a client that asks for DNSSEC records always carries EDNS, because that
    /// client uses EDNS itself; so does a query with markers of other proxies, to show a loop.
    pub fn new(
        key: &'a Key,
        path: &'a Path,
        metrics: &'a Metrics,
        forwarded: Box<[u8]>,
        is_repeated: bool,
        now: Instant,
    ) -> io::Result<Self> {
        let must_have_edns = key.dnssec_ok() || !forwarded.is_empty();
        let (known, now) = (path.lock(), now.into_std());
        let with_edns = must_have_edns || known.edns.should_send(is_repeated, now);
        let has_random_case = path.is_tier && known.case.should_randomize(now);
        drop(known);
        let mut message = QueryMessage::new(path.marker, with_edns)?;
        message.forwarded = forwarded;
        if has_random_case {
            message.randomize_case()?;
        }
        Ok(Self::sent(key, path, metrics, message))
    }

    /// The query of a message that was sent already, to receive its response.
    pub fn sent(key: &'a Key, path: &'a Path, metrics: &'a Metrics, message: QueryMessage) -> Self {
        Self { key, path, metrics, message, is_edns_fallback: false, near_misses: 0 }
    }

    /// The message.
    pub fn into_message(self) -> QueryMessage {
        self.message
    }

    /// The bytes of the message.
    pub fn bytes(&self) -> Vec<u8> {
        self.message.bytes(self.key)
    }

    /// Writes the bytes of the message with that id, which it has from now on.
    pub fn write_with_id(&mut self, id: u16, out: &mut Vec<u8>) {
        self.message.id = id;
        self.message.write(self.key, out);
    }

    /// Whether a near miss has arrived on its socket, so that an attacker may know the port.
    pub fn is_port_known(&self) -> bool {
        self.near_misses > 0
    }

    /// Waits for the response on that link, on which the message was sent; resends it without EDNS after a
    /// failure of which EDNS may be the cause. The caller limits the time.
    ///
    /// A message that does not answer the query is ignored, within the limits of the link and of
    /// [`super::spoofing`]: a forged answer must not end the exchange.
    pub async fn response(&mut self, link: &mut impl Link) -> io::Result<Received> {
        let failure = match self.receive_from(link).await? {
            Received::Failure(failure) => failure,
            received => return Ok(received),
        };
        // Boxed, because it is rarely needed. Such a server may close the connection as well.
        let again = Box::pin(timeout(limits::WITHOUT_EDNS_TIMEOUT, async {
            link.send(&self.bytes()).await?;
            self.receive_from(link).await
        }));
        if let Ok(Ok(Received::Response(better))) = again.await {
            return Ok(Received::Response(better));
        }
        self.record_fallback_failure();
        Ok(Received::Response(failure))
    }

    async fn receive_from<L: Link>(&mut self, link: &mut L) -> io::Result<Received> {
        loop {
            let received = match link.receive().await? {
                Arrival::Message(message) => self.receive(message, L::TRANSPORT),
                // Until one of them has a consequence.
                Arrival::NearMisses(count) => (0..count).find_map(|_| {
                    self.ignore(Stray { reason: Unwanted::Id, is_near_miss: true }, Transport::Udp)
                }),
            };
            if let Some(received) = received {
                return Ok(received);
            }
        }
    }

    /// Checks a message from the server, and learns from it; `None`: it is ignored.
    fn receive(&mut self, message: Vec<u8>, transport: Transport) -> Option<Received> {
        let reading = match self.message.check_response(self.key, &message) {
            Ok(reading) => reading,
            Err(stray) => return self.ignore(stray, transport),
        };
        let (rcode, now) = (reading.rcode, Instant::now().into_std());
        let is_echo = self.message.echoes_case(self.key, &message);
        if is_echo.is_some_and(|is_echo| !self.path.lock().case.accepts(is_echo, transport, now)) {
            return self.ignore(Stray { reason: Unwanted::Case, is_near_miss: true }, transport);
        }
        if is_answer(rcode) {
            record_answer(self.path, &self.message, transport, now);
            return Some(Received::Response(without_opt(message, &reading)));
        }
        // A server that sends an Extended DNS Error supports EDNS. So does another PodLocal DNS proxy, to
        // which the query may have come back in a loop.
        let wants_edns = rcode == Rcode::SERVFAIL && (self.key.dnssec_ok() || reading.has_extended_error);
        let response = without_opt(message, &reading);
        if self.message.with_edns && !wants_edns && self.path.lock().edns.may_be_cause(rcode, now) {
            (self.message.with_edns, self.is_edns_fallback) = (false, true);
            return Some(Received::Failure(response));
        }
        self.record_fallback_failure();
        Some(Received::Response(response))
    }

    fn ignore(&mut self, stray: Stray, transport: Transport) -> Option<Received> {
        self.metrics.unwanted_replies.inc(stray.reason);
        if !stray.is_near_miss || transport != Transport::Udp {
            return None;
        }
        self.near_misses = self.near_misses.saturating_add(1);
        match self.path.lock().tcp_fallbacks.on_near_miss(self.near_misses) {
            NearMissAction::KeepListening => None,
            action => Some(Received::Distrusted(action)),
        }
    }

    /// Records that the query without EDNS, if it was resent after a failure, failed as well.
    fn record_fallback_failure(&self) {
        if self.is_edns_fallback {
            self.path.lock().edns.record_failure_without(Instant::now().into_std());
        }
    }
}

/// Checks a message that has arrived over UDP for a query, and learns from it if it is a good answer: NOERROR
/// or NXDOMAIN, whole, and to the question as it was sent. Otherwise nothing is recorded, and
/// [`OutgoingQuery::response`] has to receive the message.
pub fn receive_good_answer(
    key: &Key,
    path: &Path,
    query: &QueryMessage,
    bytes: &[u8],
    now: Instant,
) -> Option<Reading> {
    let reading = query.check_response(key, bytes).ok()?;
    let is_whole = Message::new(bytes).is_some_and(|message| !message.flags().has(Flags::TC));
    let is_echo = query.echoes_case(key, bytes);
    if !is_whole || !is_answer(reading.rcode) || is_echo == Some(false) {
        return None;
    }
    let now = now.into_std();
    if is_echo.is_some() && !path.lock().case.accepts(true, Transport::Udp, now) {
        return None;
    }
    record_answer(path, query, Transport::Udp, now);
    Some(reading)
}

fn record_answer(path: &Path, query: &QueryMessage, transport: Transport, now: std::time::Instant) {
    let mut path = path.lock();
    path.edns.record_answer(query.with_edns, now);
    if transport == Transport::Udp {
        path.tcp_fallbacks.record_accepted();
    }
}

fn is_answer(rcode: Rcode) -> bool {
    matches!(rcode, Rcode::NO_ERROR | Rcode::NXDOMAIN)
}

/// An accepted response without its OPT record, which concerns one hop (RFC 6891 section 6.1.1): it ends
/// before that record, or before one that is cut off, and its counts are adjusted.
///
/// An RCODE of more than four bits becomes SERVFAIL: BADVERS and BADCOOKIE are about the sidecar's own EDNS,
/// and their lower bits alone would say NOERROR and YXRRSET (section 6.1.3).
///
/// Its question is in lower case, whatever case was sent: names that point to it must not show the random
/// letters.
pub fn without_opt(mut response: Vec<u8>, reading: &Reading) -> Vec<u8> {
    let length = remove_opt(&mut response, reading);
    response.truncate(length);
    response
}

/// The same in place; returns the length of the response.
pub fn remove_opt(response: &mut [u8], reading: &Reading) -> usize {
    if reading.rcode.0 > 0xf {
        wire::put_rcode(response, Rcode::SERVFAIL);
    }
    let question_length = Message::new(response).map_or(0, Message::question_length);
    if question_length == 0 {
        return response.len();
    }
    wire::put_counts(response, 1, reading.counts);
    wire::lower_case_question(response, question_length);
    reading.end.min(response.len())
}
