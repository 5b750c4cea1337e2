//! `stats`: one page with the counters and the state of the running proxy.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::thread::sleep;
use std::time::{Duration, Instant};

use podlocal_dns::report::stats::Stats;
use podlocal_dns::report::target;

use crate::admin;
use crate::arguments::{NAME, StatsArguments};
use crate::paint::Paint;

pub mod text;

/// The time between two pages of `--watch`.
const INTERVAL: Duration = Duration::from_secs(2);

/// Clears a terminal and moves the cursor to the top (ECMA-48: CUP, ED).
const CLEAR: &str = "\x1b[H\x1b[2J";

/// Prints the page, once or until interrupted.
#[expect(clippy::disallowed_methods, reason = "a page every two seconds waits for no condition")]
pub fn run(options: &StatsArguments, json: bool, admin_port: u16) -> ExitCode {
    let is_terminal = std::io::stdout().is_terminal();
    let mut previous: Option<Stats> = None;
    loop {
        let next_at = Instant::now() + INTERVAL;
        let stats: Stats = match admin::fetch_document(admin_port, &target::stats(options.names)) {
            Ok(stats) => stats,
            Err(failure) => {
                eprintln!("{NAME}: {failure}");
                return ExitCode::FAILURE;
            }
        };
        let page = if json {
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
        sleep(next_at.saturating_duration_since(Instant::now()));
    }
}
