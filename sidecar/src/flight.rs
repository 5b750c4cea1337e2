//! One exchange per key at a time: whoever asks while it is under way waits for its one outcome.
//!
//! ```text
//!   join(key) --- no flight ---> lead: make the exchange; when the leader leaves,
//!       |                        it goes on in a task of its own
//!       '------- a flight ----> wait; success or failure reaches every waiter once
//! ```
//!
//! quick_cache's own guard hands a failed load to the next waiter, who tries again: with a silent upstream
//! the waiters would time out one after another. So flights are ours. They know nothing of DNS.

use std::collections::HashMap;
use std::hash::Hash;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll};

use quick_cache::DefaultHashBuilder;
use tokio::runtime::Handle;
use tokio::sync::Notify;

/// The flights under way, bounded in number and in waiters each.
#[derive(Debug)]
pub struct Flights<K, V> {
    under_way: Mutex<UnderWay<K, V>>,
    most_flights: usize,
    most_waiters: usize,
}

type UnderWay<K, V> = HashMap<Arc<K>, Arc<Outcome<V>>, DefaultHashBuilder>;

/// Where the outcome of one flight is published. Not a channel of tokio: one that many can wait at takes half a kilobyte, and
/// most flights have their leader alone.
#[derive(Debug)]
struct Outcome<V> {
    /// Nothing inside: the flight was lost.
    value: OnceLock<Option<V>>,
    told: Notify,
    waiters: AtomicUsize,
}

/// One who waits for an outcome; counted until it is dropped.
#[derive(Debug)]
struct Waiter<V>(Arc<Outcome<V>>);

impl<V> Outcome<V> {
    fn tell(&self, value: Option<V>) {
        // The first one counts: what ends a flight that was lost comes after its outcome otherwise.
        if self.value.set(value).is_ok() {
            self.told.notify_waiters();
        }
    }

    fn enter(self: &Arc<Self>) -> Waiter<V> {
        self.waiters.fetch_add(1, Ordering::Relaxed);
        Waiter(Arc::clone(self))
    }
}

impl<V> Waiter<V> {
    /// Waits for the outcome; `None`: the flight was lost.
    async fn told(&self) -> Option<&V> {
        if self.0.value.get().is_none() {
            let told = self.0.told.notified(); // who is told from here on tells this one, too
            if self.0.value.get().is_none() {
                told.await;
            }
        }
        self.0.value.get()?.as_ref()
    }
}

impl<V> Drop for Waiter<V> {
    fn drop(&mut self) {
        self.0.waiters.fetch_sub(1, Ordering::Relaxed);
    }
}

/// How a caller came to its outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// It started the exchange.
    Led,
    /// It waited for one that was under way.
    Joined,
}

/// Why there is no outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoOutcome {
    /// As many flights are under way as may be.
    #[error("too many exchanges are under way")]
    TooManyFlights,
    /// As many callers wait for this one as may.
    #[error("too many clients wait for this exchange")]
    TooManyWaiters,
    /// The exchange ended without an outcome: its task panicked.
    #[error("the exchange ended without an outcome")]
    Lost,
}

impl<K, V> Flights<K, V>
where
    K: Hash + Eq + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    /// No flights yet.
    pub fn new(most_flights: usize, most_waiters: usize) -> Arc<Self> {
        Arc::new(Self { under_way: Mutex::default(), most_flights, most_waiters })
    }

    /// Waits for the outcome of `key`'s flight; when there is none, `lead` makes the exchange and it starts.
    ///
    /// What `lead`'s future does is done before the flight is over: whoever comes after it finds what the
    /// exchange has put into the cache, so no second exchange starts.
    pub async fn join<F>(
        self: &Arc<Self>,
        key: Arc<K>,
        lead: impl FnOnce() -> F,
    ) -> Result<(V, Role), NoOutcome>
    where
        F: Future<Output = V> + Send + 'static,
    {
        let (waiter, exchange) = self.enter(key, lead)?;
        let role = if let Some(exchange) = exchange {
            exchange.await;
            Role::Led
        } else {
            Role::Joined
        };
        waiter.told().await.map(|value| (value.clone(), role)).ok_or(NoOutcome::Lost)
    }

    /// The end of `key`'s flight, if one is under way; the waiter counts like any other.
    pub fn under_way(&self, key: &K) -> Option<impl Future<Output = ()> + Send + use<K, V>> {
        let waiter = self.lock().get(key)?.enter();
        Some(async move {
            waiter.told().await;
        })
    }

    /// How many more flights there may be.
    pub fn free(&self) -> usize {
        self.most_flights.saturating_sub(self.count())
    }

    /// How many flights are under way.
    pub fn count(&self) -> usize {
        self.lock().len()
    }

    fn enter<F>(
        self: &Arc<Self>,
        key: Arc<K>,
        lead: impl FnOnce() -> F,
    ) -> Result<(Waiter<V>, Option<Exchange>), NoOutcome>
    where
        F: Future<Output = V> + Send + 'static,
    {
        let mut under_way = self.lock();
        if let Some(outcome) = under_way.get(&*key) {
            if outcome.waiters.load(Ordering::Relaxed) >= self.most_waiters {
                return Err(NoOutcome::TooManyWaiters);
            }
            return Ok((outcome.enter(), None));
        }
        if under_way.len() >= self.most_flights {
            return Err(NoOutcome::TooManyFlights);
        }
        let outcome =
            Arc::new(Outcome { value: OnceLock::new(), told: Notify::new(), waiters: AtomicUsize::new(0) });
        let waiter = outcome.enter();
        under_way.insert(Arc::clone(&key), Arc::clone(&outcome));
        drop(under_way);
        let landing = Landing { flights: Arc::clone(self), key, outcome, value: None };
        let exchange = lead();
        let exchange = Box::pin(async move {
            let mut landing = landing;
            landing.value = Some(exchange.await);
        });
        Ok((waiter, Some(Exchange(Some(exchange)))))
    }

    fn lock(&self) -> MutexGuard<'_, UnderWay<K, V>> {
        // A panic while the lock is held cannot leave the map half changed.
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a flight does, in the task of its leader; in one of its own when that one leaves before the end.
struct Exchange(Option<Pin<Box<dyn Future<Output = ()> + Send>>>);

