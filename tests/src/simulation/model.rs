//! Pods, the way to cluster DNS, and its queue, in virtual time.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::time::Duration;

use super::plan::{Question, Step, plan};
use super::stub::{Next, Stub};
use crate::cluster_dns::{Capacity, ServiceQueue};
use crate::gang::arm::Arm;

/// The way from a pod to cluster DNS.
const WAY: Duration = Duration::from_micros(250);

/// glibc: `RES_TIMEOUT`.
const STUB_TIMEOUT: Duration = Duration::from_secs(5);

/// The node's cache: an attempt, all attempts, and how long answers live (`denial 9984 5`, all others 30 s).
const NODE_ATTEMPT: Duration = Duration::from_secs(2);
const NODE_DEADLINE: Duration = Duration::from_secs(5);
const NODE_NEGATIVE: Duration = Duration::from_secs(5);
const NODE_POSITIVE: Duration = Duration::from_secs(30);

/// The sidecar: the second attempt, by TCP, and all attempts.
const SIDECAR_HEDGE: Duration = Duration::from_millis(300);
const SIDECAR_DEADLINE: Duration = Duration::from_secs(4);

/// What is simulated.
#[derive(Debug, Clone, Copy)]
pub struct Gang {
    /// How the pods resolve.
    pub arm: Arm,
    /// How many.
    pub pods: usize,
    /// How many share a node, and its cache.
    pub pods_per_node: usize,
    /// Over how long a time they send their first question.
    pub spread: Duration,
    /// Cluster DNS and the loss on the way.
    pub capacity: Capacity,
    /// How often all start again when one failed.
    pub restarts: u32,
    /// How long it takes to create them again.
    pub recreation: Duration,
}

/// What came of it.
#[derive(Debug, Clone, Default, serde::Serialize)]
pub struct Outcome {
    /// Queries at cluster DNS, those that were dropped included.
    pub queries: u64,
    /// Queries that were dropped before a full queue.
    pub dropped: u64,
    /// How often all started again.
    pub restarts: u32,
    /// When each pod had its names, in seconds, ascending; empty: the gang never started.
    pub started_seconds: Vec<f64>,
}

/// Simulates a gang until it has started or has no restart left.
pub fn simulate(gang: &Gang) -> Outcome {
    let mut model = Model {
        gang: *gang,
        plan: plan(gang.arm),
        queue: ServiceQueue::new(&gang.capacity),
        random: fastrand::Rng::with_seed(gang.capacity.seed),
        events: BinaryHeap::new(),
        now: Duration::ZERO,
        sequence: 0,
        pods: Vec::new(),
        exchanges: Vec::new(),
        node_caches: HashMap::new(),
        outcome: Outcome::default(),
    };
    model.run();
    model.outcome.started_seconds.sort_by(f64::total_cmp);
    model.outcome
}

/// What happens at a moment. Pods and exchanges are known by their index in the attempt of the gang that runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// The pod sends its first question.
    Begin { pod: usize },
    /// A query comes to cluster DNS.
    Arrives { exchange: usize, by_tcp: bool },
    /// An answer comes back.
    Answered { exchange: usize },
    /// An exchange's next attempt, or its end.
    Again { exchange: usize, attempt: u8 },
    /// The stub resolver has waited long enough.
    TimeOut { pod: usize, round: u32 },
}

/// A question on its way, from a pod, its sidecar or its node.
#[derive(Debug, Clone)]
struct Exchange {
    pod: usize,
    round: u32,
    index: usize,
    question: Question,
    begun: Duration,
    is_from_cache: bool,
    is_done: bool,
}

struct Model {
    gang: Gang,
    plan: Vec<Vec<Step>>,
    queue: ServiceQueue,
    random: fastrand::Rng,
    events: BinaryHeap<Reverse<(Duration, u64, Event)>>,
    now: Duration,
    sequence: u64,
    pods: Vec<Stub>,
    exchanges: Vec<Exchange>,
    /// Until when each node knows an answer.
    node_caches: HashMap<(usize, Question), Duration>,
    outcome: Outcome,
}

