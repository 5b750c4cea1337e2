//! One exchange per key at a time: callers that ask for the same key meanwhile wait for its single outcome.
//!
//! ```text
//!   join(key) --- no flight ---> start the exchange in a task, which goes on when the caller leaves
//!       |                          |
//!       '------- a flight ---------'-> wait; success or failure reaches every waiter once
//! ```
//!
//! quick_cache's own guard passes a failed load to the next waiter, which tries again: with a silent upstream
//! the waiters would time out one after another. So this module has flights of its own. They know nothing
//! about DNS.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use quick_cache::DefaultHashBuilder;
use tokio::sync::Notify;

/// The flights in progress, with limits on their number and on the waiters of each.
#[derive(Debug)]
pub struct Flights<K, V> {
    in_flight: Mutex<InFlight<K, V>>,
    max_flights: usize,
    max_waiters: usize,
}

/// `None`: nobody waits for the outcome yet.
type InFlight<K, V> = HashMap<Arc<K>, Option<Waiter<V>>, DefaultHashBuilder>;

/// A place among those who wait for an outcome.
type Waiter<V> = Arc<FlightOutcome<V>>;

/// A waiter, and the flight that it has to start, if there was none.
type Entered<K, V> = (Waiter<V>, Option<Flight<K, V>>);

/// The place where the outcome of one flight is published. Each waiter holds a reference to it, so their number
/// is one less than the reference count. It is not a tokio channel: a channel with many receivers takes half a
/// kilobyte, and most flights have only their leader.
#[derive(Debug)]
struct FlightOutcome<V> {
    /// `Some(None)`: the flight was lost.
    value: OnceLock<Option<V>>,
    published: Notify,
}

impl<V> Default for FlightOutcome<V> {
    fn default() -> Self {
        Self { value: OnceLock::new(), published: Notify::new() }
    }
}

impl<V> FlightOutcome<V> {
    /// Waits for the outcome; `None`: the flight was lost.
    async fn wait(&self) -> Option<&V> {
        if self.value.get().is_none() {
            let published = self.published.notified(); // registered before the second look at the value
            if self.value.get().is_none() {
                published.await;
            }
        }
        self.value.get()?.as_ref()
    }
}

/// How a caller got its outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// It started the exchange.
    Leader,
    /// It waited for an exchange in progress.
    Coalesced,
}

/// Why a caller gets no outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoOutcome {
    /// The limit on flights is reached.
    TooManyFlights,
    /// The limit on the waiters of this flight is reached.
    TooManyWaiters,
    /// The exchange ended without an outcome: its task panicked.
    Lost,
}

impl<K, V> Flights<K, V>
where
    K: Hash + Eq + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    /// No flights yet.
    pub fn new(max_flights: usize, max_waiters: usize) -> Arc<Self> {
        Arc::new(Self { in_flight: Mutex::default(), max_flights, max_waiters })
    }

    /// Waits for the outcome of `key`'s flight; when there is none, `lead` makes the exchange and it starts.
    ///
    /// Everything that `lead`'s future does is done before the flight ends: a later caller finds the answer
    /// of the exchange in the cache, so no second exchange starts.
    pub async fn join<F>(
        self: &Arc<Self>,
        key: &Arc<K>,
        lead: impl FnOnce() -> F,
    ) -> Result<(V, Role), NoOutcome>
    where
        F: Future<Output = V> + Send + 'static,
    {
        let (waiter, flight) = self.enter(key)?;
        let role = if let Some(flight) = flight {
            let exchange = lead();
            // In a task of its own: when it panics, the flight is lost, and its waiters get that outcome.
            tokio::spawn(async move { flight.end(exchange.await) });
            Role::Leader
        } else {
            Role::Coalesced
        };
        waiter.wait().await.map(|value| (value.clone(), role)).ok_or(NoOutcome::Lost)
    }

    /// Begins a flight that the caller ends. `None`: there is one for that key, or the limit is reached.
    pub fn begin(self: &Arc<Self>, key: &Arc<K>) -> Option<Flight<K, V>> {
        let mut in_flight = self.lock();
        if in_flight.len() >= self.max_flights || in_flight.contains_key(&**key) {
            return None;
        }
        in_flight.insert(Arc::clone(key), None);
        Some(Flight { flights: Arc::clone(self), key: Arc::clone(key), value: None })
    }

    /// Resolves at the end of `key`'s flight, if there is one; the waiter counts like any other.
    pub fn end_of(&self, key: &K) -> Option<impl Future<Output = ()> + Send + use<K, V>> {
        let waiter = self.waiter(key)?;
        Some(async move {
            waiter.wait().await;
        })
    }

    /// Whether there is a flight for that key.
    pub fn is_in_flight(&self, key: &K) -> bool {
        self.lock().contains_key(key)
    }

    /// How many more flights may start.
    pub fn free(&self) -> usize {
        self.max_flights.saturating_sub(self.count())
    }

    /// The number of flights in progress.
    pub fn count(&self) -> usize {
        self.lock().len()
    }

    /// A place among the waiters of `key`'s flight; when there is none, with a new flight.
    fn enter(self: &Arc<Self>, key: &Arc<K>) -> Result<Entered<K, V>, NoOutcome> {
        let mut in_flight = self.lock();
        if let Some(outcome) = in_flight.get_mut(&**key) {
            let outcome = outcome.get_or_insert_default();
            if Arc::strong_count(outcome) > self.max_waiters {
                return Err(NoOutcome::TooManyWaiters);
            }
            return Ok((Arc::clone(outcome), None));
        }
        if in_flight.len() >= self.max_flights {
            return Err(NoOutcome::TooManyFlights);
        }
        let waiter = Waiter::default();
        in_flight.insert(Arc::clone(key), Some(Arc::clone(&waiter)));
        Ok((waiter, Some(Flight { flights: Arc::clone(self), key: Arc::clone(key), value: None })))
    }
}

