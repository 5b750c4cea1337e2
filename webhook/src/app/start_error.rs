//! Why `serve` cannot start, or go on, and what to do about it.

use crate::{certificates, client_ca, tls_files};

/// Why the program cannot start, or go on.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address is taken, or not ours.
    #[error("cannot listen on {what}: {source}")]
    Bind {
        /// The flag, or the default.
        what: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// A file cannot be written.
    #[error("cannot write {file}: {source}")]
    File {
        /// Its name.
        file: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// The certificate in the files cannot be served.
    #[error(transparent)]
    Certificate(#[from] tls_files::Error),
    /// Nobody can be verified by the file.
    #[error("--client-ca-file: {0}")]
    ClientCa(#[from] client_ca::Error),
    /// Two at once, so that nobody learns of the second from the next start.
    #[error("{0}; {1}")]
    Both(Box<Self>, Box<Self>),
    /// No certificate could be made.
    #[error("cannot create a certificate: {0}")]
    Make(#[from] certificates::MakeError),
    /// TLS itself.
    #[error("cannot configure TLS: {0}")]
    Tls(#[from] rustls::Error),
    /// The file cannot be read, or is no kubeconfig.
    #[error("--kubeconfig {file}: {source}")]
    Kubeconfig {
        /// Its name.
        file: String,
        /// What is wrong with it.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// We are in a cluster, but without a service account.
    #[error("cannot use the service account: {0}")]
    ServiceAccount(Box<dyn std::error::Error + Send + Sync>),
    /// There is no API server to talk to.
    #[error("no API server to connect to: this process does not run in a pod")]
    NoCluster,
    /// Reviews cannot be served any more.
    #[error("cannot serve reviews: {0}")]
    Serve(std::io::Error),
    /// The runtime.
    #[error("cannot start the async runtime: {0}")]
    Runtime(std::io::Error),
    /// Signals cannot be taken.
    #[error("cannot install the signal handlers: {0}")]
    Signals(std::io::Error),
}

impl StartError {
    /// What to do about it.
    pub fn next_step(&self) -> &'static str {
        match self {
            Self::Both(first, _) => first.next_step(),
            Self::Bind { .. } => {
                "stop the program that uses the port, or set --listen or --admin-listen to another address"
            }
            Self::File { .. } => "set --ca-out to a writable file",
            Self::Certificate(_) => {
                "set --tls-cert and --tls-key to a certificate and its key, or leave both out: then serve makes its own"
            }
            Self::ClientCa(_) => {
                "set --client-ca-file to the PEM certificate of the CA that signs the API server's client certificate"
            }
            Self::Make(_) => "correct --dns-names: the names by which the API server calls the webhook",
            Self::Kubeconfig { .. } => {
                "correct the file (test: kubectl --kubeconfig FILE version), or leave the flag out in a pod"
            }
            Self::ServiceAccount(_) => {
                "set automountServiceAccountToken: true in the pod, or set --kubeconfig"
            }
            Self::NoCluster => "run it in the cluster (kubectl apply -k manifests/base), or set --kubeconfig",
            Self::Tls(_) | Self::Serve(_) | Self::Runtime(_) | Self::Signals(_) => {
                "check the limits of the process: memory, threads, file descriptors"
            }
        }
    }
}
