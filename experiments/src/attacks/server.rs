//! The upstream of the attacked tier: a DNS server on an address of the node.
//!
//! | zone | behaviour |
//! |---|---|
//! | `large.test` | answers with 1,000 bytes |
//! | `costly.test` | sets TC over UDP, and returns 64 KiB over TCP that are costly to parse |
//! | `silent.test` | never answers |
//! | any other | answers immediately; for names that begin with `lossy` the first datagram is lost |

use std::collections::HashSet;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hickory_proto::op::{Message, Metadata};
use hickory_proto::rr::rdata::{A, CNAME, SOA, TXT};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use podlocal_harness::failure::{Failure, WithContext as _};
use podlocal_harness::framing::{self, Transport};
use tokio::task::JoinSet;

/// The port of DNS.
const PORT: u16 = 53;

/// The TTL of every record, in seconds.
const TTL: u32 = 3600;

/// The largest number of records of 16 bytes that fit into a message together with a question and a long
/// name.
const COSTLY_RECORDS: u16 = 4060;

/// The labels of the long name: 118 of one byte, which leaves two of the 255 bytes of a name unused.
const LABELS: usize = 118;

/// A running server.
#[derive(Debug)]
pub struct Server {
    queries: Arc<AtomicU64>,
    /// End when they are dropped.
    _tasks: JoinSet<()>,
}

impl Server {
    /// Starts it on UDP and TCP.
    pub async fn start(address: Ipv4Addr) -> Result<Self, Failure> {
        let sockets = framing::bind((address, PORT).into()).await;
        let sockets = sockets.with_context(|| format!("binding {address}:{PORT}"))?;
        let queries = Arc::new(AtomicU64::new(0));
        let (counter, lost) = (Arc::clone(&queries), Mutex::new(HashSet::new()));
        let respond = move |query: &[u8], transport| {
            counter.fetch_add(1, Ordering::Relaxed);
            let query = Message::from_vec(query).ok()?;
            let name = query.queries.first()?.name().to_lowercase();
            let is_lossy = name.iter().next().is_some_and(|label| label.starts_with(b"lossy"));
            if is_lossy && lost.lock().unwrap_or_else(PoisonError::into_inner).insert(name) {
                return None;
            }
            Some((Duration::ZERO, respond(&query, transport)?))
        };
        let tasks = framing::serve_both(sockets, Duration::MAX, Arc::new(respond));
        Ok(Self { queries, _tasks: tasks })
    }

    /// How many queries it has received.
    pub fn queries(&self) -> u64 {
        self.queries.load(Ordering::Relaxed)
    }
}

/// The response to a query; `None`: silence.
fn respond(query: &Message, transport: Transport) -> Option<Vec<u8>> {
    let question = query.queries.first()?;
    let record = |data| Record::from_rdata(question.name().clone(), TTL, data);
    let mut response = Message::query();
    response.metadata = Metadata::response_from_request(&query.metadata);
    response.metadata.recursion_available = true;
    response.queries.clone_from(&query.queries);
    let zone = question.name().to_lowercase();
    match (zone.iter().rev().nth(1), question.query_type()) {
        (Some(b"silent"), _) => return None,
        (Some(b"costly"), _) if transport == Transport::Tcp => {
            let name = Name::from_labels([&b"a"[..]; LABELS]).ok()?;
            response.add_answer(record(RData::CNAME(CNAME(name))));
            return with_costly_records(response.to_vec().ok()?);
        }
        (Some(b"costly"), _) => response.metadata.truncation = true,
        (Some(b"large"), _) => {
            let text = RData::TXT(TXT::new(vec!["x".repeat(240)]));
            response.add_answers([text.clone(), text.clone(), text.clone(), text].map(record));
        }
        (_, RecordType::A) => _ = response.add_answer(record(RData::A(A(Ipv4Addr::new(203, 0, 113, 1))))),
        _ => {
            let soa = SOA::new(Name::root(), Name::root(), 1, 60, 60, 60, 60);
            response.add_authority(record(RData::SOA(soa)));
        }
    }
    response.to_vec().ok()
}

/// Appends records that belong to the name at the end of the response, written as a pointer (the class of
/// CVE-2024-8508): 64 KiB in all.
fn with_costly_records(mut response: Vec<u8>) -> Option<Vec<u8>> {
    let owner = 0xc000 | (response.len() - 2 * LABELS - 1) as u16;
    let counts = response.get_mut(6..8)?;
    counts.copy_from_slice(&(COSTLY_RECORDS + 1).to_be_bytes());
    for number in 0..COSTLY_RECORDS {
        // Type A, class IN, TTL, length, and the address.
        let words = [owner, 1, 1, 0, TTL as u16, 4, 0xcb00, number];
        response.extend(words.into_iter().flat_map(u16::to_be_bytes));
    }
    Some(response)
}

#[cfg(test)]
mod tests {
    use super::*;
    use podlocal_harness::loopback::client;

    #[test]
    fn the_zone_of_a_name_decides() {
        let respond = |name: &str, rtype, transport| {
            let query = client::question(name, rtype).expect("a name");
            respond(&query, transport)
        };
        let length = |name: &str, transport| {
            respond(name, RecordType::A, transport).map_or(0, |message| message.len())
        };
        assert_eq!(length("a.silent.test", Transport::Udp), 0);
        assert!(length("a.costly.test", Transport::Udp) < 100);
        assert!((1000..=1232).contains(&length("a.large.test", Transport::Udp)));
        assert!((30..100).contains(&length("a.victim.test", Transport::Udp)));
        let aaaa = respond("a.victim.test", RecordType::AAAA, Transport::Udp).expect("a response");
        assert_eq!(Message::from_vec(&aaaa).expect("a message").authorities.len(), 1);
    }

    #[test]
    fn a_costly_answer_fills_a_message_over_tcp() {
        let query = client::question("a.costly.test", RecordType::A).expect("a name");
        let message = respond(&query, Transport::Tcp).expect("a response");
        assert!((65_000..=65_535).contains(&message.len()), "{}", message.len());
        let message = Message::from_vec(&message).expect("a message");
        let last = message.answers.last().expect("records");
        assert_eq!((message.answers.len(), usize::from(last.name.num_labels())), (4061, LABELS));
    }
}