impl<K: Hash + Eq, V> Flights<K, V> {
    /// A place among the waiters of that flight, whatever their number.
    fn waiter(&self, key: &K) -> Option<Waiter<V>> {
        Some(Arc::clone(self.lock().get_mut(key)?.get_or_insert_default()))
    }

    fn lock(&self) -> MutexGuard<'_, InFlight<K, V>> {
        // A panic under the lock cannot leave the map half changed.
        self.in_flight.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A flight in progress. Its end removes it from the map, and then publishes its outcome: a new caller finds
/// the answer in the cache. When it is dropped without an outcome, because the exchange panicked, it is lost,
/// so that no waiter waits forever.
#[derive(Debug)]
pub struct Flight<K: Hash + Eq, V> {
    flights: Arc<Flights<K, V>>,
    key: Arc<K>,
    value: Option<V>,
}

impl<K: Hash + Eq, V: Clone> Flight<K, V> {
    /// The key.
    pub fn key(&self) -> &Arc<K> {
        &self.key
    }

    /// Ends the flight with that outcome.
    pub fn end(mut self, value: V) {
        self.value = Some(value);
    }

    /// Resolves to the outcome of the flight, for the caller that has started it.
    pub fn wait_for_end(&self) -> impl Future<Output = Result<V, NoOutcome>> + use<K, V> {
        let waiter = self.flights.waiter(&self.key);
        async move { waiter.ok_or(NoOutcome::Lost)?.wait().await.cloned().ok_or(NoOutcome::Lost) }
    }
}

impl<K: Hash + Eq, V> Drop for Flight<K, V> {
    fn drop(&mut self) {
        let outcome = self.flights.lock().remove(&*self.key).flatten();
        if let Some(outcome) = outcome {
            let _ = outcome.value.set(self.value.take()); // nothing else sets it
            outcome.published.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::Duration;
    use tokio::task::JoinSet;
    use tokio::time::{Instant, sleep};

    type Answer = Result<u32, &'static str>;

    /// Starts `count` callers of the same key; each leader would count an exchange, which takes a second.
    fn callers(
        flights: &Arc<Flights<u8, Answer>>,
        count: u32,
        exchanges: &Arc<AtomicU32>,
        answer: Answer,
    ) -> JoinSet<Result<(Answer, Role), NoOutcome>> {
        let mut tasks = JoinSet::new();
        for _ in 0..count {
            let (flights, exchanges) = (Arc::clone(flights), Arc::clone(exchanges));
            tasks.spawn(async move {
                let lead = || async move {
                    exchanges.fetch_add(1, Ordering::Relaxed);
                    sleep(Duration::from_secs(1)).await;
                    answer
                };
                flights.join(&Arc::new(1), lead).await
            });
        }
        tasks
    }

    #[tokio::test(start_paused = true)]
    async fn two_hundred_callers_share_one_exchange_and_its_outcome() {
        for answer in [Ok(5), Err("silent")] {
            let (flights, exchanges, start) = (Flights::new(10, 1000), Arc::default(), Instant::now());
            let outcomes = callers(&flights, 200, &exchanges, answer).join_all().await;
            assert_eq!((exchanges.load(Ordering::Relaxed), flights.count()), (1, 0));
            for (role, count) in [(Role::Leader, 1), (Role::Coalesced, 199)] {
                let of_role = outcomes.iter().filter(|outcome| **outcome == Ok((answer, role)));
                assert_eq!(of_role.count(), count, "{role:?}");
            }
            assert_eq!(start.elapsed(), Duration::from_secs(1), "not one after another");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_leader_that_leaves_does_not_cancel_the_exchange() {
        let (flights, exchanges) = (Flights::new(10, 1000), Arc::default());
        let mut leader = callers(&flights, 1, &exchanges, Ok(5));
        tokio::task::yield_now().await;
        let follower = callers(&flights, 1, &exchanges, Ok(6));
        tokio::task::yield_now().await;
        leader.abort_all();
        assert_eq!(follower.join_all().await, [Ok((Ok(5), Role::Coalesced))]);
        assert_eq!(exchanges.load(Ordering::Relaxed), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_panic_ends_all_waits_and_the_next_caller_leads() {
        let flights: Arc<Flights<u8, u32>> = Flights::new(10, 10);
        let outcome = flights.join(&Arc::new(1), || async { panic!("a defect in the exchange") }).await;
        assert_eq!(outcome, Err(NoOutcome::Lost));
        assert_eq!(flights.join(&Arc::new(1), || async { 2 }).await, Ok((2, Role::Leader)));
    }

    #[tokio::test(start_paused = true)]
    async fn flights_and_waiters_are_limited() {
        let (flights, exchanges) = (Flights::new(1, 3), Arc::default());
        let waiting = callers(&flights, 5, &exchanges, Ok(5));
        tokio::task::yield_now().await;
        assert_eq!(flights.join(&Arc::new(2), || async { Ok(0) }).await, Err(NoOutcome::TooManyFlights));
        let outcomes = waiting.join_all().await;
        let refused = outcomes.iter().filter(|outcome| **outcome == Err(NoOutcome::TooManyWaiters));
        assert_eq!(refused.count(), 2);
        assert_eq!(flights.join(&Arc::new(2), || async { Ok(0) }).await, Ok((Ok(0), Role::Leader)));
    }
}
