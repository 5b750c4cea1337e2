//! The result of an arm, and the table.

use std::collections::BTreeMap;
use std::time::Duration;

use podlocal_harness::cluster::client::Lookup;
use podlocal_harness::table::{columns, percentile};
use serde::Serialize;

use super::super::arm::Arm;
use super::super::law::{self, Cost};

/// Queries per second above which other programs put load on CoreDNS; the components of a cluster send fewer.
pub(super) const QUIET: f64 = 1.0;

/// The texts of EAI_NONAME, a name that does not exist, in `gai_strerror` of glibc and musl.
const NOT_FOUND: [&str; 2] = ["Name or service not known", "Name does not resolve"];

/// The result of an arm.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Figures {
    /// The arm.
    pub arm: Arm,
    /// The CPU limit of CoreDNS; `None` without one.
    pub coredns_cpu: Option<String>,
    /// The number of pods.
    pub pods: usize,
    /// The number of lookups that the pods made or should have made.
    pub lookups: usize,
    /// The number of lookups with an unexpected result, or with none until the end of the run.
    pub failed: usize,
    /// The errors of the failed lookups, with their numbers.
    pub errors: BTreeMap<String, usize>,
    /// The duration of each lookup, in seconds, ascending.
    pub lookup_seconds: Vec<f64>,
    /// The time at which each pod had looked up all its names, in seconds from the common start, ascending.
    pub pod_seconds: Vec<f64>,
    /// Queries that CoreDNS received since the creation of the pods, without those of other programs.
    pub queries: u64,
    /// Queries per second that CoreDNS received just before the common start, so from other programs.
    pub queries_of_others_per_second: f64,
    /// The number of restarts of CoreDNS during the run. A restart resets its counter, so `queries` are those
    /// since the last restart.
    pub coredns_restarts: u64,
    /// The number of discarded starts, in which some pods were not ready at the common start.
    pub late_starts: u32,
}

impl Figures {
    /// Summarises the lookups of each pod. `missing` are the names that do not exist.
    pub(super) fn of(
        arm: Arm,
        limit: Option<&str>,
        start: f64,
        names: usize,
        missing: &[String],
        pods: &[Vec<Lookup>],
    ) -> Self {
        let mut errors = BTreeMap::new();
        let printed = pods.iter().flatten();
        for lookup in printed.clone().filter(|lookup| !is_expected(lookup, missing)) {
            let error =
                if lookup.error.is_empty() { "found, though it does not exist" } else { &lookup.error };
            *errors.entry(error.to_owned()).or_default() += 1;
        }
        let lookups = pods.len() * names;
        let without_end = lookups - printed.clone().count();
        if without_end > 0 {
            errors.insert("not finished at the end of the run".to_owned(), without_end);
        }
        let ends = pods.iter().filter(|lookups| lookups.len() == names).filter_map(|lookups| lookups.last());
        let mut figures = Self {
            arm,
            coredns_cpu: limit.map(str::to_owned),
            pods: pods.len(),
            lookups,
            failed: errors.values().sum(),
            errors,
            lookup_seconds: printed.map(|lookup| lookup.ms / 1e3).collect(),
            pod_seconds: ends.map(|last| last.at - start + last.ms / 1e3).collect(),
            ..Self::default()
        };
        figures.lookup_seconds.sort_by(f64::total_cmp);
        figures.pod_seconds.sort_by(f64::total_cmp);
        figures
    }

    /// Sets the queries from CoreDNS's counter before and after the run; a restart of CoreDNS resets the
    /// counter.
    pub(super) fn count(&mut self, before: u64, after: u64, between: Duration) {
        if self.coredns_restarts > 0 {
            self.queries = after;
            return;
        }
        let others = self.queries_of_others_per_second * between.as_secs_f64();
        #[expect(clippy::cast_sign_loss, reason = "a rate and a time are not negative")]
        let others = if self.is_disturbed() { others.round() as u64 } else { 0 };
        self.queries = (after - before).saturating_sub(others);
    }

    /// Whether other programs put so much load on CoreDNS that the figures are not only those of the gang.
    pub(super) fn is_disturbed(&self) -> bool {
        self.queries_of_others_per_second > QUIET
    }

    /// The values that the law compares.
    pub fn cost(&self) -> Cost {
        law::cost(self.failed, self.queries, &self.pod_seconds, self.pods)
    }
}

