//! `stats`: one page with the counters and the state of the running proxy.

use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::time::Duration;

use podlocal_settings::Settings;
use tokio::time::{Instant, sleep_until};

use crate::cli::commands::flag;
use crate::client;
use crate::paint::Paint;
use crate::report::stats::Stats;
use crate::report::target;

pub mod text;

/// The flags of `stats`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StatsOptions {
    /// Whether to repeat the page until interrupted.
    pub watch: bool,
    /// Whether to show the most frequent names.
    pub names: bool,
    /// Whether to print JSON.
    pub json: bool,
}

impl StatsOptions {
    /// Parses the flags of the command.
    pub fn parse(flags: &BTreeMap<&'static str, String>) -> Self {
        let is_given = |name: &str| flags.contains_key(name);
        Self { watch: is_given(flag::WATCH), names: is_given(flag::NAMES), json: is_given(flag::JSON) }
    }
}

/// The time between two pages of `--watch`.
const INTERVAL: Duration = Duration::from_secs(2);

/// Clears a terminal and moves the cursor to the top (ECMA-48: CUP, ED).
const CLEAR: &str = "\x1b[H\x1b[2J";

/// Prints the page, once or until interrupted.
pub async fn run(options: StatsOptions, settings: &Settings) -> ExitCode {
    let is_terminal = std::io::stdout().is_terminal();
    let mut previous: Option<Stats> = None;
    loop {
        let next_at = Instant::now() + INTERVAL;
        let stats: Stats =
            match client::fetch_document(settings.admin_port, &target::stats(options.names)).await {
                Ok(stats) => stats,
                Err(failure) => {
                    eprintln!("podlocal-sidecar: {failure}");
                    return ExitCode::FAILURE;
                }
            };
        let page = if options.json {
            serde_json::to_string(&stats).unwrap_or_default() + "\n"
        } else {
            let begin = if options.watch && is_terminal { CLEAR } else { "" };
            format!("{begin}{}", text::page(&stats, previous.as_ref(), Paint::for_terminal(is_terminal)))
        };
        let mut out = std::io::stdout().lock();
        // Writing fails if the reader has closed the pipe.
        if out.write_all(page.as_bytes()).and_then(|()| out.flush()).is_err() || !options.watch {
            return ExitCode::SUCCESS;
        }
        drop(out);
        previous = Some(stats);
        sleep_until(next_at).await;
    }
}
