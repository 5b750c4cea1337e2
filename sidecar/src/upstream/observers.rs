//! Who listens to exchanges with the upstream while they happen: a `lookup`, which shows them to a person.
//!
//! Nobody does, nearly always; then it costs one relaxed load for each attempt. What an exchange did before somebody
//! listened is not kept, but its end tells how many attempts there were and how long they took.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::cache::key::Key;
use crate::limits;
use crate::metrics::AttemptResult;
use podlocal_dns::upstream::Step;

/// Those who listen.
#[derive(Debug, Default)]
pub struct Observers {
    count: AtomicUsize,
    notes: Mutex<Vec<Arc<Notes>>>,
}

/// What one of them has heard.
type Notes = Mutex<Vec<Noted>>;

/// Something that happened in an exchange.
#[derive(Debug, Clone)]
pub struct Noted {
    /// When.
    pub at: Instant,
    /// About which question.
    pub key: Key,
    /// What.
    pub event: Event,
}

/// What happens in an exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// A server is asked.
    Asked {
        /// Whom, and how.
        step: Step,
    },
    /// An attempt has ended.
    Ended {
        /// At whom, and how.
        step: Step,
        /// With what.
        result: AttemptResult,
        /// How long after it began.
        took: Duration,
    },
    /// The exchange is over.
    Over {
        /// How many attempts there were.
        attempts: u8,
        /// How long it took.
        took: Duration,
    },
}

impl Observers {
    /// Tells those who listen, of whom there are mostly none.
    #[inline]
    pub fn note(&self, key: &Key, at: Instant, event: impl FnOnce() -> Event) {
        if self.count.load(Ordering::Relaxed) > 0 {
            self.write(key, at, event());
        }
    }

    /// Listens to all exchanges from now on.
    pub fn observe(&self) -> Observation<'_> {
        let notes = Arc::default();
        lock(&self.notes).push(Arc::clone(&notes));
        self.count.fetch_add(1, Ordering::Relaxed);
        Observation { observers: self, notes }
    }

    #[cold]
    fn write(&self, key: &Key, at: Instant, event: Event) {
        for notes in &*lock(&self.notes) {
            let mut notes = lock(notes);
            if notes.len() < limits::OBSERVED_EVENTS {
                notes.push(Noted { at, key: key.clone(), event });
            }
        }
    }
}

/// Listens until it is dropped.
#[derive(Debug)]
pub struct Observation<'a> {
    observers: &'a Observers,
    notes: Arc<Notes>,
}

impl Observation<'_> {
    /// What has happened since it began, in order; at most [`limits::OBSERVED_EVENTS`].
    pub fn noted(&self) -> Vec<Noted> {
        lock(&self.notes).clone()
    }
}

impl Drop for Observation<'_> {
    fn drop(&mut self) {
        self.observers.count.fetch_sub(1, Ordering::Relaxed);
        lock(&self.observers.notes).retain(|notes| !Arc::ptr_eq(notes, &self.notes));
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic while it is held cannot leave a list half changed.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Flags;

    fn over(attempts: u8) -> Event {
        Event::Over { attempts, took: Duration::ZERO }
    }

    #[test]
    fn who_listens_hears_what_happens_meanwhile_and_no_more_than_the_bound() {
        let observers = Observers::default();
        let key = Key::new(b"\x01a\x00\x00\x01\x00\x01", Flags(Flags::RD), false);
        let note = |attempts| observers.note(&key, Instant::now(), || over(attempts));
        note(1);
        let first = observers.observe();
        note(2);
        let second = observers.observe();
        note(3);
        let heard = |of: &Observation<'_>| of.noted().iter().map(|noted| noted.event).collect::<Vec<_>>();
        assert_eq!((heard(&first), heard(&second)), (vec![over(2), over(3)], vec![over(3)]));
        drop(first);
        (0..2 * limits::OBSERVED_EVENTS).for_each(|_| note(4));
        assert_eq!(second.noted().len(), limits::OBSERVED_EVENTS);
        drop(second);
        observers.note(&key, Instant::now(), || unreachable!("nobody listens"));
    }
}
