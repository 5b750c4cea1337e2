//! A steady load of lookups in an injected pod, and its results between two times.
//!
//! The pod resolves its names in turn, one lookup every 50 ms and never two at a time, and logs each as a
//! [`Lookup`]. It uses the DNS of the pod directly, so the log shows what an application gets.

use std::fmt;

use podlocal_settings::names::CONTAINER_NAME;
use serde_json::Value;

use super::client::{self, Libc, Lookup};
use super::metrics::SIDECAR_PORT;
use super::namespace::Namespace;
use super::pods::container_status;
use super::{eventually, kubectl};
use crate::failure::Failure;

/// The milliseconds from the start of one lookup to the start of the next.
const INTERVAL: &str = "50";

/// The name of the pod.
const POD: &str = "load";

/// A pod that resolves names until it is deleted.
#[derive(Clone)]
pub struct Load {
    namespace: Namespace,
    /// The name of the pod.
    pub pod: String,
}

/// The results of lookups.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Summary {
    /// The number of lookups.
    pub lookups: usize,
    /// The number of lookups that found no address.
    pub failed: usize,
    /// The duration of the slowest.
    pub slowest_ms: f64,
    /// The longest time without a success: from the start of a failed lookup to the end of the next
    /// successful one.
    pub outage_ms: f64,
}

/// A pod, `load`, for [`Load::start`].
pub fn pod(libc: Libc, names: &[&str]) -> Value {
    client::pod(POD, libc, &[&["getaddr", "--every", INTERVAL], names].concat())
}

/// Deletes the load of a namespace that is kept, if there is one, because it would slow down the next tests.
pub async fn stop(namespace: &Namespace) -> Result<(), Failure> {
    let words = ["--namespace", &namespace.name, "delete", "pod", POD, "--ignore-not-found", "--wait=false"];
    kubectl(&words).await.map(drop)
}

impl Load {
    /// Creates the pod, and waits until it is injected and has resolved each of its names.
    pub async fn start(namespace: &Namespace, pod: Value) -> Result<Self, Failure> {
        let names = pod["spec"]["containers"][0]["command"].as_array().map_or(0, |words| words.len() - 3);
        let pod = namespace.run(pod).await?;
        if container_status(&namespace.pod(&pod).await?, CONTAINER_NAME).is_none() {
            return Err(Failure::new(format!(
                "pod {pod} is not injected: it has no container {CONTAINER_NAME}"
            )));
        }
        let load = Self { namespace: namespace.clone(), pod };
        eventually("the load has resolved each of its names", async || {
            let lookups = load.lookups().await?;
            let is_warm = lookups.iter().filter(|lookup| !lookup.is_failure()).count() >= names.max(1);
            Ok(is_warm.then_some(()))
        })
        .await?;
        Ok(load)
    }

    /// Every lookup so far.
    pub async fn lookups(&self) -> Result<Vec<Lookup>, Failure> {
        Ok(Lookup::read_all(&self.namespace.log(&self.pod, "client").await?))
    }

    /// The metrics of the pod's sidecar.
    pub async fn scrape(&self) -> Result<String, Failure> {
        self.namespace.cluster.scrape(&self.namespace.name, &self.pod, SIDECAR_PORT).await
    }

    /// The results of the lookups that were in flight between two times, in seconds since 1970. Waits until
    /// the last of them has ended.
    pub async fn between(&self, from: f64, to: f64) -> Result<Summary, Failure> {
        let lookups = eventually("the load goes on", async || {
            let lookups = self.lookups().await?;
            Ok(lookups.last().is_some_and(|last| last.at > to).then_some(lookups))
        })
        .await?;
        Ok(Summary::between(&lookups, from, to))
    }
}

impl Summary {
    /// The results of those `lookups` that were in flight between two times. `lookups` are in the order of
    /// their start.
    pub fn between(lookups: &[Lookup], from: f64, to: f64) -> Self {
        let mut summary = Self::default();
        let mut failing_since = None;
        for lookup in lookups.iter().filter(|lookup| lookup.at <= to && lookup.at + lookup.ms / 1e3 >= from) {
            summary.lookups += 1;
            summary.slowest_ms = summary.slowest_ms.max(lookup.ms);
            let end = lookup.at + lookup.ms / 1e3;
            if lookup.is_failure() {
                summary.failed += 1;
            }
            if lookup.is_failure() || failing_since.is_some() {
                let since = *failing_since.get_or_insert(lookup.at);
                summary.outage_ms = summary.outage_ms.max((end - since) * 1e3);
            }
            if !lookup.is_failure() {
                failing_since = None;
            }
        }
        summary
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "lookups {}, failed {}, slowest {:.0} ms",
            self.lookups, self.failed, self.slowest_ms
        )?;
        if self.failed > 0 {
            write!(formatter, ", longest time without a success {:.0} ms", self.outage_ms)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lookup(at: f64, ms: f64, error: &str) -> Lookup {
        Lookup { name: "a".to_owned(), at, ms, error: error.to_owned(), addresses: Vec::new() }
    }

    #[test]
    fn a_summary_counts_lookups_that_overlap_the_interval() {
        let lookups = [
            lookup(9.0, 500.0, "before"),
            lookup(9.6, 1000.0, ""),
            lookup(10.7, 100.0, "refused"),
            lookup(10.8, 100.0, "refused"),
            lookup(11.0, 500.0, ""),
            lookup(12.1, 9000.0, "after"),
        ];
        let summary = Summary::between(&lookups, 10.0, 12.0);
        assert_eq!((summary.lookups, summary.failed), (4, 2));
        assert!((summary.slowest_ms - 1000.0).abs() < 1e-6, "{summary:?}");
        assert!((summary.outage_ms - 800.0).abs() < 1e-6, "{summary:?}");
    }
}
