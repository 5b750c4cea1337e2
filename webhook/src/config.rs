//! Parses the webhook's own settings from flags. All errors are reported together.

use std::ffi::OsString;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use lexopt::{Arg, Parser};
use podlocal_settings::program::{self, Length, did_you_mean};
use podlocal_settings::read::SettingError;
use podlocal_settings::table;
use podlocal_settings::value::{self, LogLevel};

use crate::certificates::client_ca::ClientCa;
use crate::flags::{self, word};
use crate::review::annotations::Defaults;
use crate::review::cluster_state::ClusterFlags;

mod flag_values;
mod settings_file;

use flag_values::{FlagValues, address, count, host, path};

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

/// All errors in the arguments, one line each.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Mistakes(Vec<String>);

impl fmt::Display for Mistakes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "invalid arguments or settings; --help lists all of them\n  {}",
            self.0.join("\n  ")
        )
    }
}

/// Parses the arguments without the program name. `read_file` reads the file of `--settings`.
pub fn parse(
    arguments: impl IntoIterator<Item = OsString>,
    read_file: impl Fn(&Path) -> std::io::Result<String>,
) -> Result<Command, Mistakes> {
    let mut parser = Parser::from_args(arguments);
    let mut given = FlagValues::default();
    let mut command = None;
    loop {
        match parser.next() {
            Ok(None) => break,
            Ok(Some(Arg::Short('h'))) => return Ok(Command::Help(command, Length::Brief)),
            Ok(Some(Arg::Long("help"))) => return Ok(Command::Help(command, Length::Whole)),
            Ok(Some(Arg::Short('V') | Arg::Long("version"))) => return Ok(Command::Version),
            Ok(Some(Arg::Short(letter))) => match flags::by_letter(letter) {
                Some(flag) => given.read(flag.name, &mut parser),
                None => given.errors.push(format!("unknown flag -{letter}")),
            },
            Ok(Some(Arg::Long(name))) => {
                let name = name.to_owned();
                given.read(&name, &mut parser);
            }
            Ok(Some(Arg::Value(text))) if command.is_none() => {
                let text = text.to_string_lossy();
                command = program::find(flags::COMMANDS, &text);
                if command.is_none() {
                    let meant = did_you_mean(&text, "", flags::COMMANDS.iter().map(|command| command.name));
                    let expected = format!("{}{meant}", program::names(flags::COMMANDS));
                    given.errors.push(SettingError::new("the command", &text, expected).to_string());
                }
            }
            Ok(Some(Arg::Value(text))) => {
                // Users of kubectl or cat may pass a file without its flag.
                let takes_files =
                    command.is_some_and(|command| [word::INJECT, word::CHECK].contains(&command.name));
                let text = text.to_string_lossy();
                let meant = if takes_files { format!("; did you mean -f {text}?") } else { String::new() };
                given.errors.push(format!("unexpected argument {text:?}{meant}"));
            }
            Err(error) => given.errors.push(error.to_string()),
        }
    }
    let command = command.map_or(word::SERVE, |command| command.name);
    given.reject_flags_of_other_commands(command);
    let common = given.common(&read_file);
    let parsed = match command {
        word::CERT_CONTROLLER => Command::CertController(Box::new(given.cert_controller(common.log_level))),
        word::INJECT => Command::Inject(Box::new(given.inject(common))),
        word::CHECK => Command::Check(Box::new(given.check(common))),
        _ => Command::Serve(Box::new(given.serve(common))),
    };
    if given.errors.is_empty() { Ok(parsed) } else { Err(Mistakes(given.errors)) }
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

impl FlagValues {
    fn common(&mut self, read_file: &impl Fn(&Path) -> std::io::Result<String>) -> Common {
        let defaults = self.value("settings", path).map(|file| self.defaults(&file, read_file));
        Common {
            image: self.value("sidecar-image", value::image).unwrap_or_else(Common::own_image),
            cluster: ClusterFlags {
                dns: self.values("cluster-dns", value::addresses).into_iter().flatten().collect(),
                domain: self.value(table::CLUSTER_DOMAIN.name, value::domain),
                extra_search: self.values("extra-search", value::search_domain),
                shared_tier: self
                    .values(table::SHARED_TIER.name, value::addresses)
                    .into_iter()
                    .flatten()
                    .collect(),
            },
            resolv_conf: self.value("resolv-conf", path),
            defaults: defaults.unwrap_or_default(),
            log_level: self.value(table::LOG_LEVEL.name, LogLevel::parse).unwrap_or(LogLevel::Info),
        }
    }

    fn serve(&mut self, common: Common) -> Serve {
        let certificate = self.value("tls-cert", path);
        let key = self.value("tls-key", path);
        let tls_files = match (certificate, key) {
            (Some(certificate), Some(key)) => Some((certificate, key)),
            (None, None) => None,
            _ => {
                self.errors.push("--tls-cert and --tls-key must be set together".to_owned());
                None
            }
        };
        Serve {
            common,
            listen: self.value("listen", address),
            admin_listen: self.value("admin-listen", address),
            tls_files,
            client_ca: self.client_ca(),
            ca_out: self.value("ca-out", path),
            dns_names: self.dns_names(),
            kubeconfig: self.value("kubeconfig", path),
            shutdown_delay: self.value("shutdown-delay", value::duration).unwrap_or_default(),
        }
    }

    fn cert_controller(&mut self, log_level: LogLevel) -> CertController {
        CertController {
            admin_listen: self.value("admin-listen", address),
            dns_names: self.dns_names(),
            certificate_secret: self
                .value("certificate-secret", value::domain)
                .unwrap_or_else(|| "podlocal-dns-webhook-certificate".to_owned()),
            webhook_configuration: self.webhook_configuration(),
            kubeconfig: self.value("kubeconfig", path),
            log_level,
        }
    }

    fn dns_names(&mut self) -> Vec<String> {
        let names = self.values("dns-names", host);
        if names.is_empty() { vec!["podlocal-dns-webhook.podlocal-dns.svc".to_owned()] } else { names }
    }

    /// The client CA; its file is read when `serve` starts.
    fn client_ca(&mut self) -> Option<ClientCa> {
        let names = self.values("client-allowed-names", value::domain);
        let file = self.value("client-ca-file", path);
        if file.is_none() && self.is_given("client-allowed-names") {
            self.errors.push("--client-allowed-names needs --client-ca-file".to_owned());
        }
        Some(ClientCa { file: file?, names })
    }

    fn inject(&mut self, common: Common) -> Inject {
        let files = self.values("file", path);
        if files.is_empty() {
            self.errors.push("--file is required at least once; - is standard input".to_owned());
        }
        let namespace = self.value("namespace", value::namespace).unwrap_or_else(|| "default".to_owned());
        let output = self.value("output", |text| match text {
            "yaml" => Ok(Output::Yaml),
            "json" => Ok(Output::Json),
            _ => Err("yaml or json".to_owned()),
        });
        Inject { common, files, namespace, output: output.unwrap_or(Output::Yaml) }
    }

    fn check(&mut self, common: Common) -> Check {
        let files = self.values("file", path);
        for name in ["kubeconfig", "context", "webhook-configuration"] {
            if !files.is_empty() && self.is_given(name) {
                self.errors.push(format!("--{name} needs a cluster and cannot be combined with --file"));
            }
        }
        Check {
            common,
            files,
            namespace: self.value("namespace", value::namespace),
            kubeconfig: self.value("kubeconfig", path),
            context: self.value("context", |text| Ok(text.to_owned())),
            webhook_configuration: self.webhook_configuration(),
            as_if_enabled: self.is_given("as-if-enabled"),
            all: self.is_given("all"),
            verbose: self.is_given("verbose"),
            names: self.value("names", count).unwrap_or(3),
            strict: self.is_given("strict"),
            json: self.is_given("json"),
        }
    }

    fn webhook_configuration(&mut self) -> String {
        let given = self.value("webhook-configuration", value::domain);
        given.unwrap_or_else(|| "podlocal-dns-webhook".to_owned())
    }

    /// The cluster-wide defaults. Here an invalid value is an error, because the operator sees the message.
    fn defaults(&mut self, file: &Path, read_file: &impl Fn(&Path) -> std::io::Result<String>) -> Defaults {
        match settings_file::read(file, read_file) {
            Ok((defaults, errors)) => {
                self.errors.extend(errors);
                defaults
            }
            Err(error) => {
                self.errors.push(error);
                Defaults::new()
            }
        }
    }
}

#[cfg(test)]
mod tests;
