//! Why `serve` cannot start or continue, and what to do about it.

use crate::certificates::{identity, reload};

/// Why the program cannot start or continue.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum StartError {
    #[error("cannot listen on {what}: {source}")]
    Bind { what: String, source: std::io::Error },
    #[error("cannot write {file}: {source}")]
    File { file: String, source: std::io::Error },
    #[error(transparent)]
    Certificate(reload::Error),
    #[error("--client-ca-file: {0}")]
    ClientCa(reload::Error),
    #[error("{0}; {1}")]
    Both(Box<Self>, Box<Self>),
    #[error("cannot create a certificate: {0}")]
    Make(#[from] identity::MakeError),
    #[error("cannot configure TLS: {0}")]
    Tls(#[from] rustls::Error),
    #[error("--kubeconfig {file}: {source}")]
    Kubeconfig { file: String, source: Box<dyn std::error::Error + Send + Sync> },
    #[error("cannot use the service account: {0}")]
    ServiceAccount(Box<dyn std::error::Error + Send + Sync>),
    #[error("no API server to connect to: this process does not run in a pod")]
    NoCluster,
    #[error("cannot serve reviews: {0}")]
    Serve(std::io::Error),
    #[error("cannot start the async runtime: {0}")]
    Runtime(std::io::Error),
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
