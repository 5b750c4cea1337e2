//! The only file that knows all parts: settings -> bound sockets -> a running proxy.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use podlocal_settings::Settings;
use podlocal_settings::names::PORT_SYSCTL;
use podlocal_settings::table::PREFETCH_NAMES;
use prometheus_client::registry::Registry;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, UdpSocket};
use tokio::time::{sleep, timeout};

use crate::admin::{self, Latch, Readiness};
use crate::limits;
use crate::metrics::{Gauges, Metrics, Snapshot};
use crate::resolver::Resolver;
use crate::server::{Service, tcp, udp};
use crate::shutdown::{self, Signals};
use crate::supervise::{supervised, watch_panics};
use crate::upstream::Servers;

/// A proxy whose sockets are bound: its addresses are known, nothing is answered yet.
#[derive(Debug)]
pub struct Bound {
    sockets: Vec<(UdpSocket, TcpListener)>,
    admin: TcpListener,
    service: Arc<Service<Servers>>,
    metrics: Metrics,
    registry: Registry,
    readiness: Readiness,
    starting: Latch,
    prefetch: Option<Prefetch>,
    signals: Signals,
}

/// The names to resolve before the pod is ready, and how long it waits for them at most.
#[derive(Debug)]
struct Prefetch {
    resolver: Arc<Resolver<Servers>>,
    names: Vec<String>,
    longest: Duration,
    missing: Latch,
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// After a signal, with every answer under way given, or the time for that over.
    Drained,
    /// A second signal came first.
    Cut,
}

/// Why the proxy cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address could not be listened on.
    #[error("cannot listen on {address} ({transport}): {source}{}", advice(source, *address))]
    Listen {
        /// The address.
        address: SocketAddr,
        /// UDP, TCP or the admin port.
        transport: &'static str,
        /// What the operating system said.
        source: io::Error,
    },
    /// Signals could not be listened for.
    #[error("cannot listen for signals: {0}")]
    Signals(io::Error),
    /// The kernel gave no random bytes.
    #[error("no random numbers: {0}")]
    Random(io::Error),
    /// None of the addresses exists in this pod.
    #[error("none of the addresses to listen on exists here")]
    NoAddress,
}

impl Bound {
    /// Binds every socket. `upstream` must not be empty.
    pub fn bind(settings: &Settings, upstream: Vec<SocketAddr>) -> Result<Self, StartError> {
        let signals = Signals::new().map_err(StartError::Signals)?;
        let mut sockets = Vec::new();
        for address in &settings.listen {
            match bind(*address) {
                Ok(pair) => sockets.push(pair),
                Err(error) if is_missing_ipv6(*address, &error) => {
                    tracing::info!(%address, "this pod has no IPv6");
                }
                Err(error) => return Err(error),
            }
        }
        if sockets.is_empty() {
            return Err(StartError::NoAddress);
        }
        let admin = bind_admin(settings.admin_port)?;
        let (metrics, mut registry) = Metrics::new();
        let servers = Servers::start(upstream, &settings.zone, settings.upstream_transport, &metrics)
            .map_err(StartError::Random)?;
        registry.register_collector(Box::new(Snapshot(Arc::new(servers.clone()))));
        let resolver = Resolver::new(settings, servers, metrics.clone());
        registry.register_collector(Box::new(Snapshot(Arc::clone(&resolver) as Arc<dyn Gauges>)));
        let readiness = Readiness::default();
        let starting = readiness.latch("listeners");
        let prefetch = (!settings.prefetch_names.is_empty()).then(|| Prefetch {
            resolver: Arc::clone(&resolver),
            names: settings.prefetch_names.clone(),
            longest: settings.ready_timeout,
            missing: readiness.latch(PREFETCH_NAMES.name),
        });
        let service = Service::new(resolver, metrics.clone(), settings.query_log);
        Ok(Self { sockets, admin, service, metrics, registry, readiness, starting, prefetch, signals })
    }

    /// The addresses that DNS is served on, and the admin port.
    pub fn addresses(&self) -> (Vec<SocketAddr>, Option<u16>) {
        let dns = self.sockets.iter().filter_map(|(socket, _)| socket.local_addr().ok()).collect();
        (dns, self.admin.local_addr().ok().map(|address| address.port()))
    }

