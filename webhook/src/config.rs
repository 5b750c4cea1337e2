//! The webhook's own settings, from flags. Every mistake is reported at once.

use std::ffi::OsString;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use lexopt::{Arg, Parser};
use podlocal_settings::program::Length;
use podlocal_settings::table;
use podlocal_settings::value::{self, LogLevel};

use crate::annotations::Defaults;
use crate::cluster::ClusterFlags;
use crate::flags::{self, Takers};
use crate::settings_file;

mod taker;

use taker::{Taker, address, host, path};

/// What the program is asked to do.
#[derive(Debug)]
pub enum Command {
    /// Print how to use the program: what is used most, or everything.
    Help(Length),
    /// Print the version.
    Version,
    /// Answer admission reviews.
    Serve(Box<Serve>),
    /// Inject documents on disk.
    Inject(Box<Inject>),
}

/// The settings of `serve`.
#[derive(Debug)]
pub struct Serve {
    /// What both commands take.
    pub common: Common,
    /// Where reviews are served over TLS; `None`: port 8443 of every address.
    pub listen: Option<SocketAddr>,
    /// Where `/livez`, `/readyz` and `/metrics` are served; `None`: port 8080 of every address.
    pub admin_listen: Option<SocketAddr>,
    /// The certificate and its key in PEM files; `None`: one of our own.
    pub tls_files: Option<(PathBuf, PathBuf)>,
    /// Where the CA certificate of our own certificate is written.
    pub ca_out: Option<PathBuf>,
    /// The names and IP addresses in our own certificate.
    pub dns_names: Vec<String>,
    /// The Secret that holds our own certificate.
    pub certificate_secret: String,
    /// The MutatingWebhookConfiguration that trusts it.
    pub webhook_configuration: String,
    /// How to reach the API server; `None`: with the service account, in a pod; not at all elsewhere.
    pub kubeconfig: Option<PathBuf>,
    /// How long reviews are still taken after the first signal.
    pub shutdown_delay: std::time::Duration,
}

/// The settings of `inject`.
#[derive(Debug)]
pub struct Inject {
    /// What both commands take.
    pub common: Common,
    /// The files; `-` is standard input.
    pub files: Vec<PathBuf>,
    /// The namespace of documents that name none.
    pub namespace: String,
    /// How they are printed.
    pub output: Output,
}

/// How documents are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names of the formats")]
pub enum Output {
    Yaml,
    Json,
}

/// What both commands take.
#[derive(Debug)]
pub struct Common {
    /// The sidecar's image.
    pub image: String,
    /// What is said about the cluster.
    pub cluster: ClusterFlags,
    /// The file that tells what the flags do not.
    pub resolv_conf: PathBuf,
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
        write!(formatter, "bad settings; --help tells what there is\n  {}", self.0.join("\n  "))
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
            Ok(Some(Arg::Short('h'))) => return Ok(Command::Help(Length::Brief)),
            Ok(Some(Arg::Long("help"))) => return Ok(Command::Help(Length::Whole)),
            Ok(Some(Arg::Short('V') | Arg::Long("version"))) => return Ok(Command::Version),
            Ok(Some(Arg::Short(letter))) => match flags::by_letter(letter) {
                Some(flag) => taker.take(flag.name, &mut parser),
                None => taker.mistakes.push(format!("-{letter}: there is no such flag")),
            },
            Ok(Some(Arg::Long(name))) => {
                let name = name.to_owned();
                taker.take(&name, &mut parser);
            }
            Ok(Some(Arg::Value(word))) if command.is_none() && (word == "serve" || word == "inject") => {
                command = Some(if word == "inject" { Takers::Inject } else { Takers::Serve });
            }
            Ok(Some(argument)) => taker.mistakes.push(argument.unexpected().to_string()),
            Err(error) => taker.mistakes.push(error.to_string()),
        }
    }
    let command = command.unwrap_or(Takers::Serve);
    taker.refuse_others_than(command);
    let common = taker.common(&read_file);
    let parsed = match command {
        Takers::Inject => Command::Inject(Box::new(taker.inject(common))),
        _ => Command::Serve(Box::new(taker.serve(common))),
    };
    if taker.mistakes.is_empty() { Ok(parsed) } else { Err(Mistakes(taker.mistakes)) }
}

