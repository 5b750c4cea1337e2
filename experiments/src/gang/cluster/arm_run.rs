//! One run of an arm: fresh pods, cold caches, a common start.

use std::collections::BTreeMap;
use std::sync::PoisonError;
use std::time::Duration;

use futures_util::stream::{StreamExt as _, TryStreamExt as _, iter};
use podlocal_harness::cluster::client::{Libc, Lookup, SLEEP, pod};
use podlocal_harness::cluster::namespace::Namespace;
use podlocal_harness::cluster::{eventually, name_of, product};
use podlocal_harness::time::now;
use podlocal_settings::names::{INJECT_ENABLED, INJECT_LABEL};
use serde_json::json;
use tokio::time::{Instant, sleep};

use super::super::arm::Arm;
use super::figures::{Figures, QUIET};
use super::start::{common_start, late, sleep_until};
use super::{ArmRunner, Options, job, node_local};
use podlocal_harness::failure::Failure;

/// The number of attempts before the run fails.
const STARTS: u32 = 4;

/// The time-out for the lookups of the pods, in seconds. Three lookups of glibc take a minute when every
/// attempt times out.
const RUN: f64 = 150.0;

/// The maximum number of reads of CoreDNS's counter while it grows, one every two seconds.
const SETTLE: usize = 30;

/// The number of logs that are read in parallel, because two cores also run the pods.
const READERS: usize = 4;

impl ArmRunner<'_> {
    /// Runs an arm, and repeats it while its pods are not ready at the common start.
    pub(super) async fn run_arm(&self, arm: Arm, limit: Option<&str>) -> Result<Figures, Failure> {
        let progress = |what: &str| {
            eprintln!("gang: {}, CoreDNS with {}: {what}", arm.name(), limit.unwrap_or("no limit"));
        };
        for late_starts in 0..STARTS {
            if arm.is_injected() {
                // Also in an arm with a tier, so that the tier starts with an empty cache.
                product::remove(product::SHARED_TIER).await?;
            }
            if arm == Arm::Shared {
                progress("installing the shared tier");
                product::install_shared_tier(&self.cluster).await?;
            }
            let labels = if arm.is_injected() { json!({ INJECT_LABEL: INJECT_ENABLED }) } else { json!({}) };
            let namespace = Namespace::create(&self.cluster, "gang", labels, &json!({})).await?;
            *self.namespace.lock().unwrap_or_else(PoisonError::into_inner) = Some(namespace.clone());
            if arm.is_injected() {
                webhook_knows(&namespace, arm).await?;
            }
            progress("restarting CoreDNS");
            self.coredns.restart(limit).await?;
            let result = self.start(arm, limit, &namespace, late_starts, &progress).await;
            if let Err(failure) = result {
                return Err(Failure::new(format!("{failure}\n{}", namespace.describe().await)));
            }
            self.remove_namespace().await?;
            if let Some(figures) = result? {
                return Ok(figures);
            }
        }
        Err(Failure::new(format!(
            "not all pods were running in time in any of {STARTS} starts: is the node busy with other work?"
        )))
    }

    /// Returns `None` when a pod was not ready at the common start.
    async fn start(
        &self,
        arm: Arm,
        limit: Option<&str>,
        namespace: &Namespace,
        late_starts: u32,
        progress: &impl Fn(&str),
    ) -> Result<Option<Figures>, Failure> {
        let Options { pods: count, ref names, ref missing, .. } = *self.options;
        let cache = match arm {
            Arm::NodeLocal => Some(node_local::start(namespace, &self.coredns).await?),
            _ => None,
        };
        let before = (self.queries().await?, self.coredns.restarts().await?);
        let counting = Instant::now();
        let names = [&names[..], missing].concat();
        let start = common_start(now(), count, late_starts);
        progress(&format!("creating {count} pods, lookups in {:.0} s", start - now()));
        let job = job::job(arm, count, start, &names, &namespace.name, cache.as_deref());
        namespace.apply(job).await?;
        let running = running_by(namespace, count, start - 1.0).await?;
        if running < count {
            progress(&format!("{running} of {count} pods are running: repeating with a later start"));
            return Ok(None);
        }
        progress(&format!("all pods are running, lookups in {:.0} s", start - now()));
        let others = self.others(start - 1.0).await?;
        if others > QUIET {
            progress(&format!(
                "CoreDNS receives {others:.1} other queries per second; they are subtracted, but slow it down"
            ));
        }
        sleep_until(start).await;
        let pods = lookups(namespace, names.len(), start + RUN).await?;
        let late = late(start, &pods);
        if late > 0 {
            progress(&format!("{late} of {count} pods started late: repeating with a later start"));
            return Ok(None);
        }
        let mut figures = Figures::of(arm, limit, start, names.len(), missing, &pods);
        figures.late_starts = late_starts;
        progress("counting the queries");
        let queries = self.settled_queries(others).await?;
        figures.coredns_restarts = self.coredns.restarts().await? - before.1;
        figures.queries_of_others_per_second = others;
        figures.count(before.0, queries, counting.elapsed());
        progress(&format!(
            "{} of {} lookups failed, {} queries, {} restarts of CoreDNS",
            figures.failed, figures.lookups, figures.queries, figures.coredns_restarts
        ));
        Ok(Some(figures))
    }

    /// Reads the counter with retries, because CoreDNS may be slow to serve its metrics, or may be
    /// restarting.
    async fn queries(&self) -> Result<u64, Failure> {
        eventually("the metrics of CoreDNS", async || self.coredns.queries().await.map(Some)).await
    }

    /// Queries per second of other programs until `end`, while no pod of the gang sends a query.
    async fn others(&self, end: f64) -> Result<f64, Failure> {
        // Sidecars that have just started may send queries.
        sleep(Duration::from_secs(1)).await;
        let (first, at) = (self.queries().await?, now());
        sleep_until(end).await;
        let queries = self.queries().await?.saturating_sub(first);
        Ok(queries as f64 / (now() - at).max(1.0))
    }

    /// Waits until the counter is stable: CoreDNS counts answered queries, and still answers queries of pods
    /// that have given up.
    async fn settled_queries(&self, others: f64) -> Result<u64, Failure> {
        let (mut last, mut at) = (self.queries().await?, now());
        for _ in 0..SETTLE {
            sleep(Duration::from_secs(2)).await;
            let (queries, read_at) = (self.queries().await?, now());
            let of_others = 1.5 * others.max(QUIET) * (read_at - at);
            if queries.saturating_sub(last) as f64 <= of_others {
                return Ok(queries);
            }
            (last, at) = (queries, read_at);
        }
        Ok(last)
    }
}

