//! The listener and the streams for axum-server, with the limits of [`Connections`].

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::extract::connect_info::Connected;
use axum_server::{AddrListener, Address};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};

use super::{ConnectionSlot, Connections, source};

/// Accepts connections up to the limit.
#[derive(Debug)]
pub struct Listener {
    listener: TcpListener,
    connections: Arc<Connections>,
}

/// A connection that fails once it is evicted.
#[derive(Debug)]
pub struct Stream {
    stream: TcpStream,
    slot: Arc<ConnectionSlot>,
}

/// The client of a connection.
#[derive(Debug, Clone)]
pub struct Peer {
    pub(crate) address: SocketAddr,
    /// The entry of the connection in the table.
    pub(crate) slot: Arc<ConnectionSlot>,
}

impl Listener {
    pub(crate) fn new(listener: TcpListener, connections: Arc<Connections>) -> Self {
        Self { listener, connections }
    }
}

impl AddrListener<Stream, Peer> for Listener {
    async fn bind_to(_: Peer) -> io::Result<Self> {
        Err(io::ErrorKind::Unsupported.into())
    }

    async fn accept_stream(&self) -> io::Result<(Stream, Peer)> {
        let (stream, address) = self.listener.accept().await?;
        let slot = Arc::new(self.connections.admit(source(address)).await);
        Ok((Stream { stream, slot: slot.clone() }, Peer { address, slot }))
    }

    /// Unused: the address is logged when it is bound.
    fn get_local_addr(&self) -> io::Result<Peer> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

impl Address for Peer {
    type Stream = Stream;
    type Listener = Listener;
}

impl Connected<Self> for Peer {
    fn connect_info(peer: Self) -> Self {
        peer
    }
}

impl Stream {
    fn check(&self, context: &Context<'_>) -> io::Result<()> {
        if self.slot.close_signal().is_closed(context) {
            Err(io::ErrorKind::ConnectionAborted.into())
        } else {
            Ok(())
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check(context)?;
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.check(context)?;
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check(context)?;
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.check(context)?;
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
