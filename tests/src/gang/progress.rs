//! Progress on standard error: a bar on a terminal, else a line per step.

use indicatif::{ProgressBar, ProgressStyle};

use super::arm::Arm;

pub(super) struct Progress {
    name: String,
    bar: ProgressBar,
}

impl Progress {
    pub(super) fn new(arm: Arm, attempt: u32, pods: usize) -> Self {
        // Each pod starts, and ends.
        let bar = ProgressBar::new(2 * pods as u64);
        let style = ProgressStyle::with_template("{prefix:34} {bar:30} {elapsed:>3} {msg}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        let name = match attempt {
            0 => arm.name().to_owned(),
            _ => format!("{}, restart {attempt}", arm.name()),
        };
        bar.set_prefix(name.clone());
        let progress = Self { name, bar };
        progress.tell(&format!("starting {pods} pods"));
        progress
    }

    pub(super) fn tell(&self, step: &str) {
        if self.bar.is_hidden() {
            eprintln!("{}: {step}", self.name);
        }
        self.bar.set_message(step.to_owned());
    }

    pub(super) fn advance(&self) {
        self.bar.inc(1);
    }

    pub(super) fn finish(self, how: &str) {
        self.tell(how);
        self.bar.abandon();
    }
}
