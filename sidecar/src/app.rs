//! The only file that knows all parts: it turns settings into bound sockets, and those into a running proxy.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use podlocal_settings::Settings;
use podlocal_settings::table::PREFETCH_NAMES;
use podlocal_telemetry::{Latch, Readiness};
use prometheus_client::registry::Registry;
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

/// A proxy whose sockets are bound. Its addresses are known, and it does not answer yet.
#[derive(Debug)]
pub struct Bound {
    /// One list for each worker.
    sockets: Vec<Vec<Pair>>,
    admin: TcpListener,
    introspection: Introspection,
    service: Arc<Service<Servers>>,
    metrics: Metrics,
    registry: Registry,
    readiness: Readiness,
    starting: Latch,
    prefetch: Option<Prefetch>,
    lame_duck: Duration,
    signals: Signals,
}

/// The names to resolve before the pod is ready, and the longest time to wait for them.
#[derive(Debug)]
struct Prefetch {
    resolver: Arc<Resolver<Servers>>,
    names: Vec<String>,
    timeout: Duration,
    missing: Latch,
}

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
    /// Installing the signal handlers failed.
    #[error("cannot listen for signals: {0}")]
    Signals(io::Error),
    /// The kernel returned no random bytes.
    #[error("no random numbers: {0}")]
    Random(io::Error),
    /// Starting a thread, its runtime or a socket in it failed.
    #[error("cannot serve: {0}")]
    Serve(io::Error),
    /// The pod has none of the addresses.
    #[error("none of the addresses to listen on exists here")]
    NoAddress,
}

impl Bound {
    /// Binds every socket, those for DNS only where `inherited` has none. `upstream` must not be empty.
    pub fn bind(
        settings: &Settings,
        upstream: &[SocketAddr],
        inherited: Vec<Vec<Pair>>,
    ) -> Result<Self, StartError> {
        let signals = Signals::new().map_err(StartError::Signals)?;
        let workers = worker::count(settings.workers);
        let sockets = if inherited.is_empty() { listen::bind(&settings.listen, workers)? } else { inherited };
        if sockets.iter().all(Vec::is_empty) {
            return Err(StartError::NoAddress);
        }
        let bound = addresses(&sockets);
        for address in
            settings.listen.iter().filter(|wanted| bound.iter().all(|bound| bound.ip() != wanted.ip()))
        {
            tracing::info!(%address, "not served: this pod has no IPv6");
        }
        let admin = listen::bind_admin(settings.admin_port)?;
        let (metrics, mut registry) = Metrics::new();
        let servers = Servers::start(upstream, settings, &metrics).map_err(StartError::Random)?;
        Metrics::register_build(&mut registry, settings.role);
        registry.register_collector(Box::new(Snapshot(Arc::new(servers.clone()))));
        let forward = forward::start(settings, &metrics, &mut registry).map_err(StartError::Random)?;
        let resolver = Resolver::with_zones(settings, workers, servers, forward, metrics.clone());
        registry.register_collector(Box::new(Snapshot(Arc::clone(&resolver) as Arc<dyn Gauges>)));
        let readiness = Readiness::default();
        let starting = readiness.latch("listeners");
        let prefetch = (!settings.prefetch_names.is_empty()).then(|| Prefetch {
            resolver: Arc::clone(&resolver),
            names: settings.prefetch_names.clone(),
            timeout: settings.ready_timeout,
            missing: readiness.latch(PREFETCH_NAMES.name),
        });
        let service = Service::new(settings, resolver, metrics.clone(), Instant::now().into_std());
        registry.register_collector(Box::new(Snapshot(Arc::clone(&service) as Arc<dyn Gauges>)));
        let served = Settings { listen: bound, ..settings.clone() };
        let introspection = Introspection::new(Arc::clone(&service), metrics.clone(), served, workers);
        let addresses = sockets.iter().flatten().filter_map(|pair| pair.udp.local_addr().ok());
        let ports = addresses.map(|address| address.port()).collect();
        registry.register_collector(Box::new(Process::new(ports, parent::restarts().unwrap_or_default())));
        let lame_duck = settings.lame_duck;
        Ok(Self {
            sockets,
            admin,
            introspection,
            service,
            metrics,
            registry,
            readiness,
            starting,
            prefetch,
            lame_duck,
            signals,
        })
    }

    /// The number of threads that serve.
    pub fn workers(&self) -> usize {
        self.sockets.len()
    }

    /// The addresses that DNS is served on, and the admin port.
    pub fn addresses(&self) -> (Vec<SocketAddr>, Option<u16>) {
        (addresses(&self.sockets), self.admin.local_addr().ok().map(|address| address.port()))
    }

    /// Serves until a signal and through the lame-duck time, then drains: it reads no new queries and sends
    /// the answers that are in flight.
    pub async fn run(self) -> Result<Ended, StartError> {
        let Self { sockets, admin, service, metrics, registry, readiness, starting, .. } = self;
        let Self { prefetch, introspection, lame_duck, mut signals, .. } = self;
        watch_panics(metrics.clone());
        worker::raise_descriptors();
        let (drainer, drain) = shutdown::drain();
        let mut sockets = sockets.into_iter();
        let ours = sockets.next().unwrap_or_default();
        worker::serve(ours, &service, &drain).map_err(StartError::Serve)?;
        let others = Others::start(sockets.collect(), &service, &drain).map_err(StartError::Serve)?;
        let admin = tokio::net::TcpListener::from_std(admin).map_err(StartError::Serve)?;
        let admin = tokio::spawn(admin::serve(admin, registry, readiness.clone(), metrics, introspection));
        drop((starting, drain));
        if let Some(prefetch) = prefetch {
            prefetch.start();
        }
        let signal = signals.next().await;
        // Not ready from now on. Queries still arrive until all clients have noticed.
        let _draining = readiness.latch("draining");
        tracing::info!(signal, ?lame_duck, "draining");
        let drained = async {
            sleep(lame_duck).await;
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
}

/// The addresses on which every worker serves.
fn addresses(sockets: &[Vec<Pair>]) -> Vec<SocketAddr> {
    let of_first = sockets.first().into_iter().flatten();
    of_first.filter_map(|pair| pair.udp.local_addr().ok()).collect()
}

impl Prefetch {
    /// Resolves the names in the background. The proxy is ready when all of them are answered, and after the
    /// time-out in any case: a DNS outage must not become a startup outage.
    fn start(self) {
        let Self { resolver, names, timeout, missing } = self;
        let missing = Arc::new(Mutex::new(Some(missing)));
        let release = {
            let missing = Arc::clone(&missing);
            move || missing.lock().unwrap_or_else(PoisonError::into_inner).take()
        };
        let late = release.clone();
        tokio::spawn(resolver.prefetch(names, move || drop(release())));
        tokio::spawn(async move {
            sleep(timeout).await;
            if late().is_some() {
                tracing::warn!(
                    ?timeout,
                    "not all prefetch-names were resolved in time; continuing without them"
                );
            }
        });
    }
}
