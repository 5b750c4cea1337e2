//! The arguments. clap parses them, and writes the help, the man page and the completions; the values are
//! checked here, so that all invalid ones are reported together.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use podlocal_dns::report::target;
use podlocal_dns::wire::{self, TYPE_A, TYPE_AAAA};
use podlocal_settings::read::{Given, Read, SettingError, read};
use podlocal_settings::table::ADMIN_PORT;

/// The name of the program.
pub const NAME: &str = "podlocal-inspect";

/// The exit code for invalid arguments (sysexits.h, EX_USAGE).
pub const USAGE_ERROR: u8 = 64;

/// Shows how the proxy of a pod resolves a name, and what it has done so far.
///
/// The program queries the running proxy over the loopback. It is in the image of the proxy, where the webhook
/// has set the variables, so `kubectl exec POD -c podlocal-dns -- /podlocal-inspect lookup NAME` needs no
/// flags.
#[derive(Debug, Parser)]
#[command(
    name = NAME,
    version,
    args_override_self = true,
    disable_help_subcommand = true,
    after_help = "Exit codes:\n  0   done\n  1   the proxy cannot be reached\n  64  invalid arguments"
)]
pub struct Arguments {
    /// The command.
    #[command(subcommand)]
    pub command: Command,

    #[arg(
        long = ADMIN_PORT.name,
        value_name = "PORT",
        global = true,
        help = format!(
            "The admin port of the proxy; the variable {} sets it, too [default: {}]",
            ADMIN_PORT.variable(),
            ADMIN_PORT.default
        )
    )]
    admin_port: Option<String>,

    /// Print a JSON document; with `stats --watch` one per line
    #[arg(long, global = true)]
    pub json: bool,
}

/// A command.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show how a name is resolved in this pod, and where the answer comes from
    ///
    /// Sends the queries of a C library to the running proxy: the name as it stands, first or last according to
    /// ndots, and the name below each domain of the search list, until one exists. Without TYPE it queries A
    /// and AAAA. The queries are real: they are counted, they fill the cache, and the proxy sends them upstream
    /// if the cache has no answer.
    #[command(args_override_self = true, after_help = LOOKUP_NOTES)]
    Lookup(LookupArguments),

    /// Show the counters and the state of the proxy on one page
    #[command(args_override_self = true, after_help = STATS_NOTES)]
    Stats(StatsArguments),
}

const LOOKUP_NOTES: &str = "\
Examples:
  # In a pod: how a Service of its namespace is resolved
  kubectl exec POD -c podlocal-dns -- /podlocal-inspect lookup db
  # Every step of a lookup, with its time
  podlocal-inspect lookup api.example.com. --trace
  # One type, as JSON
  podlocal-inspect lookup _grpc._tcp.db.prod.svc.cluster.local SRV --json

Exit codes:
  0   the name exists
  1   the proxy cannot be reached
  2   the name does not exist, or the lookup failed
  64  invalid arguments";

const STATS_NOTES: &str = "\
Examples:
  # In a pod: the counters of its sidecar, and the most frequent names
  kubectl exec POD -c podlocal-dns -- /podlocal-inspect stats --names
  # A line of JSON every two seconds
  podlocal-inspect stats --watch --json

Exit codes:
  0   done
  1   the proxy cannot be reached
  64  invalid arguments";

/// The arguments of `lookup`.
#[derive(Debug, Args)]
pub struct LookupArguments {
    /// The name, as a program would pass it to getaddrinfo(3)
    pub(crate) name: String,

    /// A record type such as SRV, TXT, PTR or TYPE65, instead of A and AAAA
    #[arg(value_name = "TYPE")]
    rtype: Option<String>,

    /// The requested record types, which [`Arguments::check`] reads from TYPE
    #[arg(skip)]
    pub(crate) rtypes: Vec<u16>,

    /// Show every step with its time: cache, rules, attempts at servers
    #[arg(long)]
    pub(crate) trace: bool,

    /// Read the search list and ndots from this file [default: /etc/resolv.conf]
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub(crate) resolv_conf: Option<PathBuf>,
}

/// The arguments of `stats`.
#[derive(Debug, Args)]
pub struct StatsArguments {
    /// Refresh the page every two seconds, until interrupted
    #[arg(long)]
    pub(crate) watch: bool,

    /// Show the most frequent names; the proxy counts them from the first request until ten minutes after the
    /// last
    #[arg(long)]
    pub(crate) names: bool,
}

impl Arguments {
    /// Checks the values, and returns the admin port. `variable` is that of the admin port; the flag wins.
    ///
    /// # Errors
    /// Every invalid value.
    pub fn check(&mut self, variable: Option<&str>) -> Result<u16, Vec<SettingError>> {
        let (admin_port, mut errors) = check_port(self.admin_port.take(), variable);
        if let Command::Lookup(arguments) = &mut self.command {
            arguments.check(&mut errors);
        }
        if errors.is_empty() { Ok(admin_port) } else { Err(errors) }
    }
}

/// Parses the admin port with the reader of the settings, so that both programs accept the same values.
fn check_port(flag: Option<String>, variable: Option<&str>) -> (u16, Vec<SettingError>) {
    let flag = flag.map(|text| Given { origin: ADMIN_PORT.flag(), text });
    let variable = variable.map(|text| Given { origin: ADMIN_PORT.variable(), text: text.to_owned() });
    let given: Vec<_> = flag.into_iter().chain(variable).collect();
    let Read { settings, errors, .. } =
        read(|setting| if setting.name == ADMIN_PORT.name { given.clone() } else { Vec::new() });
    (settings.admin_port, errors)
}

impl LookupArguments {
    fn check(&mut self, errors: &mut Vec<SettingError>) {
        if let Some(expected) = expected_name(&self.name) {
            errors.push(SettingError::new("NAME", &self.name, expected));
        }
        self.rtypes = match &self.rtype {
            None => vec![TYPE_A, TYPE_AAAA],
            Some(text) => Vec::from_iter(target::rtype_from_text(text)),
        };
        if let (Some(text), []) = (&self.rtype, self.rtypes.as_slice()) {
            let expected = "a record type such as A, AAAA, SRV, TXT, PTR or TYPE65";
            errors.push(SettingError::new("TYPE", text, expected));
        }
    }
}

/// The expectation in the error about a name that cannot be looked up.
fn expected_name(name: &str) -> Option<String> {
    if let Ok(address) = name.parse::<IpAddr>() {
        return Some(format!(
            "a name, because programs do not query DNS for an address. For the name of this address: lookup {} PTR",
            reverse_name(address)
        ));
    }
    if name.is_empty() {
        return Some("the name to look up, such as api.example.com".to_owned());
    }
    if !name.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Some(
            "ASCII characters without spaces; for an internationalized name, its xn-- form".to_owned(),
        );
    }
    wire::name_from_text(name).is_none().then(|| {
        "labels of 1 to 63 characters, separated by dots, with at most 253 characters in total".to_owned()
    })
}

/// The owner name of the PTR record of an address (RFC 1035 section 3.5, RFC 3596 section 2.5).
fn reverse_name(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => {
            let octets: Vec<_> = address.octets().iter().rev().map(ToString::to_string).collect();
            format!("{}.in-addr.arpa.", octets.join("."))
        }
        IpAddr::V6(address) => {
            let nibbles = address.octets().into_iter().rev().flat_map(|octet| [octet & 0xf, octet >> 4]);
            let nibbles: Vec<_> = nibbles.map(|nibble| format!("{nibble:x}")).collect();
            format!("{}.ip6.arpa.", nibbles.join("."))
        }
    }
}

#[cfg(test)]
mod tests;
