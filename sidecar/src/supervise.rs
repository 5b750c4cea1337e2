//! Panics must not stop the DNS of a pod: a panic costs one query, and the loop that it ends is restarted.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::metrics::Metrics;

/// Installs a hook that logs and counts every panic of the process. tokio ends only the task that panicked.
pub fn watch_panics(metrics: Metrics) {
    std::panic::set_hook(Box::new(move |panic| {
        metrics.panics.inc();
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let message = panic.payload_as_str().unwrap_or("no message");
        tracing::error!(place, message, "task panicked; the process continues. Please report this line");
    }));
}

/// Runs the future that `start` makes until it returns, and again after each panic. A loop that serves a
/// socket loses the message that caused the panic, so the same message cannot cause panics forever.
pub async fn supervised<F>(task: &'static str, start: impl Fn() -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    while tokio::spawn(start()).await.is_err() {
        tracing::error!(task, "task panicked; restarted");
    }
}

/// Locks a state that a panic under the lock cannot leave inconsistent: it is assigned at once, consists of
/// plain numbers, or loses a query or a connection at most.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    #[tokio::test]
    async fn a_loop_that_panics_is_restarted() {
        let starts = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&starts);
        let start = move || {
            let number = counted.fetch_add(1, Ordering::Relaxed);
            async move { assert!(number >= 2, "a defect") }
        };
        supervised("test", start).await;
        assert_eq!(starts.load(Ordering::Relaxed), 3);
    }
}