impl Future for Exchange {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let Some(exchange) = &mut self.0 else { return Poll::Ready(()) };
        // A panic ends the exchange and not its leader, who is told of it like any other who waits.
        let polled = catch_unwind(AssertUnwindSafe(|| exchange.as_mut().poll(context)));
        if let Ok(Poll::Pending) = polled {
            return Poll::Pending;
        }
        self.0 = None;
        Poll::Ready(())
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        // Without a runtime everything ends.
        if let Some(exchange) = self.0.take()
            && let Ok(runtime) = Handle::try_current()
        {
            runtime.spawn(exchange);
        }
    }
}

/// Takes the flight off the map, and then tells its outcome: who comes now finds it in the cache. Also when its exchange panics: that
/// ends the wait of everyone.
struct Landing<K: Hash + Eq, V> {
    flights: Arc<Flights<K, V>>,
    key: Arc<K>,
    outcome: Arc<Outcome<V>>,
    value: Option<V>,
}

impl<K: Hash + Eq, V> Drop for Landing<K, V> {
    fn drop(&mut self) {
        let mut under_way = self.flights.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        under_way.remove(&*self.key);
        drop(under_way);
        self.outcome.tell(self.value.take());
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

    /// Starts `count` callers of the same key; each leader would count an exchange and take a second.
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
                flights.join(Arc::new(1), lead).await
            });
        }
        tasks
    }

    #[tokio::test(start_paused = true)]
    async fn two_hundred_callers_make_one_exchange_and_all_get_its_outcome() {
        let (flights, exchanges) = (Flights::new(10, 1000), Arc::default());
        let outcomes = callers(&flights, 200, &exchanges, Ok(5)).join_all().await;
        assert_eq!(exchanges.load(Ordering::Relaxed), 1);
        assert_eq!(outcomes.iter().filter(|outcome| **outcome == Ok((Ok(5), Role::Led))).count(), 1);
        assert_eq!(outcomes.iter().filter(|outcome| **outcome == Ok((Ok(5), Role::Joined))).count(), 199);
        assert_eq!(flights.count(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_reaches_everyone_once_and_together() {
        let (flights, exchanges) = (Flights::new(10, 1000), Arc::default());
        let start = Instant::now();
        let outcomes = callers(&flights, 200, &exchanges, Err("silent")).join_all().await;
        assert!(outcomes.iter().all(|outcome| matches!(outcome, Ok((Err("silent"), _)))));
        assert_eq!(exchanges.load(Ordering::Relaxed), 1);
        assert_eq!(start.elapsed(), Duration::from_secs(1), "not one after another");
    }

    #[tokio::test(start_paused = true)]
    async fn a_leader_that_leaves_does_not_cancel_the_exchange() {
        let (flights, exchanges) = (Flights::new(10, 1000), Arc::default());
        let mut leader = callers(&flights, 1, &exchanges, Ok(5));
        tokio::task::yield_now().await;
        let follower = callers(&flights, 1, &exchanges, Ok(6));
        tokio::task::yield_now().await;
        leader.abort_all();
        assert_eq!(follower.join_all().await, [Ok((Ok(5), Role::Joined))]);
        assert_eq!(exchanges.load(Ordering::Relaxed), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_panic_in_the_exchange_ends_the_wait_of_everyone_and_the_next_caller_leads() {
        let flights: Arc<Flights<u8, u32>> = Flights::new(10, 10);
        let outcome = flights.join(Arc::new(1), || async { panic!("a defect in the exchange") }).await;
        assert_eq!(outcome, Err(NoOutcome::Lost));
        assert_eq!(flights.join(Arc::new(1), || async { 2 }).await, Ok((2, Role::Led)));
    }

    #[tokio::test(start_paused = true)]
    async fn flights_and_waiters_are_bounded() {
        let (flights, exchanges) = (Flights::new(1, 3), Arc::default());
        let waiting = callers(&flights, 5, &exchanges, Ok(5));
        tokio::task::yield_now().await;
        assert_eq!(flights.join(Arc::new(2), || async { Ok(0) }).await, Err(NoOutcome::TooManyFlights));
        let outcomes = waiting.join_all().await;
        let refused = outcomes.iter().filter(|outcome| **outcome == Err(NoOutcome::TooManyWaiters));
        assert_eq!(refused.count(), 2);
        assert_eq!(flights.join(Arc::new(2), || async { Ok(0) }).await, Ok((Ok(0), Role::Led)));
    }
}
