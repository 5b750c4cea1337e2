//! The listener for axum-server, with the limits of [`Connections`].

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd as _;
use std::sync::Arc;

use axum::extract::connect_info::Connected;
use axum_server::{AddrListener, Address};
use tokio::net::{TcpListener, TcpStream};

use super::{ConnectionSlot, Connections, source};

/// Accepts connections up to the limit.
#[derive(Debug)]
pub(crate) struct Listener {
    listener: TcpListener,
    connections: Arc<Connections>,
}

/// The client of a connection; the service of the connection keeps it until the connection ends.
#[derive(Debug, Clone)]
pub(crate) struct Peer {
    pub(crate) address: SocketAddr,
    /// The entry of the connection in the table.
    pub(crate) slot: Arc<ConnectionSlot>,
}

impl Listener {
    pub(crate) fn new(listener: TcpListener, connections: Arc<Connections>) -> Self {
        Self { listener, connections }
    }
}

impl AddrListener<TcpStream, Peer> for Listener {
    async fn bind_to(_: Peer) -> io::Result<Self> {
        Err(io::ErrorKind::Unsupported.into())
    }

    async fn accept_stream(&self) -> io::Result<(TcpStream, Peer)> {
        let (stream, address) = self.listener.accept().await?;
        let socket = stream.as_fd().try_clone_to_owned()?.into();
        let slot = Arc::new(self.connections.admit(source(address), Some(socket)).await);
        Ok((stream, Peer { address, slot }))
    }

    /// Unused: the address is logged when it is bound.
    fn get_local_addr(&self) -> io::Result<Peer> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

impl Address for Peer {
    type Stream = TcpStream;
    type Listener = Listener;
}

impl Connected<Self> for Peer {
    fn connect_info(peer: Self) -> Self {
        peer
    }
}
