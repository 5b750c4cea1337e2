//! `lookup`: what a program in this pod would experience, asked of the running proxy and shown.
//!
//! ```text
//!   the proxy's figures    is it there, which version, its search list where resolv.conf leads elsewhere
//!   resolv.conf            search list and ndots of this pod            source, ladder (pure)
//!   each candidate         A and AAAA together, as getaddrinfo asks, or the one TYPE, until one exists
//!   the whole              as text (pure) or JSON
//! ```

use std::collections::BTreeMap;
use std::io::{IsTerminal as _, Write as _};
use std::net::IpAddr;
use std::process::ExitCode;

use podlocal_settings::Settings;
use podlocal_settings::read::SettingError;
use serde::Serialize;

use crate::cli::commands::flag;
use crate::client::{self, Failure};
use crate::paint::Paint;
use crate::report::Report;
use crate::report::figures::Figures;
use crate::report::target;
use crate::wire::{self, TYPE_A, TYPE_AAAA};

use ladder::Brought;
use source::Source;

pub mod ladder;
mod source;
pub mod text;

/// What is to be looked up, and how it is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// The name, as a program would give it.
    pub name: String,
    /// The types; A and AAAA when none was given.
    pub kinds: Vec<u16>,
    /// Whether every step is shown.
    pub trace: bool,
    /// Whether JSON is printed.
    pub json: bool,
    /// The file to read instead of `/etc/resolv.conf`.
    pub resolv_conf: Option<String>,
}

impl Wanted {
    /// Reads the words behind the command and its flags, or says all that is wrong with them.
    pub fn read(words: &[String], flags: &BTreeMap<&'static str, String>) -> Result<Self, Vec<SettingError>> {
        let mut mistakes = Vec::new();
        let name = words.first().map_or("", String::as_str);
        if let Some(expected) = wrong_name(name) {
            mistakes.push(SettingError::new("NAME", name, expected));
        }
        let kinds = match words.get(1).map(|text| target::kind_from_text(text)) {
            None => vec![TYPE_A, TYPE_AAAA],
            Some(Some(kind)) => vec![kind],
            Some(None) => {
                let expected = "a record type such as A, AAAA, SRV, TXT, PTR or TYPE65";
                mistakes.push(SettingError::new("TYPE", words.get(1).map_or("", String::as_str), expected));
                Vec::new()
            }
        };
        let wanted = Self {
            name: name.to_owned(),
            kinds,
            trace: flags.contains_key(flag::TRACE),
            json: flags.contains_key(flag::JSON),
            resolv_conf: flags.get(flag::RESOLV_CONF).cloned(),
        };
        if mistakes.is_empty() { Ok(wanted) } else { Err(mistakes) }
    }
}

/// What was expected instead of what is no name to look up.
fn wrong_name(name: &str) -> Option<String> {
    if let Ok(address) = name.parse::<IpAddr>() {
        return Some(format!(
            "a name; no program asks DNS for an address. Its name: lookup {} PTR",
            reverse(address)
        ));
    }
    if name.is_empty() {
        return Some("the name to look up, such as api.example.com".to_owned());
    }
    if !name.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Some("ASCII without blanks; of an internationalised name its xn-- form".to_owned());
    }
    wire::name_from_text(name)
        .is_none()
        .then(|| "labels of 1 to 63 characters with dots between them, 253 characters in all".to_owned())
}

/// The name under which an address has its name (RFC 1035 section 3.5, RFC 3596 section 2.5).
fn reverse(address: IpAddr) -> String {
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

/// Everything that was found out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Document {
    /// The name, as it was given.
    pub name: String,
    /// The types that were asked for.
    pub types: Vec<String>,
    /// The proxy's version.
    pub version: String,
    /// The search list that the ladder was made with.
    pub search: Vec<String>,
    /// The `ndots` that it was made with.
    pub ndots: usize,
    /// Where these come from: a file, or the proxy's own settings.
    pub from: String,
    /// What is unusual about that, as sentences.
    pub notes: Vec<String>,
    /// The ladder, tried in order.
    pub candidates: Vec<Candidate>,
    /// The candidates behind the one that ended the ladder.
    pub not_asked: Vec<String>,
    /// What a program is told in the end.
    pub end: End,
}

/// One step of the ladder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Candidate {
    /// The name, from the root on.
    pub name: String,
    /// What became of its questions.
    pub questions: Vec<Report>,
}

/// What a program is told in the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// The records of the last candidate.
    Found,
    /// The name exists without such a record: EAI_NODATA of getaddrinfo(3).
    NoData,
    /// There is no such name: EAI_NONAME.
    NoName,
    /// No answer for now: EAI_AGAIN.
    TryAgain,
    /// The C library gives up: EAI_FAIL.
    Refused,
}

