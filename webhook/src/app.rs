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
use crate::certificates::tls_files::{self, TlsFiles};
use crate::cluster::events::{self, Callers, Events};
use crate::cluster::namespaces::Namespaces;
use crate::cluster::{discovery, dns_checks, limit_ranges, tier};
use crate::config::Serve;
use crate::metrics::Metrics;
use crate::review::cluster_state::Cluster;
use crate::review::mutate::Policy;
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

/// The bound program, not yet running.
#[derive(Debug)]
pub struct App {
    reviews: TcpListener,
    admin: TcpListener,
    served: Arc<ServingCertificate>,
    tls: RustlsConfig,
    policy: Policy,
    metrics: Arc<Metrics>,
    cluster: Arc<watch::Sender<Cluster>>,
    known: watch::Receiver<Cluster>,
    readiness: Readiness,
    settings: Serve,
    signals: Signals,
}

impl App {
    /// Binds the addresses, so that a conflict is reported at startup and the bound addresses are known.
    pub fn bind(settings: Serve) -> Result<Self, StartError> {
        let signals = Signals::listen().map_err(StartError::Signals)?;
        let reviews = bind("--listen", settings.listen, 8443)?;
        let admin = bind("--admin-listen", settings.admin_listen, 8080)?;

        let common = &settings.common;
        let resolv_conf = common.resolv_conf().unwrap_or_else(|why| {
            tracing::warn!("{why}");
            String::new()
        });
        let (cluster, known) = watch::channel(Cluster::new(&common.cluster(), &resolv_conf));
        let served = Arc::new(ServingCertificate::default());
        let policy = Policy { image: common.image.clone(), defaults: common.defaults.clone() };
        let metrics = Arc::new(Metrics::default());
        let tls = RustlsConfig::from_config(Arc::new(tls::server_config(served.clone(), None)?));
        Ok(Self {
            reviews,
            admin,
            tls,
            served,
            policy,
            known,
            metrics,
            cluster: Arc::new(cluster),
            readiness: Readiness::default(),
            settings,
            signals,
        })
    }

    /// Serves until the first signal, then drains.
    pub async fn run(mut self) -> Result<ShutdownResult, StartError> {
        self.log_startup();
        let client = client(self.settings.kubeconfig.as_deref()).await?;
        match (self.load_certificate(), self.verify_clients()) {
            (Err(first), Err(second)) => return Err(StartError::Both(first.into(), second.into())),
            (certified, verified) => certified.and(verified)?,
        }
        let (namespaces, events) = self.start_watches(client);
        tokio::spawn(tier::export_metric(self.known.clone(), self.metrics.clone()));
        let metrics = self.metrics;
        let context = Context::new(self.known, self.policy, namespaces, events, metrics.clone());

        let (reviews, admin) = (Handle::new(), Handle::new());
        let draining = Draining::default();
        let router = server::reviews(Arc::new(context), draining.clone());
        let serve = server::serve_tls(self.reviews, self.tls, router, metrics.clone(), reviews.clone());
        let mut reviews_task = tokio::spawn(serve);
        let router = server::admin(self.readiness.clone(), metrics.clone());
        tokio::spawn(server::serve_plain(self.admin, router, metrics, admin));

        let signal = tokio::select! {
            signal = self.signals.next() => signal,
            result = &mut reviews_task => {
                let result = result.unwrap_or_else(|panic| Err(std::io::Error::other(panic)));
                return Err(StartError::Serve(result.err().unwrap_or_else(|| std::io::Error::other("the server task ended"))));
            }
        };
        tracing::info!(signal, "draining");
        // The pod is not ready from here on; the endpoints of the Service follow a moment later.
        let _not_ready = self.readiness.latch("draining");
        draining.begin();
        let drained = async {
            tokio::time::sleep(self.settings.shutdown_delay).await;
            reviews.graceful_shutdown(Some(DRAIN_DEADLINE));
            let _ = reviews_task.await;
        };
        tokio::select! {
            () = drained => Ok(ShutdownResult::Drained),
            signal = self.signals.next() => {
                tracing::warn!(signal, "a second signal interrupted the drain");
                Ok(ShutdownResult::Interrupted)
            }
        }
    }

