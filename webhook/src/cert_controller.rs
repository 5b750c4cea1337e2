//! The wiring of `cert-controller`: it keeps the webhook's certificate and writes the CA into the webhook configuration.
//!
//! A program of its own, as cert-manager's cainjector and the cert-controller of External Secrets are: the right to patch a
//! MutatingWebhookConfiguration is close to that of a cluster administrator, because whoever holds it may send the objects
//! of the whole cluster to a server of their choice, and RBAC cannot narrow it to one field (admission policies are not
//! called for webhook configurations). So `serve`, which answers whoever reaches its port, does not hold that right, and
//! this program, which does, answers nobody but probes.

use std::sync::Arc;
use std::time::SystemTime;

use axum_server::Handle;

use crate::app::{self, StartError};
use crate::config::CertController;
use crate::keeper::{self, Keeper};
use crate::metrics::Metrics;
use crate::readiness::Readiness;
use crate::server;
use crate::shutdown::Signals;

/// Keeps the certificate until the first signal. There is nothing to drain: a write that is cut short is made by the next
/// process.
///
/// # Errors
/// When the address is taken, or there is no API server to talk to.
pub async fn run(settings: CertController) -> Result<(), StartError> {
    let mut signals = Signals::listen().map_err(StartError::Signals)?;
    let admin = app::bind("--admin-listen", settings.admin_listen, 8080)?;
    let address = admin.local_addr().map_or_else(|error| error.to_string(), |address| address.to_string());
    tracing::info!(address, "serving health");
    let client = app::client(settings.kubeconfig.as_deref()).await?.ok_or(StartError::NoCluster)?;

    let readiness = Readiness::default();
    let keeper = Keeper {
        client,
        secret: settings.certificate_secret,
        configuration: settings.webhook_configuration,
        dns_names: settings.dns_names,
        clock: Arc::new(SystemTime::now),
        interval: keeper::INTERVAL,
    };
    tokio::spawn(keeper.run(readiness.latch("certificate")));
    let metrics = Arc::new(Metrics::new());
    tokio::spawn(server::serve_plain(admin, server::health(readiness), metrics, Handle::new()));
    let signal = signals.next().await;
    tracing::info!(signal, "stopping");
    Ok(())
}
