//! Attempts in flight, polled together.

use std::io;
use std::pin::Pin;
use std::task::Poll;

use super::state::Sent;

/// The attempts in flight, in no order. They are few, so all are polled whenever one of them makes progress;
/// they live and end with the exchange, without tasks of their own.
#[derive(Default)]
pub struct Attempts<'a>(pub Vec<Attempt<'a>>);

/// One query to one server.
pub struct Attempt<'a> {
    /// The server, the transport, and the time.
    pub sent: Sent,
    /// Resolves to the response or an error.
    pub future: Pin<Box<dyn Future<Output = io::Result<Vec<u8>>> + Send + 'a>>,
}

impl Attempts<'_> {
    /// The next attempt that ends, and its outcome. Waits forever when there is none.
    pub async fn next(&mut self) -> (Sent, io::Result<Vec<u8>>) {
        std::future::poll_fn(|context| {
            for index in 0..self.0.len() {
                if let Some(attempt) = self.0.get_mut(index)
                    && let Poll::Ready(outcome) = attempt.future.as_mut().poll(context)
                {
                    return Poll::Ready((self.0.swap_remove(index).sent, outcome));
                }
            }
            Poll::Pending
        })
        .await
    }
}