/// EAI_AGAIN (a time-out or SERVFAIL) is unexpected for every name; EAI_NONAME only for names that exist.
fn is_expected(lookup: &Lookup, missing: &[String]) -> bool {
    if missing.contains(&lookup.name) {
        NOT_FOUND.contains(&lookup.error.as_str())
    } else {
        !lookup.is_failure()
    }
}

/// The table, with one line per arm and limit.
pub fn table(arms: &[Figures]) -> String {
    let seconds = |ascending: &[f64], share| match ascending {
        [] => "-".to_owned(),
        _ => format!("{:.2}", percentile(ascending, share)),
    };
    // A restart resets the counter, and the number of other queries is an estimate.
    let about = |figures: &Figures| match figures.coredns_restarts {
        0 if figures.is_disturbed() => "~",
        0 => "",
        _ => ">=",
    };
    columns(
        arms,
        &[
            ("arm", &|figures| figures.arm.name().to_owned()),
            ("CoreDNS CPU", &|figures| figures.coredns_cpu.clone().unwrap_or_else(|| "no limit".to_owned())),
            ("pods", &|figures| figures.pods.to_string()),
            ("queries", &|figures| format!("{}{}", about(figures), figures.queries)),
            ("CoreDNS restarts", &|figures| figures.coredns_restarts.to_string()),
            ("failed lookups", &|figures| format!("{} of {}", figures.failed, figures.lookups)),
            ("lookup p50 s", &|figures| seconds(&figures.lookup_seconds, 0.5)),
            ("p99 s", &|figures| seconds(&figures.lookup_seconds, 0.99)),
            ("max s", &|figures| seconds(&figures.lookup_seconds, 1.0)),
            ("pod p50 s", &|figures| seconds(&figures.pod_seconds, 0.5)),
            ("p99 s", &|figures| seconds(&figures.pod_seconds, 0.99)),
            ("max s", &|figures| seconds(&figures.pod_seconds, 1.0)),
        ],
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lookup(name: &str, at: f64, ms: f64, error: &str) -> Lookup {
        Lookup { name: name.to_owned(), at, ms, error: error.to_owned(), addresses: Vec::new() }
    }

    #[test]
    fn nxdomain_is_expected_of_a_missing_name_alone() {
        let pods = [
            vec![lookup("a", 10.0, 500.0, ""), lookup("no", 10.5, 1500.0, "Name or service not known")],
            vec![lookup("a", 10.0, 100.0, "Name or service not known"), lookup("no", 10.1, 400.0, "")],
            vec![lookup("a", 10.0, 300.0, "Temporary failure in name resolution")],
        ];
        let missing = ["no".to_owned()];
        let figures = Figures::of(Arm::Direct, Some("10m"), 10.0, 2, &missing, &pods);
        assert_eq!((figures.lookups, figures.failed, figures.errors.len()), (6, 4, 4), "{figures:?}");
        let bits =
            |values: &[f64]| values.iter().map(|value| (value * 1e3).round() as i64).collect::<Vec<_>>();
        assert_eq!(bits(&figures.lookup_seconds), [100, 300, 400, 500, 1500]);
        assert_eq!(bits(&figures.pod_seconds), [500, 2000]);
    }

    #[test]
    fn queries_of_others_are_subtracted_where_there_are_many() {
        let counted = |others: f64, restarts: u64| {
            let mut figures = Figures::of(Arm::Direct, None, 0.0, 1, &[], &[]);
            (figures.queries_of_others_per_second, figures.coredns_restarts) = (others, restarts);
            figures.count(100, 1900, Duration::from_secs(10));
            figures.queries
        };
        assert_eq!(
            [counted(0.5, 0), counted(20.0, 0), counted(20.0, 1), counted(999.0, 0)],
            [1800, 1600, 1900, 0]
        );
    }

    #[test]
    fn counts_that_are_not_exact_are_marked() {
        let mut whole = Figures::of(Arm::Direct, None, 0.0, 1, &[], &[]);
        whole.queries = 1600;
        let restarted = Figures { queries: 7, coredns_restarts: 1, ..whole.clone() };
        let disturbed = Figures { queries: 29, queries_of_others_per_second: 23.0, ..whole.clone() };
        let text = table(&[whole, restarted, disturbed]);
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[1].contains("no limit") && lines[1].contains(" 1600 "), "{text}");
        assert!(lines[2].contains(" >=7 ") && lines[3].contains(" ~29 "), "{text}");
    }
}
