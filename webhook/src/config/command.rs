//! The commands and their flags. clap parses them, and writes the help, the man pages and the completions.

#![allow(rustdoc::broken_intra_doc_links, reason = "the help shows the address [::] as it is")]

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use podlocal_settings::names::ANNOTATION_PREFIX;
use podlocal_settings::page;
use podlocal_settings::table::Setting;
use podlocal_settings::value;

use super::common::{Common, LogFlag};
use super::notes;
use super::values::{address, by, count, host};
use crate::certificates::client_ca::ClientCa;
use crate::review::annotations::Defaults;

/// The name of the program.
pub(super) const NAME: &str = "podlocal-webhook";

/// The default name in the certificate: that of the Service.
const HOST: &str = "podlocal-dns-webhook.podlocal-dns.svc";

/// The default name of the MutatingWebhookConfiguration.
const WEBHOOK: &str = "podlocal-dns-webhook";

/// The admission webhook of PodLocal DNS
///
/// It injects podlocal-sidecar(1) into the new pods of namespaces with the label
/// podlocal-dns.io/inject=enabled. Install it with `kubectl apply -k manifests/base`. A flag with several
/// values may be given several times, or once with commas between the values.
#[derive(Debug, Parser)]
#[command(
    name = NAME,
    version,
    args_conflicts_with_subcommands = true,
    disable_help_subcommand = true,
    after_help = notes::PROGRAM,
    after_long_help = format!(
        "Settings of pods:\n  Annotations {ANNOTATION_PREFIX}NAME of a pod or its namespace, or lines of the file \
         of --settings.\n{}\n{}",
        page::help("", Setting::is_annotation),
        notes::PROGRAM
    )
)]
pub struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,

    #[command(flatten, next_help_heading = "Options of serve, the default command")]
    serve: Serve,
}

/// A command with its flags.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Answer admission reviews (default)
    ///
    /// Runs in the cluster and answers over TLS. Install it with `kubectl apply -k manifests/base`.
    #[command(after_help = notes::SERVE)]
    Serve(Box<Serve>),

    /// Renew the certificate of serve, and write its CA into the webhook configuration
    ///
    /// Runs in the cluster, next to serve and with its own permissions. It creates and renews the
    /// certificate, stores it in a Secret, which must exist, and writes the CA into the webhook
    /// configuration. With cert-manager it is not needed.
    #[command(after_help = notes::CERT_CONTROLLER)]
    CertController(Box<CertController>),

    /// Inject YAML documents on disk and print them; reasons go to standard error
    ///
    /// Changes YAML or JSON documents as serve changes pods, and prints them. The documents count as opted in
    /// unless their label is `disabled`. For each document, standard error has the decision and the reason.
    #[command(after_help = notes::INJECT)]
    Inject(Box<Inject>),

    /// Report what would be injected in documents or in a cluster, and why not
    ///
    /// Reports which workloads would get the sidecar, which would not and why, what would change in them,
    /// which settings are invalid, and how many DNS queries a cold start would save. It changes nothing. It
    /// reads documents (-f), or the cluster of KUBECONFIG; for a cluster it also reports whether the webhook
    /// is installed and healthy.
    #[command(after_help = notes::CHECK)]
    Check(Box<Check>),
}

/// The flags of `serve`.
#[derive(Debug, Args)]
pub struct Serve {
    /// The address for reviews over TLS [default: [::]:8443]
    #[arg(long, value_name = "ADDR:PORT", value_parser = by(address))]
    pub(crate) listen: Option<SocketAddr>,

    /// The address of /livez, /readyz and /metrics [default: [::]:8080]
    #[arg(long, value_name = "ADDR:PORT", value_parser = by(address))]
    pub(crate) admin_listen: Option<SocketAddr>,

    /// The serving certificate, PEM [default: a self-made one, for tests]
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,

    /// The key of --tls-cert, PEM
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,

    /// The CA of the API server's client certificate, PEM [default: no client certificate is required]
    #[arg(long, value_name = "FILE")]
    pub(crate) client_ca_file: Option<PathBuf>,

    /// An allowed common name or DNS name in the client certificate; repeatable [default: any]
    #[arg(
        long,
        value_name = "NAME",
        value_delimiter = ',',
        requires = "client_ca_file",
        value_parser = by(value::domain),
    )]
    client_allowed_names: Vec<String>,

    /// The file to which the CA of the self-made certificate is written, PEM
    #[arg(long, value_name = "FILE")]
    pub(crate) ca_out: Option<PathBuf>,

    /// A name or an IP address in the self-made certificate; repeatable
    #[arg(long, value_name = "NAME", value_delimiter = ',', default_value = HOST, value_parser = by(host))]
    pub dns_names: Vec<String>,

    /// The kubeconfig for the API server [default: the service account in a pod, otherwise none]
    #[arg(long, value_name = "FILE")]
    pub(crate) kubeconfig: Option<PathBuf>,

    /// How long reviews are still answered after the first signal
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = by(value::duration))]
    pub shutdown_delay: Duration,

    /// The flags of all commands about pods.
    #[command(flatten)]
    pub common: Common,
}

