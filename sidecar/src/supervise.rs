//! A panic must not take a pod's DNS away: it costs one query, and the loop that it ends is started again.

use crate::metrics::Metrics;

/// Logs and counts every panic of this process, in whatever task; tokio ends that task and goes on.
pub fn watch_panics(metrics: Metrics) {
    std::panic::set_hook(Box::new(move |panic| {
        metrics.panicked();
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let message = panic.payload_as_str().unwrap_or("no message");
        tracing::error!(place, message, "task panicked; the process continues. Please report this line");
    }));
}

/// Runs what `start` makes until it returns; when it panics, again. A loop that serves a socket loses the one
/// message that it panicked on, so it cannot panic on the same one for ever.
pub async fn supervised<F>(what: &'static str, start: impl Fn() -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    while tokio::spawn(start()).await.is_err() {
        tracing::error!(what, "restarted after a panic");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    #[tokio::test]
    async fn a_loop_that_panics_is_started_again() {
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
