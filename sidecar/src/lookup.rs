//! `lookup`: shows how the running proxy resolves a name for a program in this pod.
//!
//! ```text
//!   /stats of the proxy    its version, and its search list in case resolv.conf names another server
//!   resolv.conf            search list and ndots of this pod: search_config, expansion (pure)
//!   each candidate         queries for A and AAAA, as getaddrinfo does, or for TYPE, until one exists
//!   result                 as text (pure) or JSON
//! ```

use std::collections::BTreeMap;
use std::io::{IsTerminal as _, Write as _};
use std::net::IpAddr;
use std::process::ExitCode;

use podlocal_settings::Settings;
use podlocal_settings::read::SettingError;
use serde::Serialize;

use crate::cli::commands::flag;
use crate::client::{self, AdminError};
use crate::paint::Paint;
use crate::report::Report;
use crate::report::stats::Stats;
use crate::report::target;
use crate::wire::{self, TYPE_A, TYPE_AAAA};

use podlocal_dns::expansion::{self, CandidateResult};
use search_config::SearchConfig;

mod search_config;
pub mod text;

/// The arguments of `lookup`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LookupOptions {
    /// The name, as a program would pass it to getaddrinfo(3).
    pub name: String,
    /// The record types; A and AAAA if none is given.
    pub rtypes: Vec<u16>,
    /// Whether to show every step.
    pub trace: bool,
    /// Whether to print JSON.
    pub json: bool,
    /// The file to read instead of `/etc/resolv.conf`.
    pub resolv_conf: Option<String>,
}

impl LookupOptions {
    /// Parses the arguments of the command and its flags; the error has every invalid one.
    pub fn parse(
        words: &[String],
        flags: &BTreeMap<&'static str, String>,
    ) -> Result<Self, Vec<SettingError>> {
        let mut errors = Vec::new();
        let name = words.first().map_or("", String::as_str);
        if let Some(expected) = expected_name(name) {
            errors.push(SettingError::new("NAME", name, expected));
        }
        let rtypes = match words.get(1).map(|text| target::rtype_from_text(text)) {
            None => vec![TYPE_A, TYPE_AAAA],
            Some(Some(rtype)) => vec![rtype],
            Some(None) => {
                let expected = "a record type such as A, AAAA, SRV, TXT, PTR or TYPE65";
                errors.push(SettingError::new("TYPE", words.get(1).map_or("", String::as_str), expected));
                Vec::new()
            }
        };
        let options = Self {
            name: name.to_owned(),
            rtypes,
            trace: flags.contains_key(flag::TRACE),
            json: flags.contains_key(flag::JSON),
            resolv_conf: flags.get(flag::RESOLV_CONF).cloned(),
        };
        if errors.is_empty() { Ok(options) } else { Err(errors) }
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

/// The document that `lookup` prints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Document {
    /// The requested name.
    pub name: String,
    /// The requested record types.
    pub types: Vec<String>,
    /// The version of the running proxy.
    pub version: String,
    /// The search list that gave the candidates.
    pub search: Vec<String>,
    /// The `ndots` that gave the candidates.
    pub ndots: usize,
    /// Their source: a file, or the settings of the proxy.
    pub source: String,
    /// Anything unusual, as sentences.
    pub notes: Vec<String>,
    /// The candidates that were queried, in order.
    pub candidates: Vec<Candidate>,
    /// The candidates after the one that ended the search.
    pub not_tried: Vec<String>,
    /// The result that a program gets.
    pub result: LookupResult,
}

/// One name of the search expansion.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Candidate {
    /// The absolute name.
    pub name: String,
    /// One report for each record type.
    pub queries: Vec<Report>,
}

/// The result that a program gets from getaddrinfo(3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LookupResult {
    /// The records of the last candidate.
    Found,
    /// The name exists, but has no record of this type: EAI_NODATA.
    NoData,
    /// The name does not exist: EAI_NONAME.
    NoName,
    /// A temporary failure: EAI_AGAIN.
    TryAgain,
    /// A failure after which the C library does not retry: EAI_FAIL.
    Failed,
}

impl From<CandidateResult> for LookupResult {
    fn from(result: CandidateResult) -> Self {
        match result {
            CandidateResult::Record => Self::Found,
            CandidateResult::NoData => Self::NoData,
            CandidateResult::NoName => Self::NoName,
            CandidateResult::Failure => Self::TryAgain,
            CandidateResult::Refusal => Self::Failed,
        }
    }
}

/// The exit code if the name does not exist, or the query failed.
const NOT_FOUND: u8 = 2;

/// The exit code for invalid arguments (EX_USAGE of sysexits.h).
const BAD_ARGUMENTS: u8 = 64;

