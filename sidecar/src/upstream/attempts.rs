//! Attempts in flight, polled together.

use std::io;
use std::pin::Pin;
use std::task::Poll;

use tokio::time::Instant;

use podlocal_dns::upstream::Target;

/// The attempts in flight. They are few, so all are polled whenever one of them makes progress; they live and
/// end with the exchange, without tasks of their own.
#[derive(Default)]
pub struct Attempts<'a>(
    /// In no order.
    pub Vec<Attempt<'a>>,
);

/// One query to one server.
pub struct Attempt<'a> {
    /// The server and the transport.
    pub target: Target,
    /// When it was sent.
    pub sent_at: Instant,
    /// Resolves to the response or an error.
    pub future: Pin<Box<dyn Future<Output = io::Result<Vec<u8>>> + Send + 'a>>,
}

impl<'a> From<Option<Attempt<'a>>> for Attempts<'a> {
    /// One attempt or none, with room for one, which is mostly enough.
    fn from(attempt: Option<Attempt<'a>>) -> Self {
        let mut attempts = Vec::with_capacity(1);
        attempts.extend(attempt);
        Self(attempts)
    }
}

impl<'a> Attempts<'a> {
    /// The next attempt that ends, and its outcome. Waits forever when there is none.
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
