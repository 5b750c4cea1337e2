//! Queries by UDP that wait for the same answer: one task for all of them.
//!
//! A gang asks the shared tier for the same name at the same instant. A task for each of thousands would cost more than
//! the answers do; so who comes while a question is asked leaves what its answer needs, some 200 bytes, and the one
//! task writes to everybody.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use quick_cache::DefaultHashBuilder;

use super::Places;
use crate::cache::key::Key;
use crate::query::{Client, StoredClient};

/// Who waits at one socket, by question.
#[derive(Debug, Default)]
pub(super) struct Crowds(Mutex<ByQuestion>);

type ByQuestion = HashMap<Arc<Key>, Vec<Waiting>, DefaultHashBuilder>;

/// What an answer to somebody who waits needs.
#[derive(Debug)]
pub(super) struct Waiting {
    /// Where it goes.
    pub(super) address: SocketAddr,
    /// What it is told in.
    pub(super) client: StoredClient,
    places: Places,
}

/// What became of somebody who wants to wait.
#[derive(Debug)]
pub(super) enum Joined {
    /// Nobody waits for that answer yet: it is to be asked for, under this key.
    First(Arc<Key>),
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
                let key = Arc::new(key.clone());
                crowds.insert(Arc::clone(&key), vec![waiting]);
                Joined::First(key)
            }
        }
    }

    /// Everybody who waits for the answer to that question; who comes after this waits for another one.
    pub(super) fn take(&self, key: &Key) -> Vec<Waiting> {
        self.lock().remove(key).unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, ByQuestion> {
        // A panic while it is held cannot leave the map half changed.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    pub(super) fn new(client: &Client<'_>, address: SocketAddr, places: Places) -> Self {
        Self { address, client: client.stored(), places }
    }

    /// For how long it has.
    pub(super) fn time(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.places.since)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::query::Query;
    use crate::query::tests::query_bytes;
    use crate::sources::Place;
    use std::sync::atomic::{AtomicUsize, Ordering};

    fn waiting(query: &Query<'_>, waiting: &Arc<AtomicUsize>) -> Waiting {
        waiting.fetch_add(1, Ordering::Relaxed);
        let waiting = Arc::clone(waiting);
        let places = Places { waiting, since: Instant::now(), _of_source: Place::default() };
        Waiting::new(&query.client(), SocketAddr::from(([127, 0, 0, 1], 1)), places)
    }

    /// With 24 bytes more, what those leave who have been told fits no answer: the allocator takes a MiB more for the same
    /// ten thousand names.
    #[test]
    fn who_waits_leaves_a_block_that_an_answer_fits_into() {
        assert!(size_of::<Waiting>() <= 104, "{}", size_of::<Waiting>());
    }

    #[test]
    fn the_first_asks_those_behind_wait_and_who_comes_after_them_is_a_first_again() {
        let (crowds, count) = (Crowds::default(), Arc::default());
        let bytes = ["a.b", "c.d", "A.b"].map(|name| query_bytes(name, 0, &[]));
        let [one, other, upper] = bytes.each_ref().map(|bytes| Query::parse(bytes).expect("a query"));
        let join = |query: &Query<'_>| crowds.join(&query.key, waiting(query, &count), 3);
        assert!(matches!([join(&one), join(&other)], [Joined::First(_), Joined::First(_)]));
        assert!(matches!(
            [join(&upper), join(&one), join(&one)],
            [Joined::Behind, Joined::Behind, Joined::Full]
        ));
        let crowd = crowds.take(&one.key);
        let names: Vec<_> =
            crowd.iter().map(|waiting| Client::from(&waiting.client).name().to_vec()).collect();
        assert_eq!(names, [&b"\x01a\x01b\x00"[..], b"\x01A\x01b\x00", b"\x01a\x01b\x00"]);
        assert_eq!(count.load(Ordering::Relaxed), 4, "who found it full waits no more");
        drop(crowd);
        assert_eq!(count.load(Ordering::Relaxed), 1);
        assert!(matches!(join(&one), Joined::First(_)));
    }
}