    /// Serves until a signal, then drains: no new queries, answers under way are given.
    pub async fn run(self) -> Ended {
        let Self { sockets, admin, service, metrics, registry, readiness, starting, prefetch, mut signals } =
            self;
        watch_panics(metrics.clone());
        let (drainer, drain) = shutdown::drain();
        for (socket, listener) in sockets {
            let (socket, listener) = (Arc::new(socket), Arc::new(listener));
            let (by_udp, by_tcp) =
                ((Arc::clone(&service), drain.clone()), (Arc::clone(&service), drain.clone()));
            let udp = move || udp::serve(Arc::clone(&socket), Arc::clone(&by_udp.0), by_udp.1.clone());
            let tcp = move || tcp::serve(Arc::clone(&listener), Arc::clone(&by_tcp.0), by_tcp.1.clone());
            tokio::spawn(supervised("udp", udp));
            tokio::spawn(supervised("tcp", tcp));
        }
        let admin = tokio::spawn(admin::serve(admin, registry, readiness.clone(), metrics));
        drop((starting, drain));
        if let Some(prefetch) = prefetch {
            prefetch.start();
        }
        let signal = signals.next().await;
        tracing::info!(signal, "draining");
        let _draining = readiness.latch("draining");
        let ended = tokio::select! {
            drained = timeout(limits::DRAIN, drainer.drain()) => {
                if drained.is_err() {
                    tracing::warn!("some answers were still under way when the time to drain was over");
                }
                Ended::Drained
            }
            signal = signals.next() => {
                tracing::warn!(signal, "the drain was cut by a second signal");
                Ended::Cut
            }
        };
        admin.abort();
        ended
    }
}

impl Prefetch {
    /// In the background. The proxy is ready when every name has been answered, and after the longest time in any
    /// case: a DNS outage must not become a start-up outage.
    fn start(self) {
        let Self { resolver, names, longest, missing } = self;
        let missing = Arc::new(Mutex::new(Some(missing)));
        let release = {
            let missing = Arc::clone(&missing);
            move || missing.lock().unwrap_or_else(PoisonError::into_inner).take()
        };
        let late = release.clone();
        tokio::spawn(resolver.prefetch(names, move || drop(release())));
        tokio::spawn(async move {
            sleep(longest).await;
            if late().is_some() {
                tracing::warn!(?longest, "not every name to prefetch was resolved in time; going on without");
            }
        });
    }
}

/// UDP and TCP on the same port, also when that is any free one.
fn bind(address: SocketAddr) -> Result<(UdpSocket, TcpListener), StartError> {
    let error = |transport| move |source| StartError::Listen { address, transport, source };
    let mut tries = if address.port() == 0 { 16 } else { 1 };
    loop {
        tries -= 1;
        let udp = bind_udp(address).map_err(error("UDP"))?;
        let same = udp.local_addr().map_err(error("UDP"))?;
        match bind_tcp(same) {
            Ok(tcp) => return Ok((udp, tcp)),
            // Another program holds the TCP port of the same number: try the next free one.
            Err(_) if tries > 0 => {}
            Err(source) => return Err(error("TCP")(source)),
        }
    }
}

fn bind_udp(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = socket(address, Type::DGRAM, Protocol::UDP)?;
    socket.bind(&address.into())?;
    UdpSocket::from_std(socket.into())
}

fn bind_tcp(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = socket(address, Type::STREAM, Protocol::TCP)?;
    // As tokio does: a connection of the process before us that lingers does not keep us from starting.
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(limits::TCP_BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// Of one family alone, so that `0.0.0.0` and `[::]` can stand beside each other.
fn socket(address: SocketAddr, kind: Type, protocol: Protocol) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), kind, Some(protocol))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// On every address of the pod, IPv4 and IPv6: the kubelet and Prometheus come from outside.
fn bind_admin(port: u16) -> Result<TcpListener, StartError> {
    let everywhere = |ip: IpAddr| {
        let address = SocketAddr::new(ip, port);
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        if address.is_ipv6() {
            socket.set_only_v6(false)?;
        }
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(64)?;
        TcpListener::from_std(socket.into())
    };
    let listener =
        everywhere(Ipv6Addr::UNSPECIFIED.into()).or_else(|_| everywhere(Ipv4Addr::UNSPECIFIED.into()));
    let address = SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
    listener.map_err(|source| StartError::Listen { address, transport: "admin port", source })
}

/// Whether the pod simply has no IPv6: switched off, or not compiled in.
fn is_missing_ipv6(address: SocketAddr, error: &StartError) -> bool {
    let StartError::Listen { source, .. } = error else { return false };
    let is_default = [Ipv6Addr::LOCALHOST, Ipv6Addr::UNSPECIFIED].map(IpAddr::V6).contains(&address.ip());
    is_default
        && (source.kind() == io::ErrorKind::AddrNotAvailable || source.raw_os_error() == Some(EAFNOSUPPORT))
}

/// "Address family not supported by protocol", which std has no name for.
const EAFNOSUPPORT: i32 = 97;

fn advice(source: &io::Error, address: SocketAddr) -> String {
    match source.kind() {
        io::ErrorKind::PermissionDenied => format!(
            "; the pod's sysctl {PORT_SYSCTL} must be at most {}, or choose a port above 1023",
            address.port()
        ),
        io::ErrorKind::AddrInUse => "; another program listens there already".to_owned(),
        _ => String::new(),
    }
}