/// The flags of `cert-controller`.
#[derive(Debug, Args)]
pub struct CertController {
    /// The address of /livez and /readyz [default: [::]:8080]
    #[arg(long, value_name = "ADDR:PORT", value_parser = by(address))]
    pub(crate) admin_listen: Option<SocketAddr>,

    /// A name or an IP address in the certificate; repeatable
    #[arg(long, value_name = "NAME", value_delimiter = ',', default_value = HOST, value_parser = by(host))]
    pub dns_names: Vec<String>,

    /// The Secret with the certificate
    #[arg(
        long,
        value_name = "NAME",
        default_value = "podlocal-dns-webhook-certificate",
        value_parser = by(value::domain),
    )]
    pub certificate_secret: String,

    /// The MutatingWebhookConfiguration of the webhook, which gets the CA
    #[arg(long, value_name = "NAME", default_value = WEBHOOK, value_parser = by(value::domain))]
    pub webhook_configuration: String,

    /// The kubeconfig for the API server [default: the service account]
    #[arg(long, value_name = "FILE")]
    pub(crate) kubeconfig: Option<PathBuf>,

    /// The flag of the log.
    #[command(flatten)]
    pub log: LogFlag,
}

/// The flags of `inject`.
#[derive(Debug, Args)]
pub struct Inject {
    /// Documents, YAML or JSON; - is standard input; repeatable
    #[arg(short, long = "file", value_name = "FILE", value_delimiter = ',', required = true)]
    pub(crate) files: Vec<PathBuf>,

    /// The namespace of documents without one
    #[arg(short, long, value_name = "NAME", default_value = "default", value_parser = by(value::namespace))]
    pub(crate) namespace: String,

    /// The format of the output; in json, several documents become a List
    #[arg(short, long, value_name = "FORMAT", default_value = "yaml")]
    pub(crate) output: Output,

    #[command(flatten)]
    pub(crate) common: Common,
}

/// The flags of `check`.
#[derive(Debug, Args)]
#[allow(clippy::struct_excessive_bools, reason = "each is the flag of that name")]
pub struct Check {
    /// Documents, YAML or JSON, instead of a cluster; - is standard input; repeatable
    #[arg(short, long = "file", value_name = "FILE", value_delimiter = ',')]
    pub(crate) files: Vec<PathBuf>,

    /// The namespace of documents without one [default: default]; the only namespace of a cluster
    #[arg(short, long, value_name = "NAME", value_parser = by(value::namespace))]
    pub(crate) namespace: Option<String>,

    /// The kubeconfig for the API server [default: KUBECONFIG]
    #[arg(long, value_name = "FILE", conflicts_with = "files")]
    pub(crate) kubeconfig: Option<PathBuf>,

    /// The context of the kubeconfig [default: its current one]
    #[arg(long, value_name = "NAME", conflicts_with = "files")]
    pub(crate) context: Option<String>,

    /// The MutatingWebhookConfiguration of the webhook
    #[arg(
        long,
        value_name = "NAME",
        default_value = WEBHOOK,
        conflicts_with = "files",
        value_parser = by(value::domain),
    )]
    pub(crate) webhook_configuration: String,

    /// Report as if every namespace were opted in
    #[arg(long, overrides_with = "as_if_enabled")]
    pub(crate) as_if_enabled: bool,

    /// For a cluster, list also workloads that are not opted in
    #[arg(long, overrides_with = "all")]
    pub(crate) all: bool,

    /// Show every change of every workload, line by line
    #[arg(long, overrides_with = "verbose")]
    pub(crate) verbose: bool,

    /// The number of outside names that a pod looks up when it starts
    #[arg(long, value_name = "COUNT", default_value = "3", value_parser = by(count))]
    pub(crate) names: u32,

    /// Exit with 3 if something is not as requested
    #[arg(long, overrides_with = "strict")]
    pub strict: bool,

    /// Print the report as JSON
    #[arg(long, overrides_with = "json")]
    pub json: bool,

    #[command(flatten)]
    pub(crate) common: Common,
}

/// The output format of documents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[allow(missing_docs, reason = "the names of the formats")]
pub(crate) enum Output {
    Yaml,
    Json,
}

impl Arguments {
    /// The command, with the cluster-wide defaults of the settings of pods.
    pub(super) fn into_command(self, defaults: Defaults) -> Command {
        let mut command = self.command.unwrap_or_else(|| Command::Serve(Box::new(self.serve)));
        match &mut command {
            Command::Serve(serve) => serve.common.defaults = defaults,
            Command::Inject(inject) => inject.common.defaults = defaults,
            Command::Check(check) => check.common.defaults = defaults,
            Command::CertController(_) => {}
        }
        command
    }
}

impl Serve {
    /// The certificate and its key in PEM files; `None`: a self-made certificate.
    pub fn tls_files(&self) -> Option<(PathBuf, PathBuf)> {
        self.tls_cert.clone().zip(self.tls_key.clone())
    }

    /// The CA for client certificates; `None`: every client is accepted.
    pub(crate) fn client_ca(&self) -> Option<ClientCa> {
        let file = self.client_ca_file.clone()?;
        Some(ClientCa { file, names: self.client_allowed_names.clone() })
    }
}