impl Taker {
    fn common(&mut self, read_file: &impl Fn(&Path) -> std::io::Result<String>) -> Common {
        let own_image = || format!("ghcr.io/podlocal-dns/sidecar:{}", env!("CARGO_PKG_VERSION"));
        let defaults = self.one("settings", path).map(|file| self.defaults(&file, read_file));
        Common {
            image: self.one("sidecar-image", value::image).unwrap_or_else(own_image),
            cluster: ClusterFlags {
                dns: self.many("cluster-dns", value::addresses).into_iter().flatten().collect(),
                domain: self.one("cluster-domain", value::domain),
                extra_search: self.many("extra-search", value::domain),
                shared_tier: self
                    .many(table::SHARED_TIER.name, value::addresses)
                    .into_iter()
                    .flatten()
                    .collect(),
            },
            resolv_conf: self.one("resolv-conf", path).unwrap_or_else(|| "/etc/resolv.conf".into()),
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
                self.mistakes.push("--tls-cert and --tls-key: expected both or none".to_owned());
                None
            }
        };
        let mut dns_names = self.many("dns-names", host);
        if dns_names.is_empty() {
            dns_names.push("podlocal-dns-webhook.podlocal-dns.svc".to_owned());
        }
        Serve {
            common,
            listen: self.one("listen", address),
            admin_listen: self.one("admin-listen", address),
            tls_files,
            ca_out: self.one("ca-out", path),
            dns_names,
            certificate_secret: self
                .one("certificate-secret", value::domain)
                .unwrap_or_else(|| "podlocal-dns-webhook-certificate".to_owned()),
            webhook_configuration: self
                .one("webhook-configuration", value::domain)
                .unwrap_or_else(|| "podlocal-dns-webhook".to_owned()),
            kubeconfig: self.one("kubeconfig", path),
            shutdown_delay: self.one("shutdown-delay", value::duration).unwrap_or_default(),
        }
    }

    fn inject(&mut self, common: Common) -> Inject {
        let files = self.many("file", path);
        if files.is_empty() {
            self.mistakes.push("--file: expected at least one; - is standard input".to_owned());
        }
        let namespace = self.one("namespace", value::namespace).unwrap_or_else(|| "default".to_owned());
        let output = self.one("output", |text| match text {
            "yaml" => Ok(Output::Yaml),
            "json" => Ok(Output::Json),
            _ => Err("yaml or json".to_owned()),
        });
        Inject { common, files, namespace, output: output.unwrap_or(Output::Yaml) }
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
mod tests {
    use super::*;

    fn parsed(arguments: &[&str], file: &str) -> Result<Command, Mistakes> {
        parse(arguments.iter().map(OsString::from), |_| Ok(file.to_owned()))
    }

    fn served(arguments: &[&str], file: &str) -> Serve {
        match parsed(arguments, file) {
            Ok(Command::Serve(serve)) => *serve,
            other => panic!("expected serve, got {other:?}"),
        }
    }

    #[test]
    fn serve_is_the_default_command_and_needs_no_flag() {
        let serve = served(&[], "");
        assert_eq!(serve.dns_names, ["podlocal-dns-webhook.podlocal-dns.svc"]);
        assert_eq!(serve.common.image, format!("ghcr.io/podlocal-dns/sidecar:{}", env!("CARGO_PKG_VERSION")));
    }

    #[test]
    fn repeatable_flags_add_up_and_commas_list() {
        let arguments = ["serve", "--cluster-dns", "10.0.0.1,10.0.0.2", "--cluster-dns=[fd00::a]:5353"];
        let dns: Vec<_> = served(&arguments, "").common.cluster.dns.iter().map(ToString::to_string).collect();
        assert_eq!(dns, ["10.0.0.1:53", "10.0.0.2:53", "[fd00::a]:5353"]);
        let tier = format!("--{}=10.96.0.53,10.96.0.54:5353", table::SHARED_TIER.name);
        let tier = served(&[&tier], "").common.cluster.shared_tier;
        assert_eq!(crate::dns::addresses(&tier), "10.96.0.53,10.96.0.54:5353");
    }

    #[test]
    fn every_mistake_is_in_one_message() {
        let arguments = [
            "serve",
            "--listen",
            "here",
            "--lisen=1",
            "--tls-cert",
            "a.pem",
            "--namespace",
            "x",
            "extra",
            "--settings",
            "s.yaml",
            "--cluster-domain",
            "a_b",
            "--ca-out",
            "a",
            "--ca-out",
            "b",
            "--cluster-dns",
        ];
        let message = parsed(&arguments, "ndots: many\nzone: a.b\n").expect_err("mistakes").to_string();
        for part in [
            "--listen: \"here\": expected an address",
            "--lisen: there is no such flag",
            "--tls-cert and --tls-key",
            "--namespace: not a flag of this command",
            "unexpected argument \"extra\"",
            "s.yaml: ndots: \"many\": expected a whole number",
            "s.yaml: zone: \"a.b\": expected the name of a setting",
            "--cluster-domain: \"a_b\": expected a domain name",
            "--ca-out: \"b\": expected only once",
            "--cluster-dns: missing argument",
        ] {
            assert!(message.contains(part), "{part} is not in {message}");
        }
        assert_eq!(message.lines().count(), 11, "{message}");
    }

    #[test]
    fn inject_needs_a_file() {
        assert!(parsed(&["inject"], "").is_err());
        assert!(parsed(&["inject", "-f", "-", "--namespace", "a.b"], "").is_err());
        assert!(matches!(parsed(&["inject", "-f", "-", "-f", "a"], ""), Ok(Command::Inject(_))));
    }
}
