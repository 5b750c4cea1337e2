//! What came of an arm.

use std::collections::BTreeMap;

use serde::Serialize;

use super::arm::Arm;
use super::law::Cost;
use super::{Lookup, steps_as_json};
use crate::cluster_dns::{Counts, Step, Transport};

/// What came of an arm, over all its attempts.
#[derive(Debug, Clone, Serialize)]
pub struct Figures {
    /// How the pods were run.
    pub arm: Arm,
    /// How many pods.
    pub pods: usize,
    /// How often all pods were started again because one had failed.
    pub restarts: u32,
    /// When each pod had resolved all its names, in seconds from the first attempt's start signal, ascending; of the
    /// attempt in which no pod failed. Empty: there was none, the gang never started.
    pub started_seconds: Vec<f64>,
    /// Pods whose application did not run to exit code 0; the first of each attempt ends it.
    pub failed_pods: usize,
    /// Queries that the cluster DNS got by UDP, those that were dropped included.
    pub queries_udp: u64,
    /// Queries that the cluster DNS got by TCP.
    pub queries_tcp: u64,
    /// How often each name and type was asked for at the cluster DNS.
    pub asked: BTreeMap<String, u64>,
    /// Queries that were dropped before a full queue.
    pub dropped: u64,
    /// Datagrams that were lost on the way.
    pub lost: u64,
    /// How long each look-up took, in milliseconds, ascending; answered or not.
    pub lookup_milliseconds: Vec<f64>,
    /// Look-ups that gave what the application expected.
    pub answered: usize,
    /// Look-ups that did not.
    pub failed: usize,
    /// From the creation of each pod to the start of its application, in seconds, ascending. Pods are started a few at
    /// a time.
    pub creation_seconds: Vec<f64>,
    /// What the cluster DNS did over time, from the first start signal.
    #[serde(serialize_with = "steps_as_json")]
    pub steps: Vec<Step>,
    /// What is known about the first pod that failed.
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

    /// All queries that the cluster DNS got.
    pub fn queries(&self) -> u64 {
        self.queries_udp + self.queries_tcp
    }

    /// What the law compares.
    pub fn cost(&self) -> Cost {
        Cost::new(self.failed, self.queries(), &self.started_seconds, self.pods)
    }

    /// Whether every application ran at the first attempt, and got what it expected.
    pub fn is_success(&self) -> bool {
        self.failed == 0 && self.failed_pods == 0 && self.has_started()
    }

    /// Whether at last every pod resolved all its names.
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