impl From<Brought> for End {
    fn from(brought: Brought) -> Self {
        match brought {
            Brought::Record => Self::Found,
            Brought::NoData => Self::NoData,
            Brought::NoName => Self::NoName,
            Brought::Failure => Self::TryAgain,
            Brought::Refusal => Self::Refused,
        }
    }
}

/// The exit code when the name does not exist, or the answer failed.
const NOT_FOUND: u8 = 2;

/// Bad arguments (sysexits.h, EX_USAGE).
const BAD_ARGUMENTS: u8 = 64;

/// Looks up, prints, and says how it ended.
pub async fn run(wanted: &Wanted, settings: &Settings) -> ExitCode {
    let file = match wanted.resolv_conf.as_deref().map(|path| (path, std::fs::read_to_string(path))) {
        None => None,
        Some((path, Ok(text))) => Some((path, text)),
        Some((path, Err(error))) => {
            eprintln!(
                "podlocal-sidecar: --{} {path}: {error}; expected a file like {}",
                flag::RESOLV_CONF,
                source::FILE
            );
            return ExitCode::from(BAD_ARGUMENTS);
        }
    };
    let file = file.as_ref().map(|(path, text)| (*path, text.as_str()));
    let document = match look_up(wanted, file, settings.admin_port).await {
        Ok(document) => document,
        Err(failure) => {
            eprintln!("podlocal-sidecar: {failure}");
            return ExitCode::FAILURE;
        }
    };
    let page = if wanted.json {
        serde_json::to_string(&document).unwrap_or_default() + "\n"
    } else {
        text::page(&document, wanted.trace, Paint::of(std::io::stdout().is_terminal()))
    };
    let _ = std::io::stdout().write_all(page.as_bytes()); // fails when who reads has gone: there is nobody to tell
    if document.end == End::Found { ExitCode::SUCCESS } else { ExitCode::from(NOT_FOUND) }
}

async fn look_up(wanted: &Wanted, file: Option<(&str, &str)>, port: u16) -> Result<Document, Failure> {
    let figures: Figures = client::document(port, &target::stats(false)).await?;
    let own = std::fs::read_to_string(source::FILE);
    let Source { search, ndots, from, notes } = Source::new(file, own, &figures);
    let mut left = ladder::candidates(&wanted.name, &search, ndots);
    let as_it_is = format!("{}.", wanted.name.trim_end_matches('.'));
    let is_first = left.first() == Some(&as_it_is);
    let kinds: Vec<_> = wanted.kinds.iter().map(|kind| target::kind_text(*kind)).collect();
    let (mut candidates, mut brought, mut not_asked) = (Vec::new(), Vec::new(), Vec::new());
    while !left.is_empty() {
        let name = left.remove(0);
        let questions = ask(port, &name, &kinds).await?;
        let of = |report: &Report| Brought::of(&report.rcode, has_records(report));
        let together = ladder::together(&questions.iter().map(of).collect::<Vec<_>>());
        let (still, not) = ladder::onwards(together, &name, &as_it_is, left);
        left = still;
        not_asked.extend(not);
        brought.push(together);
        candidates.push(Candidate { name, questions });
    }
    Ok(Document {
        name: wanted.name.clone(),
        types: kinds,
        version: figures.version,
        search,
        ndots,
        from,
        notes,
        candidates,
        not_asked,
        end: ladder::end(&brought, is_first).into(),
    })
}

/// All of a candidate's questions together, as getaddrinfo asks them.
async fn ask(port: u16, name: &str, kinds: &[String]) -> Result<Vec<Report>, Failure> {
    let targets: Vec<_> = kinds.iter().map(|kind| target::lookup(name, kind)).collect();
    match targets.as_slice() {
        [one, other] => {
            let (one, other) = tokio::join!(client::document(port, one), client::document(port, other));
            Ok(vec![one?, other?])
        }
        [one] => Ok(vec![client::document(port, one).await?]),
        _ => Ok(Vec::new()),
    }
}

/// Whether the answer holds a record that was asked for: an alias that leads to none is no address.
fn has_records(report: &Report) -> bool {
    report.more_answers > 0
        || report.answers.iter().any(|answer| answer.kind == report.kind || report.kind == "ANY")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_name_is_told_with_what_to_give_instead() {
        for (name, part) in [
            ("", "such as api.example.com"),
            ("a..b", "1 to 63 characters"),
            ("10.0.0.1", "lookup 1.0.0.10.in-addr.arpa. PTR"),
            ("fd00::1", "0.0.0.0.0.0.0.d.f.ip6.arpa. PTR"),
            ("b\u{fc}cher.example", "xn--"),
            ("a b", "without blanks"),
        ] {
            let expected = wrong_name(name).unwrap_or_default();
            assert!(expected.contains(part), "{name}: {expected}");
        }
        for name in ["db", "db.", "_grpc._tcp.db", "0/25.2.0.192.in-addr.arpa", "10.0.0"] {
            assert_eq!(wrong_name(name), None, "{name}");
        }
    }
}
