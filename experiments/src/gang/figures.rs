//! The results of an arm, and their table.

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};

use podlocal_harness::model::cluster_dns::{Counts, STEP, Step, Transport};
use podlocal_harness::model::lookup::Lookup;
use podlocal_harness::table::{columns, percentile};

use super::arm::Arm;
use super::law::{self, Cost};

/// The results of an arm over all its attempts.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Figures {
    /// The arm.
    pub arm: Arm,
    /// The number of pods.
    pub pods: usize,
    /// The number of restarts of all pods after one had failed.
    pub restarts: u32,
    /// The time at which each pod had resolved all its names, in seconds from the first attempt's start
    /// signal, ascending; from the attempt in which no pod failed. Empty when there was none: the gang never
    /// started.
    pub started_seconds: Vec<f64>,
    /// Pods whose application did not exit with 0; the first one in each attempt ends the attempt.
    pub failed_pods: usize,
    /// Queries that cluster DNS received over UDP, including dropped ones.
    pub queries_udp: u64,
    /// Queries that cluster DNS received over TCP.
    pub queries_tcp: u64,
    /// The number of queries to cluster DNS for each name and type.
    pub asked: BTreeMap<String, u64>,
    /// Queries that were dropped at a full queue.
    pub dropped: u64,
    /// Datagrams that were lost on the network.
    pub lost: u64,
    /// The duration of each lookup, answered or not, in milliseconds, ascending.
    pub lookup_milliseconds: Vec<f64>,
    /// Lookups with the expected result.
    pub answered: usize,
    /// Lookups with another result.
    pub failed: usize,
    /// The activity of cluster DNS over time, from the first start signal.
    #[serde(serialize_with = "steps_as_json")]
    pub steps: Vec<Step>,
    /// The status of the first pod that failed.
    pub first_failure: Option<String>,
}

impl Figures {
    pub(super) fn new(arm: Arm, pods: usize) -> Self {
        Self { arm, pods, ..Self::default() }
    }

    /// All queries that cluster DNS received.
    pub fn queries(&self) -> u64 {
        self.queries_udp + self.queries_tcp
    }

    /// The values that the law compares.
    pub fn cost(&self) -> Cost {
        law::cost(self.failed, self.queries(), &self.started_seconds, self.pods)
    }

    /// Whether every application got the expected results at the first attempt.
    pub fn is_success(&self) -> bool {
        self.failed == 0 && self.failed_pods == 0 && self.has_started()
    }

    /// Whether in the end every pod resolved all its names.
    pub fn has_started(&self) -> bool {
        self.pods > 0 && self.started_seconds.len() == self.pods
    }

    pub(super) fn add(&mut self, lookups: &[Lookup]) {
        self.lookup_milliseconds.extend(lookups.iter().map(|lookup| lookup.milliseconds));
        let answered = lookups.iter().filter(|lookup| lookup.as_expected).count();
        self.answered += answered;
        self.failed += lookups.len() - answered;
    }

    pub(super) fn finish(&mut self, counts: Counts) {
        (self.queries_udp, self.queries_tcp) = (counts.over(Transport::Udp), counts.over(Transport::Tcp));
        self.asked = counts.by_question();
        (self.dropped, self.lost, self.steps) = (counts.dropped, counts.lost, counts.steps);
        self.started_seconds.sort_by(f64::total_cmp);
        self.lookup_milliseconds.sort_by(f64::total_cmp);
    }
}

/// Serializes the steps as columns, with the length of a step.
fn steps_as_json<S: Serializer>(steps: &[Step], serializer: S) -> Result<S::Ok, S::Error> {
    let column = |of: fn(&Step) -> u64| steps.iter().map(of).collect::<Vec<_>>();
    serde_json::json!({
        "milliseconds": STEP.as_millis() as u64,
        "asked": column(|step| step.asked),
        "answered": column(|step| step.answered),
        "dropped": column(|step| step.dropped),
    })
    .serialize(serializer)
}

/// The table, with one line per arm.
pub fn table(arms: &[Figures]) -> String {
    let milliseconds =
        |figures: &Figures, share| format!("{:.0}", percentile(&figures.lookup_milliseconds, share));
    let seconds = |figures: &Figures, share| {
        let seconds = figures.has_started().then(|| percentile(&figures.started_seconds, share));
        seconds.map_or_else(|| "-".to_owned(), |seconds| format!("{seconds:.2}"))
    };
    columns(
        arms,
        &[
            ("arm", &|figures| figures.arm.name().to_owned()),
            ("pods", &|figures| figures.pods.to_string()),
            ("queries", &|figures| figures.queries().to_string()),
            ("over TCP", &|figures| figures.queries_tcp.to_string()),
            ("dropped", &|figures| figures.dropped.to_string()),
            ("lost", &|figures| figures.lost.to_string()),
            ("restarts", &|figures| figures.restarts.to_string()),
            ("failed lookups", &|figures| figures.failed.to_string()),
            ("lookup p50 ms", &|figures| milliseconds(figures, 0.5)),
            ("p99 ms", &|figures| milliseconds(figures, 0.99)),
            ("max ms", &|figures| milliseconds(figures, 1.0)),
            ("started", &|figures| if figures.has_started() { "yes" } else { "never" }.to_owned()),
            ("p50 s", &|figures| seconds(figures, 0.5)),
            ("p99 s", &|figures| seconds(figures, 0.99)),
            ("max s", &|figures| seconds(figures, 1.0)),
        ],
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_a_gang_that_never_started_has_no_time() {
        let mut never = Figures::new(Arm::Direct, 2);
        (never.queries_udp, never.restarts, never.failed) = (2000, 2, 1);
        let mut started = Figures::new(Arm::Injected, 2);
        (started.queries_udp, started.started_seconds) = (600, vec![0.5, 1.5]);
        let text = table(&[never, started]);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 3);
        assert!(lines.iter().all(|line| line.len() == lines[0].len()), "{text}");
        assert!(lines[1].contains("never      -"), "{text}");
        assert!(lines[2].contains("yes   0.50   1.50   1.50"), "{text}");
    }
}
