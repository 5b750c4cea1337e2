//! A progress bar on standard error; none if that is not a terminal.

use indicatif::{ProgressBar, ProgressStyle};

/// A progress bar for a list that is read page by page.
#[derive(Debug)]
pub(crate) struct Progress(ProgressBar);

impl Progress {
    /// A progress bar for `what`, with an unknown total.
    pub(crate) fn of(what: &'static str) -> Self {
        // Draws to standard error, and not at all if that is not a terminal.
        let bar = ProgressBar::no_length();
        let style = ProgressStyle::with_template("{msg:>10} {bar:40} {human_pos} of {human_len} {eta}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar.set_message(what);
        Self(bar)
    }

    /// Adds a page of `come` items; `still` is the number of remaining items, if known.
    pub(crate) fn page(&self, come: u64, still: Option<u64>) {
        self.0.inc(come);
        self.0.set_length(self.0.position().saturating_add(still.unwrap_or(0)));
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
