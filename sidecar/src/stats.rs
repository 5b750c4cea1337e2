//! `stats`: one page of what the running proxy has done, and how it is.

use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::time::Duration;

use podlocal_settings::Settings;
use tokio::time::{Instant, sleep_until};

use crate::cli::commands::flag;
use crate::client;
use crate::paint::Paint;
use crate::report::figures::Figures;
use crate::report::target;

pub mod text;

/// How the page is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    /// Whether it is shown again and again.
    pub watch: bool,
    /// Whether the most frequent names are shown.
    pub names: bool,
    /// Whether JSON is printed.
    pub json: bool,
}

impl Wanted {
    /// Reads the command's flags.
    pub fn read(flags: &BTreeMap<&'static str, String>) -> Self {
        let is_given = |name: &str| flags.contains_key(name);
        Self { watch: is_given(flag::WATCH), names: is_given(flag::NAMES), json: is_given(flag::JSON) }
    }
}

/// The time between two pages of `--watch`.
const PAUSE: Duration = Duration::from_secs(2);

/// What clears a terminal and begins at its top (ECMA-48: CUP, ED).
const TOP: &str = "\x1b[H\x1b[2J";

/// Prints the page, once or until interrupted.
pub async fn run(wanted: Wanted, settings: &Settings) -> ExitCode {
    let is_terminal = std::io::stdout().is_terminal();
    let mut before: Option<Figures> = None;
    loop {
        let next_at = Instant::now() + PAUSE;
        let figures: Figures = match client::document(settings.admin_port, &target::stats(wanted.names)).await
        {
            Ok(figures) => figures,
            Err(failure) => {
                eprintln!("podlocal-sidecar: {failure}");
                return ExitCode::FAILURE;
            }
        };
        let page = if wanted.json {
            serde_json::to_string(&figures).unwrap_or_default() + "\n"
        } else {
            let begin = if wanted.watch && is_terminal { TOP } else { "" };
            format!("{begin}{}", text::page(&figures, before.as_ref(), Paint::of(is_terminal)))
        };
        let mut out = std::io::stdout().lock();
        // Who reads has gone: there is nobody to tell.
        if out.write_all(page.as_bytes()).and_then(|()| out.flush()).is_err() || !wanted.watch {
            return ExitCode::SUCCESS;
        }
        drop(out);
        before = Some(figures);
        sleep_until(next_at).await;
    }
}
