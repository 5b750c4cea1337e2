//! Parses the webhook's own settings from flags. All errors are reported together.

use std::ffi::OsString;
use std::fmt;
use std::path::Path;

use lexopt::{Arg, Parser};
use podlocal_settings::program::{self, Length, did_you_mean};
use podlocal_settings::read::SettingError;
use podlocal_settings::table;
use podlocal_settings::value::{self, DomainName, LogLevel};

use crate::certificates::client_ca::ClientCa;
use crate::flags::{self, word};
use crate::review::annotations::Defaults;
use crate::review::cluster_state::ClusterFlags;

mod command;
mod flag_values;
mod settings_file;

pub(crate) use command::Output;
pub use command::{CertController, Check, Command, Common, Inject, Serve};

use flag_values::{FlagValues, address, count, host, path};

/// All errors in the arguments, one line each.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct ArgumentErrors(Vec<String>);

impl fmt::Display for ArgumentErrors {
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
) -> Result<Command, ArgumentErrors> {
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
    if given.errors.is_empty() { Ok(parsed) } else { Err(ArgumentErrors(given.errors)) }
}

impl FlagValues {
    fn common(&mut self, read_file: &impl Fn(&Path) -> std::io::Result<String>) -> Common {
        let defaults = self.value("settings", path).map(|file| self.defaults(&file, read_file));
        Common {
            image: self.value("sidecar-image", value::image).unwrap_or_else(Common::own_image),
            cluster: ClusterFlags {
                dns: self.values("cluster-dns", value::addresses).into_iter().flatten().collect(),
                domain: self.value(table::CLUSTER_DOMAIN.name, DomainName::parse),
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