impl Model {
    fn run(&mut self) {
        for attempt in 0..=self.gang.restarts {
            self.outcome.restarts = attempt;
            self.begin();
            if self.attempt() {
                return;
            }
            self.outcome.started_seconds.clear();
            self.now += self.gang.recreation;
        }
    }

    /// All pods anew; what cluster DNS still has in its queue is answered to nobody.
    fn begin(&mut self) {
        self.events.clear();
        self.exchanges.clear();
        self.pods = vec![Stub::new(); self.gang.pods];
        for pod in 0..self.gang.pods {
            let after = self.gang.spread.mul_f64(self.random.f64());
            self.schedule(after, Event::Begin { pod });
        }
    }

    /// Whether every pod got its names before one failed.
    fn attempt(&mut self) -> bool {
        while let Some(Reverse((at, _, event))) = self.events.pop() {
            self.now = at;
            let plan = &self.plan;
            let (pod, next) = match event {
                Event::Begin { pod } => (pod, self.pods[pod].begin(plan)),
                Event::TimeOut { pod, round } => (pod, self.pods[pod].time_out(plan, round)),
                Event::Answered { exchange } => self.answer(exchange),
                Event::Again { exchange, attempt } => self.again(exchange, attempt),
                Event::Arrives { exchange, by_tcp } => {
                    self.arrive(exchange, by_tcp);
                    continue;
                }
            };
            if !self.follow(pod, next) {
                return false;
            }
        }
        self.outcome.started_seconds.len() == self.gang.pods
    }

    fn schedule(&mut self, after: Duration, event: Event) {
        self.sequence += 1;
        self.events.push(Reverse((self.now + after, self.sequence, event)));
    }

    /// Whether the gang goes on: a pod that has failed ends it.
    fn follow(&mut self, pod: usize, next: Next) -> bool {
        match next {
            Next::Wait => {}
            Next::Also(index) => self.ask(pod, index),
            Next::Round(questions) => {
                for index in questions {
                    self.ask(pod, index);
                }
                let round = self.pods[pod].round();
                self.schedule(STUB_TIMEOUT, Event::TimeOut { pod, round });
            }
            Next::End { is_success: true } => self.outcome.started_seconds.push(self.now.as_secs_f64()),
            Next::End { is_success: false } => return false,
        }
        true
    }

    fn ask(&mut self, pod: usize, index: usize) {
        let question = self.pods[pod].step_of(&self.plan)[index];
        let (round, begun) = (self.pods[pod].round(), self.now);
        let is_from_cache = self.gang.arm == Arm::NodeLocal && self.node_knows(pod, question);
        self.exchanges.push(Exchange { pod, round, index, question, begun, is_from_cache, is_done: false });
        let exchange = self.exchanges.len() - 1;
        if is_from_cache {
            self.schedule(Duration::ZERO, Event::Answered { exchange });
        } else {
            // The first attempt is never the end of an exchange.
            let _ = self.again(exchange, 0);
        }
    }

    fn node_knows(&self, pod: usize, question: Question) -> bool {
        let until = self.node_caches.get(&(pod / self.gang.pods_per_node, question));
        until.is_some_and(|until| *until > self.now)
    }

    /// Sends an attempt of an exchange, and plans the next one, by the policy of whoever asks cluster DNS.
    fn again(&mut self, exchange: usize, attempt: u8) -> (usize, Next) {
        let pod = self.exchanges[exchange].pod;
        if self.exchanges[exchange].is_done {
            return (pod, Next::Wait);
        }
        let elapsed = self.now.saturating_sub(self.exchanges[exchange].begun);
        let (by_tcp, next) = match self.gang.arm {
            Arm::Direct | Arm::Ndots2 => (false, None),
            Arm::NodeLocal if elapsed >= NODE_DEADLINE => return self.fail(exchange),
            Arm::NodeLocal => (self.exchanges[exchange].question.in_cluster, Some(NODE_ATTEMPT)),
            Arm::Injected if elapsed >= SIDECAR_DEADLINE => return self.fail(exchange),
            Arm::Injected if attempt == 0 => (false, Some(SIDECAR_HEDGE)),
            Arm::Injected => (true, Some(SIDECAR_DEADLINE.saturating_sub(elapsed))),
        };
        if by_tcp || self.random.f64() >= self.gang.capacity.loss {
            self.schedule(WAY, Event::Arrives { exchange, by_tcp });
        }
        if let Some(after) = next {
            self.schedule(after, Event::Again { exchange, attempt: attempt + 1 });
        }
        (pod, Next::Wait)
    }

