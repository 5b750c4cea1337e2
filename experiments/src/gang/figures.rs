//! The results of an arm.

use podlocal_harness::model::lookup::Lookup;
use std::collections::BTreeMap;

use serde::Serialize;

use super::arm::Arm;
use super::law::Cost;
use super::steps_as_json;
use podlocal_harness::model::cluster_dns::{Counts, Step, Transport};

/// The results of an arm over all its attempts.
#[derive(Debug, Clone, Serialize)]
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
    /// The time from the creation of each pod to the start of its application, in seconds, ascending. A few
    /// pods are started at a time.
    pub creation_seconds: Vec<f64>,
    /// The activity of cluster DNS over time, from the first start signal.
    #[serde(serialize_with = "steps_as_json")]
    pub steps: Vec<Step>,
    /// The status of the first pod that failed.
    pub first_failure: Option<String>,
}

impl Figures {
    pub(super) fn new(arm: Arm, pods: usize) -> Self {
        Self {
            arm,
            pods,
            restarts: 0,
            started_seconds: Vec::new(),
            failed_pods: 0,
            queries_udp: 0,
            queries_tcp: 0,
            asked: BTreeMap::new(),
            dropped: 0,
            lost: 0,
            lookup_milliseconds: Vec::new(),
            answered: 0,
            failed: 0,
            creation_seconds: Vec::new(),
            steps: Vec::new(),
            first_failure: None,
        }
    }

    /// All queries that cluster DNS received.
    pub fn queries(&self) -> u64 {
        self.queries_udp + self.queries_tcp
    }

    /// The values that the law compares.
    pub fn cost(&self) -> Cost {
        Cost::new(self.failed, self.queries(), &self.started_seconds, self.pods)
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
        for ascending in
            [&mut self.started_seconds, &mut self.lookup_milliseconds, &mut self.creation_seconds]
        {
            ascending.sort_by(f64::total_cmp);
        }
    }
}