/// Waits until new pods would get the configuration of the arm: a sidecar, with or without the shared tier.
async fn webhook_knows(namespace: &Namespace, arm: Arm) -> Result<(), Failure> {
    let expects_tier = arm == Arm::Shared;
    let what = if expects_tier {
        "new pods get the shared tier"
    } else {
        "new pods get a sidecar without a shared tier"
    };
    eventually(what, async || {
        let created = namespace.apply_with(pod("trial", Libc::Glibc, &SLEEP), "dryRun=All").await?;
        let is_injected = product::sidecar(&created.object).is_some();
        let has_tier = product::tier_of(&created.object).is_some();
        Ok((is_injected && has_tier == expects_tier).then_some(()))
    })
    .await
}

/// The number of pods of the Job that are running at the deadline; returns early when all are.
async fn running_by(namespace: &Namespace, pods: usize, deadline: f64) -> Result<usize, Failure> {
    loop {
        let status = namespace.get("batch/v1", "Job", job::NAME).await?;
        let running = status["status"]["ready"].as_u64().unwrap_or_default() as usize;
        if running >= pods || now() > deadline {
            return Ok(running);
        }
        sleep(Duration::from_millis(500)).await;
    }
}

/// The lookups of each pod; returns when all pods have finished, or at the deadline.
async fn lookups(namespace: &Namespace, names: usize, deadline: f64) -> Result<Vec<Vec<Lookup>>, Failure> {
    let pods = namespace.pods(&format!("app={}", job::NAME)).await?;
    let mut lookups: BTreeMap<&str, Vec<Lookup>> =
        pods.iter().map(|pod| (name_of(pod), Vec::new())).collect();
    loop {
        // Each read uses CPU time of the node that the pods need as well.
        sleep(Duration::from_secs(2)).await;
        let unfinished = lookups.iter().filter(|(_, made)| made.len() < names).map(|(pod, _)| *pod);
        let unfinished: Vec<&str> = unfinished.collect();
        let read = async |pod| {
            let log = namespace.log(pod, "client").await?;
            Ok::<_, Failure>((pod, Lookup::read_all(&log)))
        };
        let logs: Vec<_> = iter(unfinished).map(read).buffer_unordered(READERS).try_collect().await?;
        lookups.extend(logs);
        if lookups.values().all(|made| made.len() == names) || now() > deadline {
            break;
        }
    }
    Ok(lookups.into_values().collect())
}
