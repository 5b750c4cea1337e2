//! Queries over UDP that wait for the same answer: one exchange for all of them.
//!
//! The pods of a gang query the shared tier for the same name at the same instant. A task for each of
//! thousands of queries would cost more than the answers do. So a query that arrives while the same question
//! is in flight only stores what its answer needs, some 100 bytes, and all are answered together.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use podlocal_dns::key::Key;
use quick_cache::DefaultHashBuilder;

use super::Places;
use crate::query::{Query, StoredClient};
use crate::supervise::lock;

/// The queries that wait at one socket, by question, but for the first of each, which its exchange keeps.
#[derive(Debug, Default)]
pub(super) struct PendingQueries(Mutex<WaitersByQuestion>);

type WaitersByQuestion = HashMap<Arc<Key>, Vec<Waiter>, DefaultHashBuilder>;

/// A client that waits: everything that its answer needs.
#[derive(Debug)]
pub(super) struct Waiter {
    pub(super) address: SocketAddr,
    /// The id, flags, EDNS and spelling for its answer.
    pub(super) client: StoredClient,
    pub(super) places: Places,
}

/// Whether a client may wait, and for which exchange.
#[derive(Debug)]
pub(super) enum JoinResult {
    /// No other client waits for this answer: the caller starts an exchange for this key, and keeps the client.
    First(Arc<Key>, Waiter),
    /// The client waits for an exchange that is in flight.
    Coalesced,
    /// Too many other clients wait for this answer.
    Full,
}

impl PendingQueries {
    /// Adds a client to those that wait for this answer, of which there may be `max`.
    pub(super) fn join(&self, key: &Key, waiter: Waiter, max: usize) -> JoinResult {
        let mut pending = lock(&self.0);
        match pending.get_mut(key) {
            Some(waiters) if waiters.len() + 1 >= max => JoinResult::Full,
            Some(waiters) => {
                waiters.push(waiter);
                JoinResult::Coalesced
            }
            None => {
                let key = Arc::new(key.clone());
                pending.insert(Arc::clone(&key), Vec::new());
                JoinResult::First(key, waiter)
            }
        }
    }

    /// Removes all clients that wait for this answer, but for the first. Clients that come later start another
    /// exchange.
    pub(super) fn remove(&self, key: &Key) -> Vec<Waiter> {
        lock(&self.0).remove(key).unwrap_or_default()
    }
}

impl Waiter {
    pub(super) fn new(query: &Query<'_>, address: SocketAddr, places: Places) -> Self {
        Self { address, client: query.client().stored(&query.key), places }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::query::tests::query_bytes;
    use crate::sources::MissPermit;
    use std::time::Instant;

    fn waiting(query: &Query<'_>, all: &Arc<()>) -> Waiter {
        let of_source = MissPermit::default();
        let places = Places { _of_all: Arc::clone(all), since: Instant::now(), _of_source: of_source };
        Waiter::new(query, SocketAddr::from(([127, 0, 0, 1], 1)), places)
    }

    /// The freed memory of a waiter is reused for an answer. With 24 bytes more it does not fit, and the
    /// allocator takes a MiB more for the same ten thousand names.
    #[test]
    fn a_waiter_fits_into_the_allocation_of_an_answer() {
        assert!(size_of::<Waiter>() <= 104, "{}", size_of::<Waiter>());
    }

    #[test]
    fn the_first_client_starts_an_exchange_and_others_coalesce() {
        let (pending, all) = (PendingQueries::default(), Arc::default());
        let bytes = ["a.b", "c.d", "A.b"].map(|name| query_bytes(name, 0, &[]));
        let [one, other, upper] = bytes.each_ref().map(|bytes| Query::parse(bytes).expect("a query"));
        let join = |query: &Query<'_>| pending.join(&query.key, waiting(query, &all), 3);
        let JoinResult::First(_, first) = join(&one) else { panic!("no other waits") };
        assert!(matches!(join(&other), JoinResult::First(..)));
        assert!(matches!(
            [join(&upper), join(&one), join(&one)],
            [JoinResult::Coalesced, JoinResult::Coalesced, JoinResult::Full]
        ));
        let waiters: Vec<_> = std::iter::once(first).chain(pending.remove(&one.key)).collect();
        let names: Vec<_> =
            waiters.iter().map(|waiting| waiting.client.with_key(&one.key).name().to_vec()).collect();
        assert_eq!(names, [&b"\x01a\x01b\x00"[..], b"\x01A\x01b\x00", b"\x01a\x01b\x00"]);
        assert_eq!(Arc::strong_count(&all) - 1, 3, "a client that is refused does not wait");
        drop(waiters);
        assert_eq!(Arc::strong_count(&all) - 1, 0);
        assert!(matches!(join(&one), JoinResult::First(..)));
    }
}
