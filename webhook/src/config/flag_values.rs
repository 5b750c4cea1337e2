//! Parses the values of flags, and collects all errors.

use std::net::SocketAddr;
use std::path::PathBuf;

use lexopt::{Parser, ValueExt};
use podlocal_settings::program::{Flag, did_you_mean};
use podlocal_settings::read::SettingError;
use podlocal_settings::value::{self, Expected};

use crate::flags::FLAGS;

/// The given flags, and all errors in them.
#[derive(Default)]
pub(super) struct FlagValues {
    given: Vec<(&'static Flag, String)>,
    pub(super) errors: Vec<String>,
}

impl FlagValues {
    /// Reads the value of the flag `name`.
    pub(super) fn read(&mut self, name: &str, parser: &mut Parser) {
        let Some(flag) = FLAGS.iter().find(|flag| flag.name == name) else {
            let meant = did_you_mean(name, "--", FLAGS.iter().map(|flag| flag.name));
            self.errors.push(format!("unknown flag --{name}{meant}"));
            // So that `--flag=value` causes only one error.
            let _ = parser.optional_value();
            return;
        };
        if flag.value.is_empty() {
            // Giving a switch twice is allowed.
            match parser.optional_value() {
                None => self.given.push((flag, String::new())),
                Some(text) => {
                    self.errors.push(
                        SettingError::new(format!("--{name}"), &text.to_string_lossy(), "no value")
                            .to_string(),
                    );
                }
            }
            return;
        }
        match parser.value().and_then(ValueExt::string) {
            Ok(text) if !flag.may_repeat && self.given.iter().any(|(other, _)| other.name == name) => {
                self.errors.push(format!("--{name} {text:?}: may be given only once"));
            }
            Ok(text) => self.given.push((flag, text)),
            Err(error) => self.errors.push(format!("--{name}: {error}")),
        }
    }

    /// Reports every flag of another command as an error.
    pub(super) fn reject_flags_of_other_commands(&mut self, command: &str) {
        let others = self.given.iter().filter(|(flag, _)| !flag.is_for(command));
        let errors: Vec<_> = others
            .map(|(flag, _)| {
                let takers = flag.commands.join(" or ");
                format!("--{} is not a flag of this command, but of {takers}", flag.name)
            })
            .collect();
        self.errors.extend(errors);
    }

    /// Whether a flag without a value was given.
    pub(super) fn is_given(&self, name: &str) -> bool {
        self.given.iter().any(|(flag, _)| flag.name == name)
    }

    /// The values of a flag; invalid values become errors.
    pub(super) fn values<T>(&mut self, name: &str, parse: impl Fn(&str) -> Result<T, Expected>) -> Vec<T> {
        let mut values = Vec::new();
        for (flag, text) in self.given.iter().filter(|(flag, _)| flag.name == name) {
            let parts = if flag.may_repeat { text.split(',').collect() } else { vec![text.as_str()] };
            for part in parts {
                match parse(part.trim()) {
                    Ok(value) => values.push(value),
                    Err(expected) => {
                        let error = SettingError::new(format!("--{name}"), part, expected);
                        self.errors.push(error.to_string());
                    }
                }
            }
        }
        values
    }

    /// The value of a flag; the last one if the flag is repeatable.
    pub(super) fn value<T>(&mut self, name: &str, parse: impl Fn(&str) -> Result<T, Expected>) -> Option<T> {
        self.values(name, parse).pop()
    }
}

/// Parses a file name.
pub(super) fn path(text: &str) -> Result<PathBuf, Expected> {
    if text.is_empty() { Err("a file name".to_owned()) } else { Ok(text.into()) }
}

/// Parses an address with a port.
pub(super) fn address(text: &str) -> Result<SocketAddr, Expected> {
    text.parse().map_err(|_| "an address with its port, such as 0.0.0.0:8443 or [::]:8443".to_owned())
}

/// Parses a DNS name or an IP address for a certificate.
pub(super) fn host(text: &str) -> Result<String, Expected> {
    if text.parse::<std::net::IpAddr>().is_ok() { Ok(text.to_owned()) } else { value::domain(text) }
}

/// Parses a number of names.
pub(super) fn count(text: &str) -> Result<u32, Expected> {
    text.parse()
        .ok()
        .filter(|count| (1..=1000).contains(count))
        .ok_or_else(|| "a whole number from 1 to 1000".to_owned())
}
