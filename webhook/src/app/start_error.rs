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
    #[error("{file}: {source}")]
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
    #[error("cannot make a certificate: {0}")]
    Make(#[from] certificates::MakeError),
    /// TLS itself.
    #[error("TLS: {0}")]
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
    #[error("there is no cluster: this is not a pod")]
    NoCluster,
    /// Reviews cannot be served any more.
    #[error("cannot serve reviews: {0}")]
    Serve(std::io::Error),
    /// The runtime.
    #[error("the runtime: {0}")]
    Runtime(std::io::Error),
    /// Signals cannot be taken.
    #[error("signals: {0}")]
    Signals(std::io::Error),
}

impl StartError {
    /// What to do about it.
    pub fn next_step(&self) -> &'static str {
        match self {
            Self::Both(first, _) => first.next_step(),
            Self::Bind { .. } => {
                "end the program that has the port, or give --listen or --admin-listen another one"
            }
            Self::File { .. } => "give --ca-out a file that can be written",
            Self::Certificate(_) => {
                "give --tls-cert and --tls-key a pair that belongs together, or neither: then it makes its own"
            }
            Self::ClientCa(_) => {
                "give --client-ca-file the PEM certificates of the authority of the API server's client certificate"
            }
            Self::Make(_) => "correct --dns-names: the names by which the API server calls the webhook",
            Self::Kubeconfig { .. } => {
                "correct the file, or leave the flag out in a pod: kubectl --kubeconfig FILE version"
            }
            Self::ServiceAccount(_) => {
                "set automountServiceAccountToken: true in the pod, or give --kubeconfig"
            }
            Self::NoCluster => "run it in the cluster, kubectl apply -k manifests/base, or give --kubeconfig",
            Self::Tls(_) | Self::Serve(_) | Self::Runtime(_) | Self::Signals(_) => {
                "look at the limits of the process: memory, threads, descriptors"
            }
        }
    }
}
