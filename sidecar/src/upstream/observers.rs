//! Observers of exchanges: a `lookup`, which shows them to a person.
//!
//! There are hardly ever any; then the cost is one relaxed load for each attempt. Events before an
//! observation began are not recorded, but the end of an exchange says how many attempts there were and how
//! long they took.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use podlocal_dns::key::Key;
use tokio::time::Instant;

use crate::limits;
use crate::metrics::AttemptResult;
use crate::supervise::lock;
use podlocal_dns::upstream::Target;

/// The registered observers.
#[derive(Debug, Default)]
pub struct Observers {
    count: AtomicUsize,
    notes: Mutex<Vec<Arc<Notes>>>,
}

/// The events that one observer has recorded.
type Notes = Mutex<Vec<ObservedEvent>>;

/// An event of an exchange.
#[derive(Debug, Clone)]
pub struct ObservedEvent {
    /// When it happened.
    pub at: Instant,
    /// The question of the exchange.
    pub key: Key,
    /// The event.
    pub event: Event,
}

/// The kinds of events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// A query is sent to a server.
    AttemptStarted {
        /// The server and the transport.
        target: Target,
    },
    /// An attempt has ended.
    AttemptEnded {
        /// The server and the transport.
        target: Target,
        /// The result of the attempt.
        result: AttemptResult,
        /// The time since the attempt began.
        took: Duration,
    },
    /// The exchange has ended.
    ExchangeEnded {
        /// The number of attempts.
        attempts: u8,
        /// The duration of the exchange.
        took: Duration,
    },
}

impl Observers {
    /// Records an event for all observers, of which there are mostly none.
    #[inline]
    pub fn notify(&self, key: &Key, at: Instant, event: impl FnOnce() -> Event) {
        if self.count.load(Ordering::Relaxed) > 0 {
            self.write(key, at, event());
        }
    }

    /// Records the events of all exchanges from now on.
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
                notes.push(ObservedEvent { at, key: key.clone(), event });
            }
        }
    }
}

/// Records events until it is dropped.
#[derive(Debug)]
pub struct Observation<'a> {
    observers: &'a Observers,
    notes: Arc<Notes>,
}

impl Observation<'_> {
    /// The events since it began, in order; at most [`limits::OBSERVED_EVENTS`].
    pub fn events(&self) -> Vec<ObservedEvent> {
        lock(&self.notes).clone()
    }
}

impl Drop for Observation<'_> {
    fn drop(&mut self) {
        self.observers.count.fetch_sub(1, Ordering::Relaxed);
        lock(&self.observers.notes).retain(|notes| !Arc::ptr_eq(notes, &self.notes));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use podlocal_dns::wire::Flags;

    fn over(attempts: u8) -> Event {
        Event::ExchangeEnded { attempts, took: Duration::ZERO }
    }

    #[test]
    fn observers_record_events_while_they_exist_up_to_the_limit() {
        let observers = Observers::default();
        let key = Key::new(b"\x01a\x00\x00\x01\x00\x01", Flags(Flags::RD), false);
        let note = |attempts| observers.notify(&key, Instant::now(), || over(attempts));
        note(1);
        let first = observers.observe();
        note(2);
        let second = observers.observe();
        note(3);
        let heard = |of: &Observation<'_>| of.events().iter().map(|noted| noted.event).collect::<Vec<_>>();
        assert_eq!((heard(&first), heard(&second)), (vec![over(2), over(3)], vec![over(3)]));
        drop(first);
        (0..2 * limits::OBSERVED_EVENTS).for_each(|_| note(4));
        assert_eq!(second.events().len(), limits::OBSERVED_EVENTS);
        drop(second);
        observers.notify(&key, Instant::now(), || unreachable!("nobody listens"));
    }
}