    fn log_startup(&self) {
        let address = |listener: &TcpListener| {
            listener.local_addr().map_or_else(|error| error.to_string(), |address| address.to_string())
        };
        tracing::info!(address = address(&self.reviews), "serving admission reviews");
        tracing::info!(address = address(&self.admin), "serving health and metrics");
        let cluster = self.cluster.borrow();
        if cluster.dns.is_empty() {
            tracing::warn!("address of cluster DNS unknown: no pod is injected; set --cluster-dns");
        }
        let Cluster { dns, domain, extra_search, shared_tier, .. } = &*cluster;
        tracing::info!(
            dns = crate::review::dns::addresses(dns),
            domain = domain.as_str(),
            ?extra_search,
            "cluster settings"
        );
        if !shared_tier.addresses.is_empty() {
            tracing::info!(
                addresses = crate::review::dns::addresses(&shared_tier.addresses),
                "using the shared tier of --shared-tier"
            );
        }
    }

    /// Starts the tasks that observe the cluster: its DNS, and its API server if there is one.
    fn start_watches(&self, client: Option<kube::Client>) -> (Namespaces, Events) {
        tokio::spawn(dns_checks::run(self.cluster.clone(), self.metrics.clone(), dns_checks::INTERVAL));
        let Some(client) = client else {
            return (Namespaces::default(), Events::none(self.metrics.clone()));
        };
        tokio::spawn(discovery::poll_version(client.clone(), self.cluster.clone(), self.metrics.clone()));
        // An operator who sets the addresses does not want the Service to be looked up.
        if self.settings.common.cluster().shared_tier.is_empty() {
            let latch = self.readiness.latch("shared tier");
            tokio::spawn(tier::watch_services(
                client.clone(),
                self.cluster.clone(),
                self.metrics.clone(),
                latch,
            ));
        }
        let latch = self.readiness.latch("limit ranges");
        tokio::spawn(limit_ranges::watch_limit_ranges(
            client.clone(),
            self.cluster.clone(),
            self.metrics.clone(),
            latch,
        ));
        let namespaces =
            Namespaces::watch(client.clone(), self.metrics.clone(), self.readiness.latch("namespaces"));
        let callers =
            if self.settings.client_ca_file.is_some() { Callers::Authenticated } else { Callers::Anyone };
        (namespaces, Events::start(client, callers, self.metrics.clone(), events::BATCH_INTERVAL))
    }

    /// Verifies client certificates if a client CA is set.
    fn verify_clients(&self) -> Result<(), StartError> {
        let Some(client_ca) = self.settings.client_ca() else { return Ok(()) };
        let (verifier, pem) = client_ca.read()?;
        self.tls.reload_from_config(Arc::new(tls::server_config(self.served.clone(), Some(verifier))?));
        let (served, config, metrics) = (self.served.clone(), self.tls.clone(), self.metrics.clone());
        tokio::spawn(client_ca.reload_on_change(pem, served, config, metrics, tls_files::INTERVAL));
        Ok(())
    }

    /// Serves the certificate of the files, or a self-made one that is never renewed, for tests outside of a
    /// cluster.
    fn load_certificate(&self) -> Result<(), StartError> {
        let metrics = self.metrics.clone();
        if let Some((certificate, key)) = self.settings.tls_files() {
            let files = TlsFiles::load(&certificate, &key, &self.served, &metrics)?;
            tokio::spawn(files.reload_on_change(self.served.clone(), metrics, tls_files::INTERVAL));
            return Ok(());
        }
        if in_cluster() {
            tracing::warn!(
                "serving a self-made certificate, which the API server does not trust; set --tls-cert and --tls-key"
            );
        }
        let now = SystemTime::now();
        let identity = Identity::make(&self.settings.dns_names, now)?;
        let usable = identity.usable(&self.settings.dns_names, now).map_err(identity::MakeError::from)?;
        metrics.certificate_expiry.set(usable.expires as f64);
        self.served.replace(usable.key);
        if let Some(file) = &self.settings.ca_out {
            let failed = |source| StartError::File { file: file.display().to_string(), source };
            std::fs::write(file, &identity.ca).map_err(failed)?;
        }
        Ok(())
    }
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
