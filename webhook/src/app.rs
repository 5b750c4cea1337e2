//! The startup of `serve`: bind the ports first, then run until a signal.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum_server::Handle;
use axum_server::tls_rustls::RustlsConfig;
use kube::config::{KubeConfigOptions, Kubeconfig};
use podlocal_telemetry::Readiness;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::certificates::identity::{self, Identity};
use crate::certificates::tls::{self, ServingCertificate};
use crate::certificates::tls_files;
use crate::cluster::events::{self, Callers, Events};
use crate::cluster::namespaces::Namespaces;
use crate::cluster::{discovery, dns_checks, limit_ranges, tier};
use crate::config::{Common, Serve};
use crate::metrics::Metrics;
use crate::review::cluster_state::Cluster;
use crate::review::dns::addresses;
use crate::server::{self, Context, Draining};
use crate::shutdown::Signals;

pub mod cert_controller;
mod start_error;

pub use start_error::StartError;

/// The time that reviews in flight have after the first signal; less than the 30 s that a pod has to end.
pub const DRAIN_DEADLINE: Duration = Duration::from_secs(15);

/// How the program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShutdownResult {
    /// Every review in flight was answered.
    Drained,
    /// A second signal interrupted the drain.
    Interrupted,
}

/// Serves until the first signal, then drains. The addresses are bound first, so that a conflict is reported
/// at startup.
pub async fn run(settings: Serve) -> Result<ShutdownResult, StartError> {
    let mut signals = Signals::listen().map_err(StartError::Signals)?;
    let reviews = bind("--listen", settings.listen, 8443)?;
    let admin = bind("--admin-listen", settings.admin_listen, 8080)?;
    let cluster = initial_state(&settings.common);
    log_startup(&reviews, &admin, &cluster);
    let cluster = Arc::new(watch::Sender::new(cluster));
    let (metrics, readiness) = (Arc::new(Metrics::default()), Readiness::default());
    let client = client(settings.kubeconfig.as_deref()).await?;
    let served = Arc::new(ServingCertificate::default());
    let tls = match (load_certificate(&settings, &served, &metrics), tls_config(&settings, &served, &metrics))
    {
        (Err(first), Err(second)) => return Err(StartError::Both(first.into(), second.into())),
        (loaded, tls) => loaded.and(tls)?,
    };
    let (namespaces, events) = start_watches(client, &settings, &cluster, &readiness, &metrics);
    tokio::spawn(tier::export_metric(cluster.subscribe(), metrics.clone()));
    let policy = settings.common.policy();
    let context = Context::new(cluster.subscribe(), policy, namespaces, events, metrics.clone());

    let handle = Handle::new();
    let draining = Draining::default();
    let router = server::reviews(Arc::new(context), draining.clone());
    let mut serving = tokio::spawn(server::serve_tls(reviews, tls, router, metrics.clone(), handle.clone()));
    let router = server::admin(readiness.clone(), metrics.clone());
    tokio::spawn(server::serve_plain(admin, router, metrics, Handle::new()));

    let signal = tokio::select! {
        signal = signals.next() => signal,
        result = &mut serving => {
            let result = result.unwrap_or_else(|panic| Err(std::io::Error::other(panic)));
            return Err(StartError::Serve(result.err().unwrap_or_else(|| std::io::Error::other("the server task ended"))));
        }
    };
    tracing::info!(signal, "draining");
    // The pod is not ready from here on; the endpoints of the Service follow a moment later.
    let _not_ready = readiness.latch("draining");
    draining.begin();
    let drained = async {
        tokio::time::sleep(settings.shutdown_delay).await;
        handle.graceful_shutdown(Some(DRAIN_DEADLINE));
        let _ = serving.await;
    };
    tokio::select! {
        () = drained => Ok(ShutdownResult::Drained),
        signal = signals.next() => {
            tracing::warn!(signal, "a second signal interrupted the drain");
            Ok(ShutdownResult::Interrupted)
        }
    }
}

/// What the flags and the webhook's own resolv.conf say about the cluster.
fn initial_state(common: &Common) -> Cluster {
    let resolv_conf = common.resolv_conf().unwrap_or_else(|why| {
        tracing::warn!("{why}");
        String::new()
    });
    Cluster::new(&common.cluster(), &resolv_conf)
}

fn log_startup(reviews: &TcpListener, admin: &TcpListener, cluster: &Cluster) {
    let address = |listener: &TcpListener| {
        listener.local_addr().map_or_else(|error| error.to_string(), |address| address.to_string())
    };
    tracing::info!(address = address(reviews), "serving admission reviews");
    tracing::info!(address = address(admin), "serving health and metrics");
    let Cluster { dns, domain, extra_search, shared_tier, .. } = cluster;
    if dns.is_empty() {
        tracing::warn!("address of cluster DNS unknown: no pod is injected; set --cluster-dns");
    }
    tracing::info!(dns = addresses(dns), domain = domain.as_str(), ?extra_search, "cluster settings");
    if !shared_tier.addresses.is_empty() {
        tracing::info!(
            addresses = addresses(&shared_tier.addresses),
            "using the shared tier of --shared-tier"
        );
    }
}

