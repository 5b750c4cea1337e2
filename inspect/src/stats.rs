//! `stats`: one page with the counters and the state of the running proxy.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::thread::sleep;
use std::time::{Duration, Instant};

use podlocal_dns::report::stats::Stats;
use podlocal_dns::report::target;

use crate::admin::{self, AdminError};
use crate::arguments::StatsArguments;

pub mod text;

/// The time between two pages of `--watch`.
const INTERVAL: Duration = Duration::from_secs(2);

/// Clears a terminal and moves the cursor to the top (ECMA-48: CUP, ED).
const CLEAR: &str = "\x1b[H\x1b[2J";

/// Prints the page, once or until interrupted.
#[expect(clippy::disallowed_methods, reason = "a page every two seconds waits for no condition")]
pub fn run(options: &StatsArguments, json: bool, admin_port: u16) -> Result<ExitCode, AdminError> {
    let is_terminal = std::io::stdout().is_terminal();
    let mut previous: Option<Stats> = None;
    loop {
        let next_at = Instant::now() + INTERVAL;
        let stats: Stats = admin::fetch_document(admin_port, &target::stats(options.names))?;
        let page = if json {
            serde_json::to_string(&stats).unwrap_or_default() + "\n"
        } else {
            text::page(&stats, previous.as_ref())
        };
        if options.watch && !json && is_terminal {
            print!("{CLEAR}");
        }
        let mut out = anstream::stdout().lock();
        // Writing fails if the reader has closed the pipe.
        if out.write_all(page.as_bytes()).and_then(|()| out.flush()).is_err() || !options.watch {
            return Ok(ExitCode::SUCCESS);
        }
        drop(out);
        previous = Some(stats);
        sleep(next_at.saturating_duration_since(Instant::now()));
    }
}
