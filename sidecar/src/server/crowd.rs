//! Queries by UDP that wait for the same answer: one task for all of them.
//!
//! A gang asks the shared tier for the same name at the same instant. A task for each of thousands would cost more than
//! the answers do; so who comes while a question is asked leaves what its answer needs, some 200 bytes, and the one
//! task writes to everybody.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::Places;
use crate::cache::key::Key;
use crate::query::{Client, Edns, Query};
use crate::wire::Flags;

/// Who waits at one socket, by question.
#[derive(Debug, Default)]
pub(super) struct Crowds(Mutex<HashMap<Key, Vec<Waiting>>>);

/// What an answer to somebody who waits needs.
#[derive(Debug)]
pub(super) struct Waiting {
    /// Where it goes.
    pub(super) address: SocketAddr,
    id: u16,
    flags: Flags,
    edns: Option<Edns>,
    question: Box<[u8]>,
    places: Places,
}

/// What became of somebody who wants to wait.
#[derive(Debug)]
pub(super) enum Joined {
    /// Nobody waits for that answer yet: it is to be asked for.
    First,
    /// Others do.
    Behind,
    /// Too many others do.
    Full,
}

impl Crowds {
    /// Waits for the answer to that question, if no more than `most` do.
    pub(super) fn join(&self, key: &Key, waiting: Waiting, most: usize) -> Joined {
        let mut crowds = self.lock();
        match crowds.get_mut(key) {
            Some(crowd) if crowd.len() >= most => Joined::Full,
            Some(crowd) => {
                crowd.push(waiting);
                Joined::Behind
            }
            None => {
                crowds.insert(key.clone(), vec![waiting]);
                Joined::First
            }
        }
    }

    /// Everybody who waits for the answer to that question; who comes after this waits for another one.
    pub(super) fn take(&self, key: &Key) -> Vec<Waiting> {
        self.lock().remove(key).unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Vec<Waiting>>> {
        // A panic while it is held cannot leave the map half changed.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    pub(super) fn new(query: &Query, address: SocketAddr, places: Places) -> Self {
        let Client { id, flags, edns, question } = query.client();
        Self { address, id, flags, edns, question: question.into(), places }
    }

    /// For how long it has.
    pub(super) fn time(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.places.since)
    }

    pub(super) fn client(&self) -> Client<'_> {
        Client { id: self.id, flags: self.flags, edns: self.edns, question: &self.question }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::query::tests::query_bytes;
    use crate::sources::Place;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    fn waiting(query: &Query, waiting: &Arc<AtomicUsize>) -> Waiting {
        waiting.fetch_add(1, Ordering::Relaxed);
        let waiting = Arc::clone(waiting);
        let places = Places { waiting, since: Instant::now(), _of_source: Place::default() };
        Waiting::new(query, SocketAddr::from(([127, 0, 0, 1], 1)), places)
    }

    #[test]
    fn the_first_asks_those_behind_wait_and_who_comes_after_them_is_a_first_again() {
        let (crowds, count) = (Crowds::default(), Arc::default());
        let query = |name: &str| Query::parse(&query_bytes(name, 0, &[])).expect("a query");
        let (one, other) = (query("a.b"), query("c.d"));
        let join = |query: &Query| crowds.join(&query.key, waiting(query, &count), 3);
        assert!(matches!([join(&one), join(&other)], [Joined::First, Joined::First]));
        assert!(matches!(
            [join(&query("A.b")), join(&one), join(&one)],
            [Joined::Behind, Joined::Behind, Joined::Full]
        ));
        let crowd = crowds.take(&one.key);
        let names: Vec<_> = crowd.iter().map(|waiting| waiting.client().name().to_vec()).collect();
        assert_eq!(names, [&b"\x01a\x01b\x00"[..], b"\x01A\x01b\x00", b"\x01a\x01b\x00"]);
        assert_eq!(count.load(Ordering::Relaxed), 4, "who found it full waits no more");
        drop(crowd);
        assert_eq!(count.load(Ordering::Relaxed), 1);
        assert!(matches!(join(&one), Joined::First));
    }
}
