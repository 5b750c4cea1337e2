//! The commands of the program, each with its settings.

use std::net::SocketAddr;
use std::path::PathBuf;

use podlocal_settings::program::{self, Length};
use podlocal_settings::value::LogLevel;

use crate::certificates::client_ca::ClientCa;
use crate::review::annotations::Defaults;
use crate::review::cluster_state::ClusterFlags;

/// The default resolv.conf.
const RESOLV_CONF: &str = "/etc/resolv.conf";

/// A parsed command line.
#[derive(Debug)]
pub enum Command {
    /// Print the brief or the whole help of the program or of a command.
    Help(Option<&'static program::Command>, Length),
    /// Print the version.
    Version,
    /// Answer admission reviews.
    Serve(Box<Serve>),
    /// Manage the certificate.
    CertController(Box<CertController>),
    /// Inject documents on disk.
    Inject(Box<Inject>),
    /// Report what injection would change, and why.
    Check(Box<Check>),
}

/// The settings of `serve`.
#[derive(Debug)]
pub struct Serve {
    /// The settings that all commands share.
    pub common: Common,
    /// The address for reviews over TLS; `None`: port 8443 on every address.
    pub(crate) listen: Option<SocketAddr>,
    /// The address for `/livez`, `/readyz` and `/metrics`; `None`: port 8080 on every address.
    pub(crate) admin_listen: Option<SocketAddr>,
    /// The certificate and its key in PEM files; `None`: a self-made certificate.
    pub tls_files: Option<(PathBuf, PathBuf)>,
    /// The CA for client certificates; `None`: every client is accepted.
    pub(crate) client_ca: Option<ClientCa>,
    /// The file to which the CA of the self-made certificate is written.
    pub(crate) ca_out: Option<PathBuf>,
    /// The names and IP addresses in the self-made certificate.
    pub dns_names: Vec<String>,
    /// The kubeconfig; `None`: the service account in a pod, else no API server.
    pub(crate) kubeconfig: Option<PathBuf>,
    /// How long new reviews are answered after the first signal.
    pub shutdown_delay: std::time::Duration,
}

/// The settings of `cert-controller`.
#[derive(Debug)]
pub struct CertController {
    /// The address for `/livez` and `/readyz`; `None`: port 8080 on every address.
    pub(crate) admin_listen: Option<SocketAddr>,
    /// The names and IP addresses in the certificate.
    pub dns_names: Vec<String>,
    /// The name of the Secret that stores the certificate.
    pub certificate_secret: String,
    /// The name of the MutatingWebhookConfiguration that gets the CA.
    pub webhook_configuration: String,
    /// The kubeconfig; `None`: the service account.
    pub(crate) kubeconfig: Option<PathBuf>,
    /// The log level.
    pub log_level: LogLevel,
}

/// The settings of `inject`.
#[derive(Debug)]
pub struct Inject {
    /// The settings that all commands share.
    pub(crate) common: Common,
    /// The files; `-` is standard input.
    pub(crate) files: Vec<PathBuf>,
    /// The default namespace of documents.
    pub(crate) namespace: String,
    /// The output format.
    pub(crate) output: Output,
}

/// The settings of `check`.
#[derive(Debug)]
#[allow(clippy::struct_excessive_bools, reason = "each is the flag of that name")]
pub struct Check {
    /// The settings that all commands share.
    pub(crate) common: Common,
    /// The documents to check; empty: a cluster is checked.
    pub(crate) files: Vec<PathBuf>,
    /// For a cluster, the only namespace to check; for documents, the default namespace.
    pub(crate) namespace: Option<String>,
    /// The kubeconfig; `None`: the same as kubectl.
    pub(crate) kubeconfig: Option<PathBuf>,
    /// The context of the kubeconfig; `None`: its current one.
    pub(crate) context: Option<String>,
    /// The name of the MutatingWebhookConfiguration of the webhook.
    pub(crate) webhook_configuration: String,
    /// Whether every namespace is treated as opted in.
    pub(crate) as_if_enabled: bool,
    /// Whether workloads that are not opted in are listed.
    pub(crate) all: bool,
    /// Whether every change is shown.
    pub(crate) verbose: bool,
    /// The number of outside names that a pod looks up at startup.
    pub(crate) names: u32,
    /// Whether problems cause exit code 3.
    pub strict: bool,
    /// Whether the report is printed as JSON.
    pub json: bool,
}

/// The output format of documents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names of the formats")]
pub(crate) enum Output {
    Yaml,
    Json,
}

/// The settings that all commands share.
#[derive(Debug)]
pub struct Common {
    /// The image of the sidecar.
    pub image: String,
    /// The flags that describe the cluster.
    pub(crate) cluster: ClusterFlags,
    /// The resolv.conf for values that no flag sets; `None`: the default file.
    pub(crate) resolv_conf: Option<PathBuf>,
    /// The cluster-wide defaults of the pod settings.
    pub(crate) defaults: Defaults,
    /// The log level.
    pub log_level: LogLevel,
}

impl Common {
    /// The default image of the sidecar: the one with the version of the webhook.
    pub(crate) fn own_image() -> String {
        format!("ghcr.io/podlocal-dns/sidecar:{}", env!("CARGO_PKG_VERSION"))
    }

    /// The text of the webhook's own `resolv.conf`, which may be missing, or of the file of `--resolv-conf`.
    ///
    /// # Errors
    /// A warning if the named file cannot be read; the flags may be sufficient without it.
    pub(crate) fn resolv_conf(&self) -> Result<String, String> {
        match &self.resolv_conf {
            None => Ok(std::fs::read_to_string(RESOLV_CONF).unwrap_or_default()),
            Some(file) => std::fs::read_to_string(file).map_err(|error| {
                format!("cannot read --resolv-conf {}: {error}; continuing without it", file.display())
            }),
        }
    }
}
