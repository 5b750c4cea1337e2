//! Pods, the shared tier, cluster DNS and its queue: events in order of time.

mod exchange;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::time::Duration;

use super::liveness::Liveness;
use super::plan::{Question, Step, plan};
use super::policy::{Leader, Stage};
use super::stub::{Next, Stub};
use super::tier::{Client, Tier, TierSize};
use crate::cluster_dns::{Capacity, ServiceQueue};
use crate::gang::arm::Arm;
use exchange::{Exchange, Origin};

/// The way from a pod to cluster DNS, or to the tier, or from there to cluster DNS.
const WAY: Duration = Duration::from_micros(250);

/// glibc: `RES_TIMEOUT`.
const STUB_TIMEOUT: Duration = Duration::from_secs(5);

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
    /// The shared tier, in the arm that has one.
    pub tier: TierSize,
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
    /// Queries at the shared tier, and those of them that were dropped.
    pub tier_queries: u64,
    /// Those of them that were dropped.
    pub tier_dropped: u64,
    /// How often all started again.
    pub restarts: u32,
    /// When each pod had its names, in seconds, ascending; empty: the gang never started.
    pub started_seconds: Vec<f64>,
}

/// Simulates a gang until it has started or has no restart left.
pub fn simulate(gang: &Gang) -> Outcome {
    let nodes = gang.pods.div_ceil(gang.pods_per_node);
    let tiers = match (gang.arm, gang.tier.replicas) {
        (Arm::Shared, 0) => nodes,
        (Arm::Shared, replicas) => replicas,
        _ => 0,
    };
    let mut model = Model {
        gang: *gang,
        plan: plan(gang.arm),
        queue: ServiceQueue::new(&gang.capacity),
        random: fastrand::Rng::with_seed(gang.capacity.seed),
        events: BinaryHeap::new(),
        now: Duration::ZERO,
        sequence: 0,
        pods: Vec::new(),
        liveness: Vec::new(),
        exchanges: Vec::new(),
        node_caches: HashMap::new(),
        tiers: vec![Tier::new(&gang.tier); tiers],
        outcome: Outcome::default(),
    };
    model.run();
    model.outcome.started_seconds.sort_by(f64::total_cmp);
    model.outcome
}

/// What happens at a moment. Pods, exchanges and processes of the tier are known by their index in the attempt of the
/// gang that runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// The pod sends its first question.
    Begin { pod: usize },
    /// A query comes to cluster DNS.
    Arrives { exchange: usize, by_tcp: bool },
    /// A query comes to the tier; or, with the time when it was sent, the question whether it is alive.
    ArrivesAtTier { tier: usize, client: Client, look: Option<Duration> },
    /// The tier has read it.
    Read { tier: usize, client: Client },
    /// An answer comes back.
    Answered { exchange: usize },
    /// The tier says that it is alive, to who has asked at that time.
    Alive { exchange: usize, asked_at: Duration },
    /// The tier says that it cannot.
    Refused { exchange: usize },
    /// An exchange's next act.
    Due { exchange: usize, stage: Stage },
    /// The stub resolver has waited long enough.
    TimeOut { pod: usize, round: u32 },
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
    /// What each pod's sidecar knows of the tier.
    liveness: Vec<Liveness>,
    exchanges: Vec<Exchange>,
    /// Until when each node knows an answer.
    node_caches: HashMap<(usize, Question), Duration>,
    tiers: Vec<Tier>,
    outcome: Outcome,
}

