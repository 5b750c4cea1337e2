//! Tasks in virtual time: when all of them wait, the clock goes to the next timer.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::mem::replace;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Instant;

use futures_util::future::{FutureExt as _, LocalBoxFuture};
use futures_util::stream::{FuturesUnordered, StreamExt as _};

/// The clock, and the tasks that sleep until it shows a time.
pub(super) struct Time {
    now: Cell<Instant>,
    /// Timers for the same time fire in the order of their numbers.
    timers: RefCell<BTreeMap<(Instant, u64), Waker>>,
    last_timer: Cell<u64>,
    spawned: RefCell<Vec<LocalBoxFuture<'static, ()>>>,
}

impl Time {
    /// The time begins at an arbitrary instant.
    pub(super) fn new() -> Self {
        Self {
            now: Cell::new(Instant::now()),
            timers: RefCell::default(),
            last_timer: Cell::new(0),
            spawned: RefCell::default(),
        }
    }

    pub(super) fn now(&self) -> Instant {
        self.now.get()
    }

    /// Waits for a time; returns immediately when it has passed.
    pub(super) async fn sleep_until(&self, at: Instant) {
        let mut is_set = false;
        poll_fn(|context| {
            if self.now() >= at {
                return Poll::Ready(());
            }
            if !replace(&mut is_set, true) {
                let number = self.last_timer.get() + 1;
                self.last_timer.set(number);
                self.timers.borrow_mut().insert((at, number), context.waker().clone());
            }
            Poll::Pending
        })
        .await;
    }

    /// Adds a task, which also runs when nobody waits for it.
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        self.spawned.borrow_mut().push(task.boxed_local());
    }

    /// Runs the tasks until `is_over`, or until none of them can continue.
    pub(super) fn run_until(&self, is_over: impl Fn() -> bool) {
        let (mut tasks, woken) = (FuturesUnordered::new(), Arc::new(Woken(AtomicBool::new(true))));
        let waker = Waker::from(Arc::clone(&woken));
        while !is_over() {
            tasks.extend(self.spawned.take());
            woken.0.store(false, Ordering::Relaxed);
            let has_ended =
                matches!(tasks.poll_next_unpin(&mut Context::from_waker(&waker)), Poll::Ready(Some(())));
            if has_ended || woken.0.load(Ordering::Relaxed) || !self.spawned.borrow().is_empty() {
                continue;
            }
            let timer = self.timers.borrow_mut().pop_first();
            let Some(((at, _), waker)) = timer else { return };
            self.now.set(at);
            waker.wake();
        }
        // They may own what owns this.
        self.spawned.take();
    }
}

/// Whether a task can continue.
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}
