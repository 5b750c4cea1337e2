//! System calls on sockets to servers, with buffers that the queries of a thread use in turn.

use std::cell::RefCell;
use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::os::fd::AsRawFd as _;

use nix::sys::socket::sockopt::{Ipv4RecvErr, Ipv6RecvErr};
use nix::sys::socket::{MsgFlags, MultiHeaders, SockaddrStorage, recvmmsg, recvmsg, setsockopt};
use podlocal_dns::wire::Message;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::Interest;
use tokio::net::UdpSocket;

/// Datagrams that are received with one system call.
pub const DATAGRAMS: usize = 8;

/// Large enough for the largest datagram, of 65,535 bytes: the sidecar asks for 1232, and also reads the
/// answer of a server that ignores that.
const DATAGRAM_ROOM: usize = 64 << 10;

thread_local! {
    static RECEIVER: RefCell<Receiver> = RefCell::new(Receiver {
        // The C library allocates a block of this size with mmap (mallopt(3), `M_MMAP_THRESHOLD`), so that
        // pages that no datagram has touched use no memory.
        bytes: vec![0; DATAGRAMS * DATAGRAM_ROOM].into_boxed_slice(),
        headers: MultiHeaders::preallocate(DATAGRAMS, None),
        lengths: [0; DATAGRAMS],
    });
}

/// The buffers into which the exchanges of this thread receive datagrams, one after another: none needs a
/// buffer of its own while it waits.
struct Receiver {
    bytes: Box<[u8]>,
    headers: MultiHeaders<()>,
    lengths: [usize; DATAGRAMS],
}

/// Receives up to [`DATAGRAMS`] datagrams, which `take` may change; returns their number.
pub fn receive(socket: &UdpSocket, mut take: impl FnMut(&mut [u8])) -> io::Result<usize> {
    RECEIVER.with_borrow_mut(|Receiver { bytes, headers, lengths }| {
        let mut buffers = bytes.chunks_exact_mut(DATAGRAM_ROOM);
        let mut slices: [_; DATAGRAMS] =
            std::array::from_fn(|_| [IoSliceMut::new(buffers.next().unwrap_or_default())]);
        let messages = recvmmsg(socket.as_raw_fd(), headers, &mut slices, MsgFlags::MSG_DONTWAIT, None)?;
        let mut count = 0;
        for (length, message) in lengths.iter_mut().zip(messages) {
            *length = message.bytes;
            count += 1;
        }
        for (buffer, length) in bytes.chunks_exact_mut(DATAGRAM_ROOM).zip(lengths).take(count) {
            take(buffer.get_mut(..*length).unwrap_or_default());
        }
        Ok(count)
    })
}

/// Calls that with a buffer for the message of a query.
pub fn with_message<T>(call: impl FnOnce(&mut Vec<u8>) -> T) -> T {
    thread_local! {
        static MESSAGE: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    }
    MESSAGE.with_borrow_mut(call)
}

/// A datagram or an error. "Connection refused" arrives as an error alone (epoll(7), EPOLLERR without
/// EPOLLIN), which a task that waits for readability would miss.
pub const READABLE_OR_ERROR: Interest = Interest::READABLE.add(Interest::ERROR);

/// A new socket on which the datagram was sent. A new socket has room for a datagram, so it is sent before the
/// runtime knows the socket: through the runtime it would have to wait for readiness.
///
/// connect(2) binds a socket without a port by the same function as bind(2) with port 0 (Linux,
/// `inet_autobind`), so the port is as random.
pub fn send_from_new_socket(server: SocketAddr, bytes: &[u8]) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(server), Type::DGRAM.nonblocking(), Some(Protocol::UDP))?;
    socket.connect(&server.into())?;
    socket.send(bytes)?;
    UdpSocket::from_std(socket.into())
}

/// Sends a datagram without waiting for writability: the runtime may not know yet that the socket is
/// writable.
pub fn send(socket: &UdpSocket, bytes: &[u8]) -> io::Result<()> {
    nix::sys::socket::send(socket.as_raw_fd(), bytes, MsgFlags::MSG_DONTWAIT)?;
    Ok(())
}

/// Tells the runtime that the socket has nothing to read, so that the next arrival wakes the task. tokio
/// clears one kind of readiness at a time.
pub fn forget_readiness(socket: &UdpSocket) {
    for interest in [Interest::READABLE, Interest::ERROR] {
        let _ = socket.try_io(interest, || Err::<(), _>(io::ErrorKind::WouldBlock.into()));
    }
}

/// Lets the kernel report which datagrams are not delivered (ip(7)).
pub fn enable_reports(socket: &UdpSocket) -> io::Result<()> {
    if socket.local_addr()?.is_ipv4() {
        setsockopt(socket, Ipv4RecvErr, &true)?;
    } else {
        setsockopt(socket, Ipv6RecvErr, &true)?;
    }
    Ok(())
}

/// How many bytes of an undelivered datagram are read: enough to know which query it was.
const QUOTED: usize = 512;

/// The id of the next query that was not delivered, from the socket's error queue (recvmsg(2),
/// `MSG_ERRQUEUE`); `None` when it is not known.
pub fn take_report(socket: &UdpSocket) -> io::Result<Option<u16>> {
    let mut quoted = [0; QUOTED];
    let mut slices = [IoSliceMut::new(&mut quoted)];
    let flags = MsgFlags::MSG_ERRQUEUE | MsgFlags::MSG_DONTWAIT;
    let length = recvmsg::<SockaddrStorage>(socket.as_raw_fd(), &mut slices, None, flags)?.bytes;
    Ok(quoted.get(..length).and_then(Message::new).map(Message::id))
}
