//! Progress on standard error: a bar on a terminal, otherwise a line per step.

use indicatif::{ProgressBar, ProgressStyle};

use super::arm::Arm;

pub(super) struct Progress {
    name: String,
    bar: ProgressBar,
}

impl Progress {
    pub(super) fn new(arm: Arm, attempt: u32, pods: usize) -> Self {
        // Each pod counts twice: for its start and for its end.
        let bar = ProgressBar::new(2 * pods as u64);
        let style = ProgressStyle::with_template("{prefix:34} {bar:30} {elapsed:>3} {msg}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        let name = match attempt {
            0 => arm.name().to_owned(),
            _ => format!("{}, restart {attempt}", arm.name()),
        };
        bar.set_prefix(name.clone());
        let progress = Self { name, bar };
        progress.report(&format!("starting {pods} pods"));
        progress
    }

    pub(super) fn report(&self, step: &str) {
        if self.bar.is_hidden() {
            eprintln!("{}: {step}", self.name);
        }
        self.bar.set_message(step.to_owned());
    }

    pub(super) fn advance(&self) {
        self.bar.inc(1);
    }

    pub(super) fn finish(self, how: &str) {
        self.report(how);
        self.bar.abandon();
    }
}