/// What a pod does next, because of an event.
type Consequence = Option<(usize, Next)>;

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
        self.tiers.iter_mut().for_each(Tier::forget_clients);
        self.pods = vec![Stub::new(); self.gang.pods];
        self.liveness = vec![Liveness::default(); self.gang.pods];
        for pod in 0..self.gang.pods {
            let after = self.gang.spread.mul_f64(self.random.f64());
            self.schedule(after, Event::Begin { pod });
        }
    }

    /// Whether every pod got its names before one failed.
    fn attempt(&mut self) -> bool {
        while let Some(Reverse((at, _, event))) = self.events.pop() {
            self.now = at;
            if let Some((pod, next)) = self.happen(event)
                && !self.follow(pod, next)
            {
                return false;
            }
        }
        self.outcome.started_seconds.len() == self.gang.pods
    }

    fn happen(&mut self, event: Event) -> Consequence {
        let plan = &self.plan;
        match event {
            Event::Begin { pod } => return Some((pod, self.pods[pod].begin(plan))),
            Event::TimeOut { pod, round } => return Some((pod, self.pods[pod].time_out(plan, round))),
            Event::Answered { exchange } => return self.end(exchange, true),
            Event::Due { exchange, stage } => return self.act(exchange, stage),
            Event::Arrives { exchange, by_tcp } => self.arrive(exchange, by_tcp),
            Event::ArrivesAtTier { tier, client, look } => self.arrive_at_tier(tier, client, look),
            Event::Read { tier, client } => self.read(tier, client),
            Event::Alive { exchange, asked_at } => self.is_alive(exchange, asked_at),
            Event::Refused { exchange } => self.refuse(exchange),
        }
        None
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
        let leader = match self.gang.arm {
            Arm::Direct | Arm::Ndots2 => Leader::Stub,
            Arm::NodeLocal => Leader::NodeCache,
            Arm::Injected => Leader::Sidecar,
            Arm::Shared if self.liveness[pod].is_dead() => Leader::Sidecar,
            Arm::Shared => Leader::SidecarBehindTier,
        };
        let origin = Origin::Pod { pod, round: self.pods[pod].round(), index };
        let exchange = self.begin_exchange(leader, origin, question);
        if leader == Leader::NodeCache && self.node_knows(pod, question) {
            self.exchanges[exchange].is_from_cache = true;
            self.schedule(Duration::ZERO, Event::Answered { exchange });
        } else {
            // The first act is never the end of an exchange.
            let _ = self.act(exchange, Stage::First);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gang(arm: Arm, pods: usize, capacity: Capacity) -> Outcome {
        behind(TierSize::DEFAULT, arm, pods, capacity)
    }

    fn behind(tier: TierSize, arm: Arm, pods: usize, capacity: Capacity) -> Outcome {
        let spread = Duration::from_millis(20);
        simulate(&Gang {
            arm,
            pods,
            pods_per_node: 100,
            spread,
            capacity,
            tier,
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
    fn each_process_of_the_tier_asks_once_for_each_name_and_type() {
        for (replicas, processes) in [(1, 1), (2, 2), (0, 3)] {
            let tier = TierSize { replicas, ..TierSize::DEFAULT };
            let outcome = behind(tier, Arm::Shared, 300, PLENTY);
            assert_eq!((outcome.queries, outcome.tier_queries), (processes * 9, 300 * 9), "{replicas}");
        }
    }

    #[test]
    fn a_tier_that_is_silent_costs_a_pause_and_is_left_out() {
        let tier = TierSize { queue: 0, ..TierSize::DEFAULT };
        let outcome = behind(tier, Arm::Shared, 50, PLENTY);
        assert_eq!((outcome.queries, outcome.restarts, outcome.started_seconds.len()), (450, 0, 50));
        // The first question is its last, as far as the tier is concerned.
        assert!(outcome.started_seconds.iter().all(|at| (0.25..0.35).contains(at)), "{outcome:?}");
        assert_eq!(outcome.tier_dropped, 50 * 6, "a question, and five times whether it is alive");
    }

    #[test]
    fn what_is_lost_on_the_way_to_the_tier_is_asked_there_again() {
        let outcome = gang(Arm::Shared, 1000, Capacity { loss: 0.01, ..PLENTY });
        // Two in a hundred are silent; of the checks that follow, one may be lost.
        assert!((18..60).contains(&outcome.queries), "{}", outcome.queries);
        assert_eq!(outcome.started_seconds.len(), 1000);
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
