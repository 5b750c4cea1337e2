//! The gang experiment on a real cluster: the pods of a Job look up their names at the same time, while
//! CoreDNS has a CPU limit.
//!
//! ```text
//!   start       the common start of the pods, and whether all of them kept it
//!   job         an arm -> the Job
//!   node_local  NodeLocal DNSCache for its arm
//!   arm_run     one arm: fresh pods, cold caches, lookups -> figures
//!   figures     the result of an arm, and the table
//! ```
//!
//! The experiment restarts and limits the CoreDNS of the cluster, so it runs only on test clusters. It
//! restores everything at its end, also after an error or a signal.

mod arm_run;
pub mod figures;
mod job;
mod node_local;
mod start;

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use podlocal_harness::cluster::coredns::CoreDns;
use podlocal_harness::cluster::namespace::Namespace;
use podlocal_harness::cluster::{Cluster, context, product};

use self::figures::Figures;
use super::arm::Arm;
use super::law;
use crate::program::until_signal;
use podlocal_harness::failure::{Failure, WithContext};

/// The options of a run.
#[derive(Debug)]
pub struct Options {
    /// The arms, which run in this order for each limit.
    pub arms: Vec<Arm>,
    /// The number of pods.
    pub pods: usize,
    /// The names that each pod looks up, one after the other.
    pub names: Vec<String>,
    /// Names that do not exist, which each pod looks up after the others.
    pub missing: Vec<String>,
    /// The CPU limits of CoreDNS, each a Kubernetes quantity or [`NO_LIMIT`].
    pub limits: Vec<String>,
    /// The number of runs of each arm with each limit.
    pub runs: u32,
    /// A context that is not a test cluster, and whose CoreDNS may be limited nevertheless.
    pub allowed: Option<String>,
}

/// The default names that pods look up: those of the Job in the embedded experiment.
pub const NAMES: [&str; 2] = ["kubernetes.default", "api.example.com"];

/// The default name that does not exist.
pub const MISSING: [&str; 1] = ["missing.example.com"];

/// The default number of pods.
pub const PODS: u16 = 80;

/// The CPU limit of the command line for no limit.
const NO_LIMIT: &str = "none";

/// Checks a CPU limit of the command line.
pub fn parse_limit(text: &str) -> Result<String, String> {
    let is_number = |text: &str| text.parse::<f64>().is_ok_and(|number| number > 0.0);
    let is_limit = text == NO_LIMIT || is_number(text.strip_suffix('m').unwrap_or(text));
    is_limit.then(|| text.to_owned()).ok_or_else(|| "expected a CPU quantity such as 10m, or none".to_owned())
}

/// The regressions for each limit and injected arm, if the arm [`Arm::Direct`] was run with the same limit.
pub fn breaches(runs: &[Figures]) -> Vec<String> {
    let limits: BTreeSet<Option<&str>> = runs.iter().map(|figures| figures.coredns_cpu.as_deref()).collect();
    let of_limit = |limit: Option<&str>| {
        let runs = runs.iter().filter(|figures| figures.coredns_cpu.as_deref() == limit);
        let costs: Vec<_> = runs.map(|figures| (figures.arm, figures.cost())).collect();
        let limit = limit.unwrap_or("no limit").to_owned();
        law::breaches(&costs).into_iter().map(move |breach| format!("CoreDNS with {limit}, {breach}"))
    };
    limits.into_iter().flat_map(of_limit).collect()
}

/// Runs every arm with every limit, and adds the figures of each run to `figures` as soon as it has ended.
pub async fn run(options: &Options, figures: &mut Vec<Figures>) -> Result<(), Failure> {
    let context = context().await?;
    if !may_be_limited(&context, options.allowed.as_deref()) {
        return Err(Failure::new(format!(
            "this experiment restarts CoreDNS and limits its CPU, and the context {context:?} of KUBECONFIG is neither \
             the test cluster's (\"{TEST_CONTEXT}\", see `just cluster up`) nor kind's (\"kind-*\"); where that is meant: \
             --allow-context {context}"
        )));
    }
    let cluster = Cluster::connect().await?;
    let coredns = CoreDns::find(&cluster).await?;
    // Restores the changes of an earlier run that was killed.
    coredns.restore().await?;
    let was_installed = product::is_installed(&cluster).await?;
    let runner = ArmRunner { cluster, coredns, options, namespace: Mutex::default() };
    let result = until_signal(runner.run(figures)).await;
    eprintln!("gang: restoring the settings of CoreDNS");
    // Every cleanup step is tried, even when another one has failed.
    let restored = [
        runner.coredns.restore().await,
        runner.remove_namespace().await,
        runner.remove_product(was_installed).await,
    ];
    restored.into_iter().fold(result, Result::and)
}

