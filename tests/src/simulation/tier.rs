//! One process of the shared tier: its cores' queues, what it knows, and who waits for what. Pure; time is passed in.

use std::collections::HashMap;
use std::time::Duration;

use super::plan::Question;
use crate::cluster_dns::{Capacity, ServiceQueue};

/// What the shared tier is.
#[derive(Debug, Clone, Copy)]
pub struct TierSize {
    /// Its processes, behind one Service; 0: one on each node, for the pods of that node.
    pub replicas: usize,
    /// The cores of each: so many threads with sockets of their own, and one cache.
    pub cores: usize,
    /// Answers that a core gives in a second. A question that has to wait costs as much as two: one when it comes,
    /// one when it is answered.
    pub per_second: f64,
    /// Datagrams that wait at one socket; more are dropped. 540 are what Linux lets a program have that asks for more
    /// room and has no privilege (`net.core.rmem_max`).
    pub queue: usize,
}

impl TierSize {
    /// A Deployment of two replicas with two cores each.
    pub const DEFAULT: Self = Self { replicas: 2, cores: 2, per_second: 200_000.0, queue: 540 };
}

/// A process of it. Exchanges are known by their index.
#[derive(Debug, Clone)]
pub(super) struct Tier {
    cores: Vec<ServiceQueue>,
    /// Until when an answer is known.
    known: HashMap<Question, Duration>,
    flights: HashMap<Question, Vec<Client>>,
}

/// A question of a sidecar, as it came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Client {
    pub(super) exchange: usize,
    pub(super) core: usize,
    pub(super) by_tcp: bool,
}

/// What becomes of a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    /// The answer is there.
    Known,
    /// It waits for one that is under way.
    Joins,
    /// The tier begins to ask.
    Leads,
}

impl Tier {
    pub(super) fn new(size: &TierSize) -> Self {
        let capacity = Capacity { per_second: size.per_second, queue: size.queue, loss: 0.0, seed: 0 };
        let cores = vec![ServiceQueue::new(&capacity); size.cores];
        Self { cores, known: HashMap::new(), flights: HashMap::new() }
    }

    /// A query comes to a core; when it has been read, and answered if the answer is there. `None`: dropped.
    pub(super) fn arrive(&mut self, now: Duration, client: Client) -> Option<Duration> {
        let core = &mut self.cores[client.core];
        if client.by_tcp { Some(core.stream(now)) } else { core.datagram(now) }
    }

    /// What becomes of a question that has been read.
    pub(super) fn ask(&mut self, now: Duration, question: Question, client: Client) -> Asked {
        if self.known.get(&question).is_some_and(|until| *until > now) {
            return Asked::Known;
        }
        let waiting = self.flights.entry(question).or_default();
        waiting.push(client);
        if waiting.len() == 1 { Asked::Leads } else { Asked::Joins }
    }

    /// The question is answered, for so long, or has failed: everybody who waited, and when each is told.
    pub(super) fn end(
        &mut self,
        now: Duration,
        question: Question,
        life: Option<Duration>,
    ) -> Vec<(Client, Duration)> {
        if let Some(life) = life {
            self.known.insert(question, now + life);
        }
        let waiting = self.flights.remove(&question).unwrap_or_default();
        waiting.into_iter().map(|client| (client, self.cores[client.core].stream(now))).collect()
    }

    /// The gang is gone; what it has asked for stays known.
    pub(super) fn forget_clients(&mut self) {
        self.flights.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUESTION: Question = Question { name: 1, is_aaaa: false, in_cluster: true, is_negative: false };

    fn client(exchange: usize) -> Client {
        Client { exchange, core: exchange % 2, by_tcp: false }
    }

    #[test]
    fn the_first_one_leads_the_others_join_and_who_comes_later_finds_the_answer() {
        let mut tier = Tier::new(&TierSize { per_second: 1000.0, ..TierSize::DEFAULT });
        let now = Duration::from_secs(1);
        let asked = [0, 1, 2].map(|exchange| tier.ask(now, QUESTION, client(exchange)));
        assert_eq!(asked, [Asked::Leads, Asked::Joins, Asked::Joins]);
        let told = tier.end(now, QUESTION, Some(Duration::from_secs(5)));
        // Two at one core, one at the other; a millisecond for each.
        let after = |milliseconds| now + Duration::from_millis(milliseconds);
        assert_eq!(told, [(client(0), after(1)), (client(1), after(1)), (client(2), after(2))]);
        assert_eq!(tier.ask(after(4999), QUESTION, client(3)), Asked::Known);
        assert_eq!(tier.ask(after(5000), QUESTION, client(4)), Asked::Leads);
    }

    #[test]
    fn a_failure_is_told_to_all_and_known_to_nobody_else() {
        let mut tier = Tier::new(&TierSize::DEFAULT);
        tier.ask(Duration::ZERO, QUESTION, client(0));
        assert_eq!(tier.end(Duration::ZERO, QUESTION, None).len(), 1);
        assert_eq!(tier.ask(Duration::ZERO, QUESTION, client(1)), Asked::Leads);
    }

    #[test]
    fn each_core_has_a_queue_of_its_own() {
        let mut tier = Tier::new(&TierSize { per_second: 1.0, queue: 1, ..TierSize::DEFAULT });
        let dropped = [0, 1, 2].map(|exchange| tier.arrive(Duration::ZERO, client(exchange)).is_none());
        assert_eq!(dropped, [false, false, true]);
        let by_tcp = Client { by_tcp: true, ..client(2) };
        assert_eq!(tier.arrive(Duration::ZERO, by_tcp), Some(Duration::from_secs(2)));
    }
}