/// Looks up the name, prints the result, and returns the exit code.
pub async fn run(options: &LookupOptions, settings: &Settings) -> ExitCode {
    let file = match options.resolv_conf.as_deref().map(|path| (path, std::fs::read_to_string(path))) {
        None => None,
        Some((path, Ok(text))) => Some((path, text)),
        Some((path, Err(error))) => {
            eprintln!(
                "podlocal-sidecar: --{} {path}: {error}; expected a file like {}",
                flag::RESOLV_CONF,
                search_config::RESOLV_CONF
            );
            return ExitCode::from(BAD_ARGUMENTS);
        }
    };
    let file = file.as_ref().map(|(path, text)| (*path, text.as_str()));
    let document = match look_up(options, file, settings.admin_port).await {
        Ok(document) => document,
        Err(failure) => {
            eprintln!("podlocal-sidecar: {failure}");
            return ExitCode::FAILURE;
        }
    };
    let page = if options.json {
        serde_json::to_string(&document).unwrap_or_default() + "\n"
    } else {
        text::page(&document, options.trace, Paint::for_terminal(std::io::stdout().is_terminal()))
    };
    let _ = std::io::stdout().write_all(page.as_bytes()); // fails if the reader has closed the pipe
    if document.result == LookupResult::Found { ExitCode::SUCCESS } else { ExitCode::from(NOT_FOUND) }
}

async fn look_up(
    options: &LookupOptions,
    file: Option<(&str, &str)>,
    port: u16,
) -> Result<Document, AdminError> {
    let stats: Stats = client::fetch_document(port, &target::stats(false)).await?;
    let own = std::fs::read_to_string(search_config::RESOLV_CONF);
    let SearchConfig { search, ndots, source, notes } = SearchConfig::new(file, own, &stats);
    let mut remaining = expansion::candidates(&options.name, &search, ndots);
    let as_it_stands = format!("{}.", options.name.trim_end_matches('.'));
    let is_first = remaining.first() == Some(&as_it_stands);
    let rtypes: Vec<_> = options.rtypes.iter().map(|rtype| target::rtype_text(*rtype)).collect();
    let (mut candidates, mut results, mut not_tried) = (Vec::new(), Vec::new(), Vec::new());
    while !remaining.is_empty() {
        let name = remaining.remove(0);
        let queries = query(port, &name, &rtypes).await?;
        let result_of = |report: &Report| CandidateResult::of(&report.rcode, has_records(report));
        let result = expansion::merge(&queries.iter().map(result_of).collect::<Vec<_>>());
        let (tried, skipped) = expansion::continue_with(result, &name, &as_it_stands, remaining);
        remaining = tried;
        not_tried.extend(skipped);
        results.push(result);
        candidates.push(Candidate { name, queries });
    }
    Ok(Document {
        name: options.name.clone(),
        types: rtypes,
        version: stats.version,
        search,
        ndots,
        source,
        notes,
        candidates,
        not_tried,
        result: expansion::final_result(&results, is_first).into(),
    })
}

/// Queries one candidate for all record types at the same time, as getaddrinfo does.
async fn query(port: u16, name: &str, rtypes: &[String]) -> Result<Vec<Report>, AdminError> {
    let targets: Vec<_> = rtypes.iter().map(|rtype| target::lookup(name, rtype)).collect();
    match targets.as_slice() {
        [one, other] => {
            let (one, other) =
                tokio::join!(client::fetch_document(port, one), client::fetch_document(port, other));
            Ok(vec![one?, other?])
        }
        [one] => Ok(vec![client::fetch_document(port, one).await?]),
        _ => Ok(Vec::new()),
    }
}

/// Whether the answer has a record of the requested type. An alias without an address does not count.
fn has_records(report: &Report) -> bool {
    report.more_answers > 0
        || report.answers.iter().any(|answer| answer.rtype == report.rtype || report.rtype == "ANY")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invalid_names_are_explained() {
        for (name, part) in [
            ("", "such as api.example.com"),
            ("a..b", "1 to 63 characters"),
            ("10.0.0.1", "lookup 1.0.0.10.in-addr.arpa. PTR"),
            ("fd00::1", "0.0.0.0.0.0.0.d.f.ip6.arpa. PTR"),
            ("b\u{fc}cher.example", "xn--"),
            ("a b", "without spaces"),
        ] {
            let expected = expected_name(name).unwrap_or_default();
            assert!(expected.contains(part), "{name}: {expected}");
        }
        for name in ["db", "db.", "_grpc._tcp.db", "0/25.2.0.192.in-addr.arpa", "10.0.0"] {
            assert_eq!(expected_name(name), None, "{name}");
        }
    }
}