/// The context of `just cluster up`.
const TEST_CONTEXT: &str = "podlocal-dns-test";

fn may_be_limited(context: &str, allowed: Option<&str>) -> bool {
    context == TEST_CONTEXT || context.starts_with("kind-") || allowed == Some(context)
}

/// The cluster during the experiment.
struct ArmRunner<'a> {
    cluster: Cluster,
    coredns: CoreDns,
    options: &'a Options,
    /// The namespace of the running arm.
    namespace: Mutex<Option<Namespace>>,
}

impl ArmRunner<'_> {
    async fn run(&self, figures: &mut Vec<Figures>) -> Result<(), Failure> {
        if self.options.arms.iter().any(|arm| arm.is_injected()) {
            product::install(&self.cluster).await?;
        }
        // The arms run in turn, because the other load of the machine changes over time.
        for run in 1..=self.options.runs {
            if self.options.runs > 1 {
                eprintln!("gang: run {run} of {}", self.options.runs);
            }
            for limit in &self.options.limits {
                for arm in &self.options.arms {
                    let limit = Some(limit.as_str()).filter(|limit| *limit != NO_LIMIT);
                    let name = format!("{} at {}", arm.name(), limit.unwrap_or("no limit"));
                    let of_arm = self.run_arm(*arm, limit).await.with_context(|| name)?;
                    figures.push(of_arm);
                }
            }
        }
        Ok(())
    }

    async fn remove_namespace(&self) -> Result<(), Failure> {
        let namespace = self.namespace.lock().unwrap_or_else(PoisonError::into_inner).take();
        match namespace {
            Some(namespace) => namespace.delete_and_wait().await,
            None => Ok(()),
        }
    }

    async fn remove_product(&self, was_installed: bool) -> Result<(), Failure> {
        match (self.options.arms.iter().any(|arm| arm.is_injected()), was_installed) {
            (false, _) => Ok(()),
            (true, true) => product::install_shared_tier(&self.cluster).await,
            (true, false) => product::remove(product::BASE).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn injected_arms_are_compared_with_direct_of_the_same_limit() {
        let figures = |arm, limit: &str, failed| {
            let mut figures = Figures::of(arm, Some(limit), 0.0, 3, &[], &[]);
            figures.failed = failed;
            figures
        };
        let mut runs = vec![
            figures(Arm::Direct, "10m", 2),
            figures(Arm::Direct, "50m", 0),
            figures(Arm::NodeLocal, "50m", 9),
            figures(Arm::Injected, "10m", 2),
            figures(Arm::Shared, "20m", 5),
        ];
        assert_eq!(breaches(&runs), [""; 0]);
        runs.push(figures(Arm::Injected, "50m", 1));
        let breach = "CoreDNS with 50m, with PodLocal DNS: failed lookups: 0 without injection, 1 with it";
        assert_eq!(breaches(&runs), [breach]);
    }

    #[test]
    fn only_test_clusters_are_limited_without_being_named() {
        let may = |context, allowed| may_be_limited(context, allowed);
        assert!(may("podlocal-dns-test", None) && may("kind-kind", None));
        assert!(!may("production", None) && !may("mykind-1", None) && !may("production", Some("staging")));
        assert!(may("production", Some("production")));
    }

    #[test]
    fn a_limit_is_a_cpu_quantity_or_none() {
        for limit in ["10m", "0.5", "2", "none"] {
            assert_eq!(parse_limit(limit).as_deref(), Ok(limit));
        }
        for wrong in ["", "m", "0m", "-1", "ten"] {
            assert!(parse_limit(wrong).unwrap_err().contains("expected a CPU quantity"), "{wrong}");
        }
    }
}
