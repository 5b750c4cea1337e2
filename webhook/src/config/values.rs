//! Parsers for the values of flags, as clap takes them. Their errors say what is expected.

use std::net::{IpAddr, SocketAddr};

use clap::builder::{PossibleValuesParser, TypedValueParser as _, ValueParser};
use podlocal_settings::table::LOG_LEVEL;
use podlocal_settings::value::{self, Expected, LogLevel};

/// A parser of this module or of the settings, for clap.
pub(super) fn by<T: Clone + Send + Sync + 'static>(parse: fn(&str) -> Result<T, Expected>) -> ValueParser {
    ValueParser::new(move |text: &str| parse(text.trim()).map_err(|expected| format!("expected {expected}")))
}

/// The levels of the setting with that name, which completions offer.
pub(super) fn log_level() -> ValueParser {
    let levels = PossibleValuesParser::new(LOG_LEVEL.choices().unwrap_or_default());
    ValueParser::new(levels.try_map(|text| LogLevel::parse(&text)))
}

/// One DNS server, with or without a port.
pub(super) fn server(text: &str) -> Result<SocketAddr, Expected> {
    let servers = value::addresses(text)?;
    servers.into_iter().next().ok_or_else(|| "an address".to_owned())
}

/// An address with a port.
pub(super) fn address(text: &str) -> Result<SocketAddr, Expected> {
    text.parse().map_err(|_| "an address with its port, such as 0.0.0.0:8443 or [::]:8443".to_owned())
}

/// A DNS name or an IP address for a certificate.
pub(super) fn host(text: &str) -> Result<String, Expected> {
    if text.parse::<IpAddr>().is_ok() { Ok(text.to_owned()) } else { value::domain(text) }
}

/// A number of names.
pub(super) fn count(text: &str) -> Result<u32, Expected> {
    let count = text.parse().ok().filter(|count| (1..=1000).contains(count));
    count.ok_or_else(|| "a whole number from 1 to 1000".to_owned())
}
