//! The webhook's own settings, from flags. Every mistake is reported at once.

use std::ffi::OsString;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use lexopt::{Arg, Parser};
use podlocal_settings::program::{self, Length, did_you_mean};
use podlocal_settings::read::SettingError;
use podlocal_settings::table;
use podlocal_settings::value::{self, LogLevel};

use crate::annotations::Defaults;
use crate::client_ca::ClientCa;
use crate::cluster::ClusterFlags;
use crate::flags::{self, word};
use crate::settings_file;

mod taker;

use taker::{Taker, address, count, host, path};

/// The resolv.conf that is read where none is named.
const RESOLV_CONF: &str = "/etc/resolv.conf";

/// What the program is asked to do.
#[derive(Debug)]
pub enum Command {
    /// Print how to use the program, or that command: what is used most, or everything.
    Help(Option<&'static program::Command>, Length),
    /// Print the version.
    Version,
    /// Answer admission reviews.
    Serve(Box<Serve>),
    /// Keep the certificate.
    CertController(Box<CertController>),
    /// Inject documents on disk.
    Inject(Box<Inject>),
    /// Say what would be done, and why.
    Check(Box<Check>),
}

/// The settings of `serve`.
#[derive(Debug)]
pub struct Serve {
    /// What every command takes.
    pub common: Common,
    /// Where reviews are served over TLS; `None`: port 8443 of every address.
    pub listen: Option<SocketAddr>,
    /// Where `/livez`, `/readyz` and `/metrics` are served; `None`: port 8080 of every address.
    pub admin_listen: Option<SocketAddr>,
    /// The certificate and its key in PEM files; `None`: one of our own.
    pub tls_files: Option<(PathBuf, PathBuf)>,
    /// Whose client certificates are accepted; `None`: anyone may call.
    pub client_ca: Option<ClientCa>,
    /// Where the CA certificate of our own certificate is written.
    pub ca_out: Option<PathBuf>,
    /// The names and IP addresses in our own certificate.
    pub dns_names: Vec<String>,
    /// How to reach the API server; `None`: with the service account, in a pod; not at all elsewhere.
    pub kubeconfig: Option<PathBuf>,
    /// How long reviews are still taken after the first signal.
    pub shutdown_delay: std::time::Duration,
}

/// The settings of `cert-controller`.
#[derive(Debug)]
pub struct CertController {
    /// Where `/livez` and `/readyz` are served; `None`: port 8080 of every address.
    pub admin_listen: Option<SocketAddr>,
    /// The names and IP addresses in the certificate.
    pub dns_names: Vec<String>,
    /// The Secret that keeps it.
    pub certificate_secret: String,
    /// The MutatingWebhookConfiguration that trusts it.
    pub webhook_configuration: String,
    /// How to reach the API server; `None`: with the service account.
    pub kubeconfig: Option<PathBuf>,
    /// What is logged.
    pub log_level: LogLevel,
}

/// The settings of `inject`.
#[derive(Debug)]
pub struct Inject {
    /// What every command takes.
    pub common: Common,
    /// The files; `-` is standard input.
    pub files: Vec<PathBuf>,
    /// The namespace of documents that name none.
    pub namespace: String,
    /// How they are printed.
    pub output: Output,
}

/// The settings of `check`.
#[derive(Debug)]
#[allow(clippy::struct_excessive_bools, reason = "each is the flag of that name")]
pub struct Check {
    /// What every command takes.
    pub common: Common,
    /// The documents to look at; none: a cluster.
    pub files: Vec<PathBuf>,
    /// Of a cluster the only namespace that is looked at, of documents that of those that name none.
    pub namespace: Option<String>,
    /// How to reach the API server; `None`: as kubectl does.
    pub kubeconfig: Option<PathBuf>,
    /// The context of the kubeconfig; `None`: its current one.
    pub context: Option<String>,
    /// The MutatingWebhookConfiguration that sends pods to the webhook.
    pub webhook_configuration: String,
    /// Whether every namespace counts as opted in.
    pub as_if_enabled: bool,
    /// Whether workloads are listed that are not opted in.
    pub all: bool,
    /// Whether every change is shown.
    pub verbose: bool,
    /// How many outside names a pod looks up when it starts.
    pub names: u32,
    /// Whether what is not as it was asked for makes an exit code.
    pub strict: bool,
    /// Whether JSON is printed.
    pub json: bool,
}

/// How documents are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names of the formats")]
pub enum Output {
    Yaml,
    Json,
}

/// What every command takes.
#[derive(Debug)]
pub struct Common {
    /// The sidecar's image.
    pub image: String,
    /// What is said about the cluster.
    pub cluster: ClusterFlags,
    /// The file that was named to tell what the flags do not.
    pub resolv_conf: Option<PathBuf>,
    /// The cluster-wide defaults of the pods' settings.
    pub defaults: Defaults,
    /// What is logged.
    pub log_level: LogLevel,
}

/// Everything that is wrong with the arguments, a line each.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Mistakes(Vec<String>);

impl fmt::Display for Mistakes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "invalid arguments or settings; --help lists all of them\n  {}", self.0.join("\n  "))
    }
}

