//! The only file that knows all parts: it turns settings into bound sockets, and those into a running proxy.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use podlocal_settings::Settings;
use podlocal_settings::table::PREFETCH_NAMES;
use podlocal_telemetry::{Latch, Readiness};
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio::time::{Instant, sleep, timeout};

use crate::admin;
use crate::admin::introspection::Introspection;
use crate::limits;
use crate::listen::{self, Pair};
use crate::metrics::process::Process;
use crate::metrics::{Gauges, Metrics, Snapshot};
use crate::parent;
use crate::resolver::Resolver;
use crate::server::Service;
use crate::shutdown::{self, Signals};
use crate::supervise::watch_panics;
use crate::upstream::{Servers, forward};
use crate::worker::{self, Others};

/// How serving ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// After a signal: all answers in flight were sent, or the time to drain was over.
    Drained,
    /// A second signal interrupted the drain.
    Interrupted,
}

/// Why the proxy cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Binding an address failed.
    #[error(transparent)]
    Listen(#[from] listen::Error),
    /// Anything else that the operating system refused.
    #[error("{failure}: {source}")]
    System {
        /// The failed act, in words.
        failure: &'static str,
        /// The error of the operating system.
        source: io::Error,
    },
    /// The pod has none of the addresses.
    #[error("none of the addresses to listen on exists here")]
    NoAddress,
}

/// Makes an error of the operating system a [`StartError`].
fn failed(failure: &'static str) -> impl Fn(io::Error) -> StartError {
    move |source| StartError::System { failure, source }
}

/// Serves until a signal and through the lame-duck time, then drains: it reads no new queries and sends the
/// answers that are in flight. Binds every socket first, those for DNS only where `inherited` has none.
/// `upstream` must not be empty.
pub async fn serve(
    settings: &Settings,
    upstream: &[SocketAddr],
    inherited: Vec<Vec<Pair>>,
) -> Result<Ended, StartError> {
    let mut signals = Signals::new().map_err(failed("cannot listen for signals"))?;
    let (sockets, dns) = bind(settings, inherited)?;
    let admin = listen::bind_admin(settings.admin_port)?;
    let admin = TcpListener::from_std(admin).map_err(failed("cannot serve"))?;
    let (workers, settings) = (sockets.len(), &Settings { listen: dns, ..settings.clone() });
    let (metrics, mut registry) = Metrics::new();
    let service =
        start(settings, upstream, workers, &metrics, &mut registry).map_err(failed("no random numbers"))?;
    log_start(settings, upstream, admin.local_addr().map_or(0, |address| address.port()), workers);
    watch_panics(metrics.clone());
    worker::raise_descriptors();

    let readiness = Readiness::default();
    let starting = readiness.latch("listeners");
    let (drainer, drain) = shutdown::drain();
    let mut sockets = sockets.into_iter();
    let ours = sockets.next().unwrap_or_default();
    worker::serve(ours, &service, &drain).map_err(failed("cannot serve"))?;
    let others = Others::start(sockets.collect(), &service, &drain).map_err(failed("cannot serve"))?;
    if !settings.prefetch_names.is_empty() {
        prefetch(service.resolver(), settings, readiness.latch(PREFETCH_NAMES.name));
    }
    let introspection = Introspection::new(service, metrics.clone(), settings.clone(), workers);
    let admin = tokio::spawn(admin::serve(admin, registry, readiness.clone(), metrics, introspection));
    drop((starting, drain));

    let signal = signals.next().await;
    // Not ready from now on. Queries still arrive until all clients have noticed.
    let _draining = readiness.latch("draining");
    tracing::info!(signal, lame_duck = ?settings.lame_duck, "draining");
    let drained = async {
        sleep(settings.lame_duck).await;
        if timeout(limits::DRAIN, drainer.drain()).await.is_err() {
            tracing::warn!("drain timed out with answers still in flight");
        }
        Ended::Drained
    };
    let ended = tokio::select! {
        ended = drained => ended,
        signal = signals.next() => {
            tracing::warn!(signal, "a second signal interrupted the drain");
            Ended::Interrupted
        }
    };
    admin.abort();
    others.stop();
    Ok(ended)
}

/// The sockets for DNS of every worker, and their addresses.
fn bind(
    settings: &Settings,
    inherited: Vec<Vec<Pair>>,
) -> Result<(Vec<Vec<Pair>>, Vec<SocketAddr>), StartError> {
    let sockets = if inherited.is_empty() {
        listen::bind(&settings.listen, worker::count(settings.workers))?
    } else {
        inherited
    };
    // Every worker has the same addresses.
    let of_first = sockets.first().into_iter().flatten();
    let bound: Vec<_> = of_first.filter_map(|pair| pair.udp.local_addr().ok()).collect();
    if bound.is_empty() {
        return Err(StartError::NoAddress);
    }
    for address in settings.listen.iter().filter(|wanted| bound.iter().all(|bound| bound.ip() != wanted.ip()))
    {
        tracing::info!(%address, "not served: this pod has no IPv6");
    }
    Ok((sockets, bound))
}

/// Makes the resolver and the service in front of it, and registers all metrics.
fn start(
    settings: &Settings,
    upstream: &[SocketAddr],
    workers: usize,
    metrics: &Metrics,
    registry: &mut Registry,
) -> io::Result<Arc<Service<Servers>>> {
    let servers = Servers::start(upstream, settings, metrics)?;
    Metrics::register_build(registry, settings.role);
    let of_servers = Arc::new(servers.clone());
    let forward = forward::start(settings, metrics, registry)?;
    let resolver = Resolver::with_zones(settings, workers, servers, forward, metrics.clone());
    let service = Service::new(settings, resolver, metrics.clone(), Instant::now().into_std());
    let gauges: [Arc<dyn Gauges>; 2] = [of_servers, Arc::clone(&service) as _];
    for gauges in gauges {
        registry.register_collector(Box::new(Snapshot(gauges)));
    }
    let ports = settings.listen.iter().map(SocketAddr::port).collect();
    registry.register_collector(Box::new(Process::new(ports, parent::restarts().unwrap_or_default())));
    Ok(service)
}

fn log_start(settings: &Settings, upstream: &[SocketAddr], admin_port: u16, workers: usize) {
    let Settings { listen, shared_tier, forward_zones, .. } = settings;
    for forward in forward_zones {
        tracing::info!(zone = forward.zone.as_str(), servers = ?forward.servers, "forward zone");
    }
    let version = env!("CARGO_PKG_VERSION");
    tracing::info!(version, dns = ?listen, admin_port, ?upstream, ?shared_tier, workers, "serving");
}

/// Resolves the names in the background. The proxy is ready when all of them are answered, and after the
/// time-out in any case: a DNS outage must not become a startup outage.
fn prefetch(resolver: &Arc<Resolver<Servers>>, settings: &Settings, missing: Latch) {
    let (resolved, limit) = (resolver.prefetch(&settings.prefetch_names), settings.ready_timeout);
    tokio::spawn(async move {
        if timeout(limit, resolved).await.is_err() {
            tracing::warn!(timeout = ?limit, "not all prefetch-names were resolved in time; continuing without them");
        }
        drop(missing);
    });
}
