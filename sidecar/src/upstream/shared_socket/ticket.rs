//! What a task has in place of a socket of its own.

use std::io;
use std::sync::Arc;

use podlocal_dns::upstream::Transport;

use super::SharedSocket;
use crate::upstream::outgoing::{Arrival, Link};
use crate::upstream::socket;

/// A query in flight whose datagrams a task receives. When it is dropped, no task waits for its answer any
/// more.
#[derive(Debug)]
pub struct Ticket {
    shared: Arc<SharedSocket>,
    index: usize,
    is_answered: bool,
}

impl Ticket {
    pub(super) fn new(shared: Arc<SharedSocket>, index: usize) -> Self {
        Self { shared, index, is_answered: false }
    }

    /// Notes that the query has been answered, and lets other queries share the socket, unless an attacker
    /// may know its port.
    pub fn mark_answered(&mut self, is_port_known: bool) {
        self.is_answered = true;
        if !is_port_known {
            self.shared.share();
        }
    }
}

/// The socket has a random port (RFC 5452 section 9.2), and is connected, so the kernel drops datagrams from
/// other addresses and reports when no server listens.
impl Link for Ticket {
    const TRANSPORT: Transport = Transport::Udp;

    async fn send(&mut self, message: &[u8]) -> io::Result<()> {
        socket::send(&self.shared.socket, message)
    }

    async fn receive(&mut self) -> io::Result<Arrival> {
        std::future::poll_fn(|context| self.shared.lock().poll(self.index, context)).await
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let Self { index, is_answered, .. } = *self;
        self.shared.change(|queries| queries.remove(index, is_answered));
    }
}