/// Reads the arguments, without the program's name. `read_file` reads the file of `--settings`.
pub fn parse(
    arguments: impl IntoIterator<Item = OsString>,
    read_file: impl Fn(&Path) -> std::io::Result<String>,
) -> Result<Command, Mistakes> {
    let mut parser = Parser::from_args(arguments);
    let mut taker = Taker::default();
    let mut command = None;
    loop {
        match parser.next() {
            Ok(None) => break,
            Ok(Some(Arg::Short('h'))) => return Ok(Command::Help(command, Length::Brief)),
            Ok(Some(Arg::Long("help"))) => return Ok(Command::Help(command, Length::Whole)),
            Ok(Some(Arg::Short('V') | Arg::Long("version"))) => return Ok(Command::Version),
            Ok(Some(Arg::Short(letter))) => match flags::by_letter(letter) {
                Some(flag) => taker.take(flag.name, &mut parser),
                None => taker.mistakes.push(format!("unknown flag -{letter}")),
            },
            Ok(Some(Arg::Long(name))) => {
                let name = name.to_owned();
                taker.take(&name, &mut parser);
            }
            Ok(Some(Arg::Value(text))) if command.is_none() => {
                let text = text.to_string_lossy();
                command = program::find(flags::COMMANDS, &text);
                if command.is_none() {
                    let meant = did_you_mean(&text, "", flags::COMMANDS.iter().map(|command| command.name));
                    let expected = format!("{}{meant}", program::names(flags::COMMANDS));
                    taker.mistakes.push(SettingError::new("the command", &text, expected).to_string());
                }
            }
            Ok(Some(Arg::Value(text))) => {
                // Whoever gives a file without its flag has seen kubectl or cat.
                let takes_files =
                    command.is_some_and(|command| [word::INJECT, word::CHECK].contains(&command.name));
                let text = text.to_string_lossy();
                let meant = if takes_files { format!("; did you mean -f {text}?") } else { String::new() };
                taker.mistakes.push(format!("unexpected argument {text:?}{meant}"));
            }
            Err(error) => taker.mistakes.push(error.to_string()),
        }
    }
    let command = command.map_or(word::SERVE, |command| command.name);
    taker.refuse_others_than(command);
    let common = taker.common(&read_file);
    let parsed = match command {
        word::CERT_CONTROLLER => Command::CertController(Box::new(taker.cert_controller(common.log_level))),
        word::INJECT => Command::Inject(Box::new(taker.inject(common))),
        word::CHECK => Command::Check(Box::new(taker.check(common))),
        _ => Command::Serve(Box::new(taker.serve(common))),
    };
    if taker.mistakes.is_empty() { Ok(parsed) } else { Err(Mistakes(taker.mistakes)) }
}

impl Common {
    /// The sidecar's image where none is given: the one of our own version.
    pub fn own_image() -> String {
        format!("ghcr.io/podlocal-dns/sidecar:{}", env!("CARGO_PKG_VERSION"))
    }

    /// The text that tells what the flags do not: our own `resolv.conf`, which need not be there, or the file
    /// that was named.
    ///
    /// # Errors
    /// A sentence, when the named file cannot be read; the flags may say it all without it.
    pub fn resolv_conf(&self) -> Result<String, String> {
        match &self.resolv_conf {
            None => Ok(std::fs::read_to_string(RESOLV_CONF).unwrap_or_default()),
            Some(file) => std::fs::read_to_string(file)
                .map_err(|error| format!("cannot read --resolv-conf {}: {error}; continuing without it", file.display())),
        }
    }
}

