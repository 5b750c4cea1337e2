//! The startup of `cert-controller`: it manages the webhook's certificate and writes the CA into the webhook
//! configuration.
//!
//! It is a separate process, like cert-manager's cainjector and the cert-controller of External Secrets. The
//! permission to patch a MutatingWebhookConfiguration is close to cluster administration, because its holder
//! can send the objects of the whole cluster to any server. RBAC cannot restrict it to one field, and
//! admission policies are not called for webhook configurations. So `serve`, which answers every client that
//! reaches its port, does not have this permission, and `cert-controller`, which has it, answers only probes.

use std::sync::Arc;

use axum_server::Handle;
use podlocal_telemetry::Readiness;

use crate::app::{self, StartError};
use crate::certificates::manager::{self, CertificateManager};
use crate::config::CertController;
use crate::metrics::Metrics;
use crate::server;
use crate::shutdown::Signals;

/// Manages the certificate until the first signal. There is nothing to drain: the next process repeats an
/// interrupted write.
///
/// # Errors
/// If the address is in use, or there is no API server to connect to.
pub async fn run(settings: CertController) -> Result<(), StartError> {
    let mut signals = Signals::listen().map_err(StartError::Signals)?;
    let admin = app::bind("--admin-listen", settings.admin_listen, 8080)?;
    let address = admin.local_addr().map_or_else(|error| error.to_string(), |address| address.to_string());
    tracing::info!(address, "serving health");
    let client = app::client(settings.kubeconfig.as_deref()).await?.ok_or(StartError::NoCluster)?;

    let readiness = Readiness::default();
    let manager = CertificateManager {
        client,
        secret: settings.certificate_secret,
        configuration: settings.webhook_configuration,
        dns_names: settings.dns_names,
        interval: manager::INTERVAL,
    };
    tokio::spawn(manager.run(readiness.latch("certificate")));
    let metrics = Arc::new(Metrics::default());
    tokio::spawn(server::serve_plain(admin, server::health(readiness), metrics, Handle::new()));
    let signal = signals.next().await;
    tracing::info!(signal, "stopping");
    Ok(())
}
