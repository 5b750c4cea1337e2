//! Why `serve` cannot start or continue, and what to do about it.

use crate::certificates::{client_ca, identity, tls_files};

/// Why the program cannot start or continue.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address is in use, or is not an address of this machine.
    #[error("cannot listen on {what}: {source}")]
    Bind {
        /// The flag with its address, or the default port.
        what: String,
        /// The error of the operating system.
        source: std::io::Error,
    },
    /// A file cannot be written.
    #[error("cannot write {file}: {source}")]
    File {
        /// The path.
        file: String,
        /// The error of the operating system.
        source: std::io::Error,
    },
    /// The certificate in the files cannot be served.
    #[error(transparent)]
    Certificate(#[from] tls_files::Error),
    /// The client CA file cannot be used.
    #[error("--client-ca-file: {0}")]
    ClientCa(#[from] client_ca::Error),
    /// Two errors at once, so that the second one does not show only at the next start.
    #[error("{0}; {1}")]
    Both(Box<Self>, Box<Self>),
    /// No certificate could be created.
    #[error("cannot create a certificate: {0}")]
    Make(#[from] identity::MakeError),
    /// The TLS configuration is invalid.
    #[error("cannot configure TLS: {0}")]
    Tls(#[from] rustls::Error),
    /// The file cannot be read, or is not a kubeconfig.
    #[error("--kubeconfig {file}: {source}")]
    Kubeconfig {
        /// The path.
        file: String,
        /// The error of the kubeconfig library.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The process runs in a pod without a usable service account.
    #[error("cannot use the service account: {0}")]
    ServiceAccount(Box<dyn std::error::Error + Send + Sync>),
    /// Neither a kubeconfig nor a service account leads to an API server.
    #[error("no API server to connect to: this process does not run in a pod")]
    NoCluster,
    /// The server for admission reviews has ended.
    #[error("cannot serve reviews: {0}")]
    Serve(std::io::Error),
    /// The async runtime cannot start.
    #[error("cannot start the async runtime: {0}")]
    Runtime(std::io::Error),
    /// The signal handlers cannot be installed.
    #[error("cannot install the signal handlers: {0}")]
    Signals(std::io::Error),
}

impl StartError {
    /// What the operator can do about it.
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