impl Taker {
    fn common(&mut self, read_file: &impl Fn(&Path) -> std::io::Result<String>) -> Common {
        let defaults = self.one("settings", path).map(|file| self.defaults(&file, read_file));
        Common {
            image: self.one("sidecar-image", value::image).unwrap_or_else(Common::own_image),
            cluster: ClusterFlags {
                dns: self.many("cluster-dns", value::addresses).into_iter().flatten().collect(),
                domain: self.one("cluster-domain", value::domain),
                extra_search: self.many("extra-search", value::search_domain),
                shared_tier: self
                    .many(table::SHARED_TIER.name, value::addresses)
                    .into_iter()
                    .flatten()
                    .collect(),
            },
            resolv_conf: self.one("resolv-conf", path),
            defaults: defaults.unwrap_or_default(),
            log_level: self.one(table::LOG_LEVEL.name, LogLevel::parse).unwrap_or(LogLevel::Info),
        }
    }

    fn serve(&mut self, common: Common) -> Serve {
        let certificate = self.one("tls-cert", path);
        let key = self.one("tls-key", path);
        let tls_files = match (certificate, key) {
            (Some(certificate), Some(key)) => Some((certificate, key)),
            (None, None) => None,
            _ => {
                self.mistakes.push("--tls-cert and --tls-key must be set together".to_owned());
                None
            }
        };
        Serve {
            common,
            listen: self.one("listen", address),
            admin_listen: self.one("admin-listen", address),
            tls_files,
            client_ca: self.client_ca(),
            ca_out: self.one("ca-out", path),
            dns_names: self.dns_names(),
            kubeconfig: self.one("kubeconfig", path),
            shutdown_delay: self.one("shutdown-delay", value::duration).unwrap_or_default(),
        }
    }

    fn cert_controller(&mut self, log_level: LogLevel) -> CertController {
        CertController {
            admin_listen: self.one("admin-listen", address),
            dns_names: self.dns_names(),
            certificate_secret: self
                .one("certificate-secret", value::domain)
                .unwrap_or_else(|| "podlocal-dns-webhook-certificate".to_owned()),
            webhook_configuration: self.webhook_configuration(),
            kubeconfig: self.one("kubeconfig", path),
            log_level,
        }
    }

    fn dns_names(&mut self) -> Vec<String> {
        let names = self.many("dns-names", host);
        if names.is_empty() { vec!["podlocal-dns-webhook.podlocal-dns.svc".to_owned()] } else { names }
    }

    /// The authority of clients, in a file that is read when `serve` starts.
    fn client_ca(&mut self) -> Option<ClientCa> {
        let names = self.many("client-allowed-names", value::domain);
        let file = self.one("client-ca-file", path);
        if file.is_none() && self.has("client-allowed-names") {
            self.mistakes.push("--client-allowed-names needs --client-ca-file".to_owned());
        }
        Some(ClientCa { file: file?, names })
    }

    fn inject(&mut self, common: Common) -> Inject {
        let files = self.many("file", path);
        if files.is_empty() {
            self.mistakes.push("--file is required at least once; - is standard input".to_owned());
        }
        let namespace = self.one("namespace", value::namespace).unwrap_or_else(|| "default".to_owned());
        let output = self.one("output", |text| match text {
            "yaml" => Ok(Output::Yaml),
            "json" => Ok(Output::Json),
            _ => Err("yaml or json".to_owned()),
        });
        Inject { common, files, namespace, output: output.unwrap_or(Output::Yaml) }
    }

    fn check(&mut self, common: Common) -> Check {
        let files = self.many("file", path);
        for name in ["kubeconfig", "context", "webhook-configuration"] {
            if !files.is_empty() && self.has(name) {
                self.mistakes
                    .push(format!("--{name} needs a cluster and cannot be combined with --file"));
            }
        }
        Check {
            common,
            files,
            namespace: self.one("namespace", value::namespace),
            kubeconfig: self.one("kubeconfig", path),
            context: self.one("context", |text| Ok(text.to_owned())),
            webhook_configuration: self.webhook_configuration(),
            as_if_enabled: self.has("as-if-enabled"),
            all: self.has("all"),
            verbose: self.has("verbose"),
            names: self.one("names", count).unwrap_or(3),
            strict: self.has("strict"),
            json: self.has("json"),
        }
    }

    fn webhook_configuration(&mut self) -> String {
        let given = self.one("webhook-configuration", value::domain);
        given.unwrap_or_else(|| "podlocal-dns-webhook".to_owned())
    }

    /// The cluster-wide defaults. Here a bad value is an error: the operator is looking.
    fn defaults(&mut self, file: &Path, read_file: &impl Fn(&Path) -> std::io::Result<String>) -> Defaults {
        match settings_file::read(file, read_file) {
            Ok((defaults, mistakes)) => {
                self.mistakes.extend(mistakes);
                defaults
            }
            Err(mistake) => {
                self.mistakes.push(mistake);
                Defaults::new()
            }
        }
    }
}

#[cfg(test)]
mod tests;
