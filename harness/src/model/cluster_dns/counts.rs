//! The queries that cluster DNS received, in total and over time.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use hickory_proto::rr::RecordType;
use serde::Serialize;

use crate::framing::Transport;

/// The length of one [`Step`].
pub const STEP: Duration = Duration::from_millis(50);

/// The received queries since the start or the last reset.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    asked: BTreeMap<(String, RecordType, Transport), u64>,
    /// Queries that arrived at a full queue.
    pub dropped: u64,
    /// Datagrams that were lost on the network, to the server or back. A lost query does not count as
    /// received.
    pub lost: u64,
    /// The steps in order; empty without a capacity.
    pub steps: Vec<Step>,
}

/// The counts of one [`STEP`] of time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Step {
    /// Queries that arrived, including dropped ones.
    pub asked: u64,
    /// Answers that were sent.
    pub answered: u64,
    /// Queries that were dropped.
    pub dropped: u64,
}

impl Counts {
    /// All queries.
    pub fn total(&self) -> u64 {
        self.asked.values().sum()
    }

    /// Queries over one transport.
    pub fn over(&self, transport: Transport) -> u64 {
        let matching = self.asked.iter().filter(|((_, _, over), _)| *over == transport);
        matching.map(|(_, count)| count).sum()
    }

    /// The number of queries for each name and type, keyed by `name type`.
    pub fn by_question(&self) -> BTreeMap<String, u64> {
        let mut questions = BTreeMap::new();
        for ((name, record_type, _), count) in &self.asked {
            *questions.entry(format!("{name} {record_type}")).or_default() += count;
        }
        questions
    }

    /// The largest number of queries for one name and type, over both transports.
    pub fn most_for_one(&self) -> u64 {
        self.by_question().into_values().max().unwrap_or_default()
    }

    /// The queried names, without the final dot.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let mut names: Vec<_> = self.asked.keys().map(|(name, _, _)| name.as_str()).collect();
        names.dedup();
        names.into_iter()
    }

    pub(super) fn count(&mut self, name: String, record_type: RecordType, transport: Transport) {
        *self.asked.entry((name, record_type, transport)).or_default() += 1;
    }

    /// The step of a moment, measured from the start of the server.
    pub fn step(&mut self, at: Duration) -> &mut Step {
        let index = usize::try_from(at.as_nanos() / STEP.as_nanos()).unwrap_or(usize::MAX);
        if self.steps.len() <= index {
            self.steps.resize_with(index + 1, Step::default);
        }
        &mut self.steps[index]
    }
}

/// The number of waiting queries at the end of each step.
pub fn waiting(steps: &[Step]) -> Vec<u64> {
    let mut waiting = 0;
    let after = |step: &Step| {
        waiting = (waiting + step.asked).saturating_sub(step.dropped + step.answered);
        waiting
    };
    steps.iter().map(after).collect()
}

impl fmt::Display for Counts {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for ((name, record_type, transport), count) in &self.asked {
            writeln!(formatter, "{count:6} {name} {record_type} {transport:?}")?;
        }
        write!(formatter, "{:6} in all", self.total())
    }
}
