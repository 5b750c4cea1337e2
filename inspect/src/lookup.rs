//! `lookup`: shows how the running proxy resolves a name for a program in this pod.
//!
//! ```text
//!   /stats of the proxy    its version, and its search list in case resolv.conf names another server
//!   resolv.conf            search list and ndots of this pod: search_config (pure)
//!   each candidate         queries for A and AAAA, as getaddrinfo does, or for TYPE, until one exists
//!   result                 as text (pure) or JSON
//! ```

use std::fs;
use std::io::Write as _;
use std::process::ExitCode;
use std::thread;

use podlocal_dns::expansion::{self, CandidateResult};
use podlocal_dns::report::stats::Stats;
use podlocal_dns::report::{Report, target};
use serde::{Deserialize, Serialize};

use crate::admin::{self, AdminError};
use crate::arguments::{LookupArguments, NAME, USAGE_ERROR};
use search_config::{RESOLV_CONF, SearchConfig};

mod search_config;
pub mod text;

/// The document that is printed as JSON, and from which the page is made: the search expansion of a name, with the
/// report about each query.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "`docs/lookup.md` describes the fields")]
pub struct Document {
    pub name: String,
    pub types: Vec<String>,
    pub version: String,
    pub search: Vec<String>,
    pub ndots: usize,
    pub source: String,
    pub notes: Vec<String>,
    pub candidates: Vec<Candidate>,
    pub not_tried: Vec<String>,
    pub result: CandidateResult,
}

/// One name of the search expansion.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Candidate {
    /// The absolute name.
    pub name: String,
    /// One report for each record type.
    pub queries: Vec<Report>,
}

/// The exit code if the name does not exist, or the query failed.
const NOT_FOUND: u8 = 2;

/// Looks up the name, prints the result, and returns the exit code.
pub fn run(options: &LookupArguments, json: bool, admin_port: u16) -> Result<ExitCode, AdminError> {
    let file = match options.resolv_conf.as_ref().map(|path| (path.display(), fs::read_to_string(path))) {
        None => None,
        Some((path, Ok(text))) => Some((path.to_string(), text)),
        Some((path, Err(error))) => {
            eprintln!("{NAME}: --resolv-conf {path}: {error}; expected a file like {RESOLV_CONF}");
            return Ok(ExitCode::from(USAGE_ERROR));
        }
    };
    let file = file.as_ref().map(|(path, text)| (path.as_str(), text.as_str()));
    let document = look_up(options, file, admin_port)?;
    let page = if json {
        serde_json::to_string(&document).unwrap_or_default() + "\n"
    } else {
        text::page(&document, options.trace)
    };
    let _ = anstream::stdout().write_all(page.as_bytes()); // fails if the reader has closed the pipe
    let is_found = document.result == CandidateResult::Record;
    Ok(if is_found { ExitCode::SUCCESS } else { ExitCode::from(NOT_FOUND) })
}

fn look_up(options: &LookupArguments, file: Option<(&str, &str)>, port: u16) -> Result<Document, AdminError> {
    let stats: Stats = admin::fetch_document(port, &target::stats(false))?;
    let own = fs::read_to_string(RESOLV_CONF);
    let SearchConfig { search, ndots, source, notes } = SearchConfig::new(file, own, &stats);
    let mut remaining = expansion::candidates(&options.name, &search, ndots);
    let as_it_stands = format!("{}.", options.name.trim_end_matches('.'));
    let is_first = remaining.first() == Some(&as_it_stands);
    let rtypes: Vec<_> = options.rtypes.iter().map(|rtype| target::rtype_text(*rtype)).collect();
    let (mut candidates, mut results, mut not_tried) = (Vec::new(), Vec::new(), Vec::new());
    while !remaining.is_empty() {
        let name = remaining.remove(0);
        let queries = query(port, &name, &rtypes)?;
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
        result: expansion::final_result(&results, is_first),
    })
}

/// Queries one candidate for all record types at the same time, as getaddrinfo does.
fn query(port: u16, name: &str, rtypes: &[String]) -> Result<Vec<Report>, AdminError> {
    let fetch = |rtype: &str| admin::fetch_document(port, &target::lookup(name, rtype));
    thread::scope(|scope| {
        let queries: Vec<_> = rtypes.iter().map(|rtype| scope.spawn(move || fetch(rtype))).collect();
        let reports = queries.into_iter().map(thread::ScopedJoinHandle::join);
        reports.map(|report| report.unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect()
    })
}

/// Whether the answer has a record of the requested type. An alias without an address does not count.
fn has_records(report: &Report) -> bool {
    report.more_answers > 0
        || report.answers.iter().any(|answer| answer.rtype == report.rtype || report.rtype == "ANY")
}
