//! A panic must not take a pod's DNS away: the loop that it ends is started again.

use crate::metrics::Metrics;

/// Runs what `start` makes until it returns; when it panics, again. A loop that serves a socket loses the one
/// message that it panicked on, so it cannot panic on the same one for ever.
pub async fn supervised<F>(what: &'static str, metrics: Metrics, start: impl Fn() -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    while let Err(error) = tokio::spawn(start()).await {
        metrics.panicked();
        tracing::error!(what, %error, "a panic; going on. Please report it with the lines above");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    #[tokio::test]
    async fn a_loop_that_panics_is_started_again_and_counted() {
        let (metrics, registry) = Metrics::new();
        let starts = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&starts);
        let start = move || {
            let number = counted.fetch_add(1, Ordering::Relaxed);
            async move { assert!(number >= 2, "a defect") }
        };
        supervised("test", metrics, start).await;
        assert_eq!(starts.load(Ordering::Relaxed), 3);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).expect("encodes");
        assert!(text.contains("podlocal_dns_panics_total 2"), "{text}");
    }
}
