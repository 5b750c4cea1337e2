//! Binds the sockets before the proxy serves: its addresses are known early, and a taken address is reported
//! immediately.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};
use std::time::Duration;

use podlocal_settings::names::PORT_SYSCTL;
use podlocal_settings::table;
use socket2::{Domain, Protocol, Socket, Type};

use crate::limits;

/// The value of [`Error::transport`] for the admin port.
const ADMIN: &str = "admin port";

/// UDP and TCP on one address.
#[derive(Debug)]
pub struct Pair {
    /// The UDP socket.
    pub udp: UdpSocket,
    /// The TCP listener.
    pub tcp: TcpListener,
}

/// Binding an address failed.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address} ({transport}): {source}{}", advice(source, *address, transport))]
pub struct Error {
    /// The address.
    pub address: SocketAddr,
    /// UDP, TCP or the admin port.
    pub transport: &'static str,
    /// The error of the operating system.
    pub source: io::Error,
}

/// Binds the sockets of every worker: a pair for each address, the same addresses for all. IPv6 addresses are
/// left out in a pod without IPv6.
///
/// With several workers the kernel distributes clients over their sockets by a hash of both addresses and
/// ports (SO_REUSEPORT, socket(7)). A single worker does not set it: no other program may bind the same port.
pub fn bind(addresses: &[SocketAddr], workers: usize) -> Result<Vec<Vec<Pair>>, Error> {
    let mut of_workers: Vec<Vec<Pair>> = std::iter::repeat_with(Vec::new).take(workers).collect();
    for address in addresses {
        let mut address = *address;
        for pairs in &mut of_workers {
            match bind_pair(address, workers > 1) {
                Ok(pair) => {
                    // If the port was 0, the other workers bind the port that the first one got.
                    address = pair.udp.local_addr().unwrap_or(address);
                    pairs.push(pair);
                }
                Err(error) if is_missing_ipv6(&error) => break,
                Err(error) => return Err(error),
            }
        }
    }
    Ok(of_workers)
}

/// Binds the admin port on every address of the pod, IPv4 and IPv6: the kubelet and Prometheus connect from
/// outside.
pub fn bind_admin(port: u16) -> Result<TcpListener, Error> {
    let everywhere = |ip: IpAddr, of_both_families: bool| {
        let address = SocketAddr::new(ip, port);
        let socket = socket(address, Type::STREAM, Protocol::TCP)?;
        if of_both_families {
            socket.set_only_v6(false)?;
        }
        listen(socket, address, limits::ADMIN_BACKLOG)
    };
    let listener = everywhere(Ipv6Addr::UNSPECIFIED.into(), true)
        .or_else(|_| everywhere(Ipv4Addr::UNSPECIFIED.into(), false));
    let address = SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
    listener.map_err(|source| Error { address, transport: ADMIN, source })
}

/// Binds UDP and TCP on the same port, also if that is any free one.
fn bind_pair(address: SocketAddr, is_shared: bool) -> Result<Pair, Error> {
    let error = |transport| move |source| Error { address, transport, source };
    let mut tries = if address.port() == 0 { 16 } else { 1 };
    loop {
        tries -= 1;
        let udp = bind_udp(address, is_shared).map_err(error("UDP"))?;
        let same = udp.local_addr().map_err(error("UDP"))?;
        match bind_tcp(same, is_shared) {
            Ok(tcp) => return Ok(Pair { udp, tcp }),
            // Another program holds the TCP port of the same number: try the next free one.
            Err(_) if tries > 0 => {}
            Err(source) => return Err(error("TCP")(source)),
        }
    }
}

fn bind_udp(address: SocketAddr, is_shared: bool) -> io::Result<UdpSocket> {
    let socket = socket(address, Type::DGRAM, Protocol::UDP)?;
    socket.set_reuse_port(is_shared)?;
    // The kernel may grant less.
    let _ = socket.set_recv_buffer_size(limits::UDP_RECEIVE_BUFFER);
    socket.bind(&address.into())?;
    Ok(socket.into())
}

fn bind_tcp(address: SocketAddr, is_shared: bool) -> io::Result<TcpListener> {
    let socket = socket(address, Type::STREAM, Protocol::TCP)?;
    socket.set_reuse_port(is_shared)?;
    listen(socket, address, limits::TCP_BACKLOG)
}

fn listen(socket: Socket, address: SocketAddr, backlog: i32) -> io::Result<TcpListener> {
    // Connections inherit these; the kernel may grant less.
    let _ = socket.set_recv_buffer_size(limits::TCP_SOCKET_BUFFER);
    let _ = socket.set_send_buffer_size(limits::TCP_SOCKET_BUFFER);
    // When a connection is closed, data that the client has not read is dropped; the kernel would keep it for
    // minutes.
    socket.set_linger(Some(Duration::ZERO))?;
    // Lingering connections of the previous process must not prevent a start.
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(backlog)?;
    Ok(socket.into())
}

/// A socket of one address family, so that `0.0.0.0` and `[::]` can both be bound.
fn socket(address: SocketAddr, kind: Type, protocol: Protocol) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), kind, Some(protocol))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// Whether the pod has no IPv6: disabled, or not compiled in.
fn is_missing_ipv6(Error { address, source, .. }: &Error) -> bool {
    let is_default = [Ipv6Addr::LOCALHOST, Ipv6Addr::UNSPECIFIED].map(IpAddr::V6).contains(&address.ip());
    is_default
        && (source.kind() == io::ErrorKind::AddrNotAvailable || source.raw_os_error() == Some(EAFNOSUPPORT))
}

/// "Address family not supported by protocol", which std has no name for.
const EAFNOSUPPORT: i32 = 97;

fn advice(source: &io::Error, address: SocketAddr, transport: &str) -> String {
    let setting = if transport == ADMIN { &table::ADMIN_PORT } else { &table::LISTEN };
    match source.kind() {
        io::ErrorKind::PermissionDenied => format!(
            "; the pod's sysctl {PORT_SYSCTL} must be at most {}, or choose a port above 1023",
            address.port()
        ),
        io::ErrorKind::AddrInUse => {
            format!(
                "; another program listens there already: end it, or choose another with {}",
                setting.flag()
            )
        }
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_worker_binds_its_own_sockets_on_the_same_port() {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let workers = bind(&[any, any], 3).expect("binds");
        let ports = |pairs: &Vec<Pair>| {
            let port = |pair: &Pair| pair.udp.local_addr().expect("an address").port();
            pairs.iter().map(port).collect::<Vec<_>>()
        };
        let of_first = ports(&workers[0]);
        assert!(of_first[0] != of_first[1] && workers.iter().all(|pairs| ports(pairs) == of_first));
    }

    #[test]
    fn one_worker_shares_its_port_with_no_other_program() {
        let workers = bind(&[SocketAddr::from(([127, 0, 0, 1], 0))], 1).expect("binds");
        let taken = workers[0][0].udp.local_addr().expect("an address");
        for workers in [1, 2] {
            let error = bind(&[taken], workers).expect_err("taken");
            assert!(error.to_string().contains("another program listens there already"), "{error}");
            assert!(error.to_string().ends_with(&table::LISTEN.flag()), "{error}");
        }
    }

    #[test]
    fn a_taken_admin_port_is_reported_with_its_flag() {
        let taken = bind_admin(0).expect("binds");
        let error = bind_admin(taken.local_addr().expect("an address").port()).expect_err("taken");
        assert!(error.to_string().ends_with(&table::ADMIN_PORT.flag()), "{error}");
    }
}
