//! Signals, and the drain that the first of them begins.

use std::convert::Infallible;
use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, watch};

/// SIGTERM and SIGINT, in the order in which they come. As process 1 of a container we get only the signals
/// that we ask for.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Begins to listen.
    pub fn new() -> io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// The next signal's name.
    pub async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

/// Begins the drain and waits for its end.
#[derive(Debug)]
pub struct Drainer {
    begun: watch::Sender<bool>,
    done: mpsc::Receiver<Infallible>,
}

/// Held by everything that the drain must wait for; tells it when the drain begins.
#[derive(Debug, Clone)]
pub struct Drain {
    begun: watch::Receiver<bool>,
    _held: mpsc::Sender<Infallible>,
}

/// A drain that has not begun.
pub fn drain() -> (Drainer, Drain) {
    let (begin, begun) = watch::channel(false);
    let (held, done) = mpsc::channel(1);
    (Drainer { begun: begin, done }, Drain { begun, _held: held })
}

impl Drainer {
    /// Begins the drain; returns when the last [`Drain`] is dropped.
    pub async fn drain(mut self) {
        let _ = self.begun.send(true); // fails when nobody is left to be told
        while self.done.recv().await.is_some() {}
    }
}

impl Drain {
    /// Returns when the drain begins.
    pub async fn begun(&mut self) {
        let _ = self.begun.wait_for(|begun| *begun).await; // fails when the drainer is gone: then we end, too
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use tokio::time::{Instant, sleep};

    #[tokio::test(start_paused = true)]
    async fn the_drain_waits_for_everyone_who_holds_it() {
        let (drainer, mut drain) = drain();
        let held = drain.clone();
        tokio::spawn(async move {
            drain.begun().await;
            sleep(Duration::from_secs(2)).await;
            drop(drain);
        });
        let start = Instant::now();
        drop(held);
        drainer.drain().await;
        assert_eq!(start.elapsed(), Duration::from_secs(2));
    }
}
