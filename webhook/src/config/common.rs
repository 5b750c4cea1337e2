//! The flags that several commands have.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;
use podlocal_settings::table::{CLUSTER_DOMAIN, LOG_LEVEL, SHARED_TIER};
use podlocal_settings::value::{self, DomainName, LogLevel};

use super::values::{by, log_level, server};
use crate::review::annotations::Defaults;
use crate::review::cluster_state::ClusterFlags;
use crate::review::mutate::Policy;

/// The default image of the sidecar: the one with the version of the webhook.
pub(crate) const OWN_IMAGE: &str = concat!("ghcr.io/podlocal-dns/sidecar:", env!("CARGO_PKG_VERSION"));

/// The default resolv.conf.
const RESOLV_CONF: &str = "/etc/resolv.conf";

/// The flag of every command that logs.
#[derive(Debug, Args)]
pub struct LogFlag {
    /// The lowest level of logged messages
    #[arg(
        long = LOG_LEVEL.name,
        value_name = "LEVEL",
        default_value = LOG_LEVEL.default,
        value_parser = log_level(),
    )]
    pub log_level: LogLevel,
}

/// The flags of all commands about pods.
#[derive(Debug, Args)]
pub struct Common {
    /// The image of the sidecar
    #[arg(
        long = "sidecar-image",
        value_name = "IMAGE",
        default_value = OWN_IMAGE,
        value_parser = by(value::image),
    )]
    pub image: String,

    /// An address of cluster DNS; repeatable [default: from resolv.conf]
    #[arg(long, value_name = "ADDR", value_delimiter = ',', value_parser = by(server))]
    cluster_dns: Vec<SocketAddr>,

    /// The cluster domain [default: from resolv.conf, otherwise cluster.local]
    #[arg(long = CLUSTER_DOMAIN.name, value_name = "NAME", value_parser = by(DomainName::parse))]
    cluster_domain: Option<DomainName>,

    /// A search domain of the nodes; repeatable [default: from resolv.conf]
    #[arg(long, value_name = "NAME", value_delimiter = ',', value_parser = by(value::search_domain))]
    extra_search: Vec<String>,

    /// An address of the shared tier; repeatable [default: serve finds its Service]
    #[arg(long = SHARED_TIER.name, value_name = "ADDR", value_delimiter = ',', value_parser = by(server))]
    shared_tier: Vec<SocketAddr>,

    /// The resolv.conf of a ClusterFirst pod [default: /etc/resolv.conf; for a cluster: none]
    #[arg(long, value_name = "FILE")]
    pub(crate) resolv_conf: Option<PathBuf>,

    /// Cluster-wide defaults of the settings of pods, in YAML: name: value
    #[arg(long, value_name = "FILE")]
    pub settings: Option<PathBuf>,

    /// The flag of the log.
    #[command(flatten)]
    pub log: LogFlag,

    /// The contents of the file of `settings`.
    #[arg(skip)]
    pub(crate) defaults: Defaults,
}

impl Common {
    /// The flags that describe the cluster.
    pub(crate) fn cluster(&self) -> ClusterFlags {
        ClusterFlags {
            dns: self.cluster_dns.clone(),
            domain: self.cluster_domain.clone(),
            extra_search: self.extra_search.clone(),
            shared_tier: self.shared_tier.clone(),
        }
    }

    /// What the operator has set for all pods.
    pub(crate) fn policy(&self) -> Policy {
        Policy { image: self.image.clone(), defaults: self.defaults.clone() }
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