/// Starts the tasks that observe the cluster: its DNS, and its API server if there is one.
fn start_watches(
    client: Option<kube::Client>,
    settings: &Serve,
    cluster: &Arc<watch::Sender<Cluster>>,
    readiness: &Readiness,
    metrics: &Arc<Metrics>,
) -> (Namespaces, Events) {
    let shared = || (cluster.clone(), metrics.clone());
    tokio::spawn(dns_checks::run(cluster.clone(), metrics.clone(), dns_checks::INTERVAL));
    let Some(client) = client else {
        return (Namespaces::default(), Events::none(metrics.clone()));
    };
    let (state, counts) = shared();
    tokio::spawn(discovery::poll_version(client.clone(), state, counts));
    // An operator who sets the addresses does not want the Service to be looked up.
    if settings.common.cluster().shared_tier.is_empty() {
        let (state, counts) = shared();
        tokio::spawn(tier::watch_services(client.clone(), state, counts, readiness.latch("shared tier")));
    }
    let (state, counts) = shared();
    let latch = readiness.latch("limit ranges");
    tokio::spawn(limit_ranges::watch_limit_ranges(client.clone(), state, counts, latch));
    let namespaces = Namespaces::watch(client.clone(), metrics.clone(), readiness.latch("namespaces"));
    let callers = if settings.client_ca_file.is_some() { Callers::Authenticated } else { Callers::Anyone };
    (namespaces, Events::start(client, callers, metrics.clone(), events::BATCH_INTERVAL))
}

/// The configuration of TLS, which verifies client certificates if a client CA is set.
fn tls_config(
    settings: &Serve,
    served: &Arc<ServingCertificate>,
    metrics: &Arc<Metrics>,
) -> Result<RustlsConfig, StartError> {
    let tls = RustlsConfig::from_config(Arc::new(tls::server_config(served.clone(), None)?));
    if let Some(client_ca) = settings.client_ca() {
        let applied = client_ca.apply(served.clone(), tls.clone(), metrics.clone());
        applied.map_err(StartError::ClientCa)?;
    }
    Ok(tls)
}

/// Serves the certificate of the files, or a self-made one that is never renewed, for tests outside of a
/// cluster.
fn load_certificate(
    settings: &Serve,
    served: &Arc<ServingCertificate>,
    metrics: &Arc<Metrics>,
) -> Result<(), StartError> {
    if let Some((certificate, key)) = settings.tls_files() {
        let loaded = tls_files::serve(certificate, key, served.clone(), metrics.clone());
        return loaded.map_err(StartError::Certificate);
    }
    if in_cluster() {
        tracing::warn!(
            "serving a self-made certificate, which the API server does not trust; set --tls-cert and --tls-key"
        );
    }
    let now = SystemTime::now();
    let identity = Identity::make(&settings.dns_names, now)?;
    let usable = identity.usable(&settings.dns_names, now).map_err(identity::MakeError::from)?;
    metrics.certificate_expiry.set(usable.expires as f64);
    served.replace(usable.key);
    if let Some(file) = &settings.ca_out {
        let failed = |source| StartError::File { file: file.display().to_string(), source };
        std::fs::write(file, &identity.ca).map_err(failed)?;
    }
    Ok(())
}

/// Binds the address that `flag` sets, or `port` on every address.
pub(crate) fn bind(flag: &str, address: Option<SocketAddr>, port: u16) -> Result<TcpListener, StartError> {
    server::bind(address, port).map_err(|source| {
        let what =
            address.map_or_else(|| format!("port {port}, {flag}"), |address| format!("{flag} {address}"));
        StartError::Bind { what, source }
    })
}

/// Whether this process runs in a pod: the kubelet sets this variable in every container.
fn in_cluster() -> bool {
    std::env::var_os("KUBERNETES_SERVICE_HOST").is_some()
}

/// A client with the kubeconfig in `file`, else with the pod's service account; never with the developer's
/// own kubeconfig, which nobody has named.
pub(crate) async fn client(file: Option<&std::path::Path>) -> Result<Option<kube::Client>, StartError> {
    let config = match file {
        Some(file) => {
            let wrong = |error: Box<dyn std::error::Error + Send + Sync>| StartError::Kubeconfig {
                file: file.display().to_string(),
                source: error,
            };
            let kubeconfig = Kubeconfig::read_from(file).map_err(|error| wrong(error.into()))?;
            let options = KubeConfigOptions::default();
            let config = kube::Config::from_custom_kubeconfig(kubeconfig, &options).await;
            config.map_err(|error| wrong(error.into()))?
        }
        None if in_cluster() => {
            kube::Config::incluster().map_err(|error| StartError::ServiceAccount(error.into()))?
        }
        None => return Ok(None),
    };
    kube::Client::try_from(config).map(Some).map_err(|error| StartError::ServiceAccount(error.into()))
}