    fn arrive(&mut self, exchange: usize, by_tcp: bool) {
        self.outcome.queries += 1;
        let done = if by_tcp { Some(self.queue.stream(self.now)) } else { self.queue.datagram(self.now) };
        self.outcome.dropped += u64::from(done.is_none());
        let is_lost = !by_tcp && self.random.f64() < self.gang.capacity.loss;
        if let Some(done) = done.filter(|_| !is_lost) {
            let after = done.saturating_sub(self.now) + WAY;
            self.schedule(after, Event::Answered { exchange });
        }
    }

    fn answer(&mut self, exchange: usize) -> (usize, Next) {
        let Exchange { pod, round, index, question, is_from_cache, is_done, .. } = self.exchanges[exchange];
        self.exchanges[exchange].is_done = true;
        if self.gang.arm == Arm::NodeLocal && !is_from_cache {
            let is_short = question.is_negative && question.in_cluster;
            let life = if is_short { NODE_NEGATIVE } else { NODE_POSITIVE };
            self.node_caches.insert((pod / self.gang.pods_per_node, question), self.now + life);
        }
        let next = if is_done { Next::Wait } else { self.pods[pod].answer(&self.plan, round, index) };
        (pod, next)
    }

    /// SERVFAIL.
    fn fail(&mut self, exchange: usize) -> (usize, Next) {
        let Exchange { pod, round, .. } = self.exchanges[exchange];
        self.exchanges[exchange].is_done = true;
        (pod, self.pods[pod].fail(&self.plan, round))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gang(arm: Arm, pods: usize, capacity: Capacity) -> Outcome {
        let spread = Duration::from_millis(20);
        simulate(&Gang {
            arm,
            pods,
            pods_per_node: 100,
            spread,
            capacity,
            restarts: 2,
            recreation: Duration::from_secs(1),
        })
    }

    const PLENTY: Capacity = Capacity { per_second: 1e6, queue: 10_000, loss: 0.0, seed: 1 };

    #[test]
    fn without_loss_and_queues_every_pod_asks_what_its_plan_says() {
        let queries = |arm| gang(arm, 50, PLENTY).queries;
        assert_eq!([Arm::Direct, Arm::Ndots2, Arm::Injected].map(queries), [1000, 700, 450]);
        let shared = queries(Arm::NodeLocal);
        assert!((20..1000).contains(&shared), "{shared}");
    }

    #[test]
    fn a_dead_cluster_dns_fails_every_attempt() {
        let outcome = gang(Arm::Direct, 10, Capacity { loss: 1.0, ..PLENTY });
        assert_eq!((outcome.restarts, outcome.started_seconds.len(), outcome.queries), (2, 0, 0));
    }

    #[test]
    fn a_queue_that_drops_fails_the_gang_without_us_and_not_with_us() {
        let capacity = Capacity { per_second: 1000.0, queue: 64, loss: 0.01, seed: 1 };
        assert!(gang(Arm::Direct, 100, capacity).started_seconds.is_empty());
        let injected = gang(Arm::Injected, 100, capacity);
        assert_eq!((injected.started_seconds.len(), injected.restarts), (100, 0));
    }

    #[test]
    fn the_same_seed_gives_the_same_outcome() {
        let capacity = Capacity { per_second: 1000.0, queue: 64, loss: 0.1, seed: 7 };
        let both = [0, 1].map(|_| gang(Arm::NodeLocal, 100, capacity));
        assert_eq!((both[0].queries, &both[0].started_seconds), (both[1].queries, &both[1].started_seconds));
    }
}
