//! Signals, and the drain that the first signal starts.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

/// SIGTERM and SIGINT, in the order in which they arrive. As process 1 of a container, the program only gets
/// signals for which it has installed a handler.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Installs the handlers; an error of sigaction(2).
    pub fn new() -> io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Waits for the next signal and returns its name.
    pub async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

/// Starts the drain and waits for its end.
#[derive(Debug)]
pub struct Drainer(watch::Sender<bool>);

/// A handle that everything holds for which the drain must wait; the holder can wait for the start of the
/// drain.
#[derive(Debug, Clone)]
pub struct Drain(watch::Receiver<bool>);

/// Makes a drain that has not started.
pub fn drain() -> (Drainer, Drain) {
    let (begin, begun) = watch::channel(false);
    (Drainer(begin), Drain(begun))
}

impl Drainer {
    /// Starts the drain; returns when the last [`Drain`] is dropped.
    pub async fn drain(self) {
        let _ = self.0.send(true); // fails if no Drain is left
        self.0.closed().await;
    }
}

impl Drain {
    /// Returns when the drain begins.
    pub async fn begun(&mut self) {
        let _ = self.0.wait_for(|begun| *begun).await; // fails if the drainer is dropped: then the process ends
    }
}
