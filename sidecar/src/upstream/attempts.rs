//! Questions under way to servers, listened to together.

use std::io;
use std::pin::Pin;
use std::task::Poll;

use tokio::time::Instant;

use podlocal_dns::upstream::Step;

/// The attempts under way. They are few, so each is looked at whenever one of them moves; they live and end
/// with the exchange, without tasks of their own.
#[derive(Default)]
pub struct Attempts<'a>(
    /// In no order.
    pub Vec<Attempt<'a>>,
);

/// One server, asked in one way.
pub struct Attempt<'a> {
    /// Whom, and how.
    pub step: Step,
    /// Since when.
    pub asked_at: Instant,
    /// Its response, or why there is none.
    pub future: Pin<Box<dyn Future<Output = io::Result<Vec<u8>>> + Send + 'a>>,
}

impl<'a> Attempts<'a> {
    /// None yet, with room for the one that is mostly enough.
    pub fn for_one() -> Self {
        Self(Vec::with_capacity(1))
    }

    /// The next one that ends, and how. Waits for ever when there is none.
    pub async fn next(&mut self) -> (Attempt<'a>, io::Result<Vec<u8>>) {
        std::future::poll_fn(|context| {
            for index in 0..self.0.len() {
                if let Some(attempt) = self.0.get_mut(index)
                    && let Poll::Ready(outcome) = attempt.future.as_mut().poll(context)
                {
                    return Poll::Ready((self.0.swap_remove(index), outcome));
                }
            }
            Poll::Pending
        })
        .await
    }
}
