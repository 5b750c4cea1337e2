//! Simulates pods, proxies and servers: processes events in order of time.

mod exchange;
mod old;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::{Duration, Instant};

use super::Arm;
use super::gang::{Gang, Outcome};
use super::plan::{Question, Step};
use super::proxy::{DIRECT, Exchange, OLD_SIDECAR, ONCE, Proxy, Waiter};
use super::server::Server;
use super::stub::{self, Stub};

/// The network delay from a pod to a server, or between two servers.
const WAY: Duration = Duration::from_micros(250);

/// Simulates a gang until every pod has finished its lookups.
pub fn simulate(gang: &Gang) -> Outcome {
    let start = Instant::now();
    let gang = gang.lossless_if_once();
    let Gang { arm, pods, .. } = gang;
    let nodes = pods.div_ceil(gang.pods_per_node);
    let tier = match (arm, gang.tier_replicas) {
        (Arm::Tier, 0) => nodes,
        (Arm::Tier, replicas) => replicas,
        _ => 0,
    };
    let of_pods = |proxy: fn() -> Proxy| (0..pods).map(move |_| proxy());
    let proxies = match arm {
        Arm::Direct | Arm::Ndots2 => of_pods(|| Proxy::with_schedule(&DIRECT)).collect(),
        Arm::OldSidecars => of_pods(|| Proxy::with_schedule(&OLD_SIDECAR)).collect(),
        Arm::Once => of_pods(|| Proxy::with_schedule(&ONCE)).collect(),
        Arm::Sidecars => of_pods(|| Proxy::with_policy(false)).collect(),
        Arm::Tier => {
            of_pods(|| Proxy::with_policy(true)).chain((0..tier).map(|_| Proxy::with_policy(false))).collect()
        }
    };
    let mut servers = vec![Server::new(gang.cluster_dns, start)];
    servers.extend((0..tier).map(|_| Server::new(gang.tier, start)));
    let mut model = Model {
        gang,
        plan: super::plan::plan(arm.plan()),
        start,
        now: start,
        random: fastrand::Rng::with_seed(gang.seed),
        events: BinaryHeap::new(),
        sequence: 0,
        pods: Vec::new(),
        proxies,
        servers,
        queries: Vec::new(),
        exchanges: Vec::new(),
        outcome: Outcome::default(),
    };
    model.run();
    model.outcome.sorted()
}

/// An event. All objects are identified by their index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// The pod sends its first query.
    Begin { pod: usize },
    /// The pod's resolver has waited for 5 s.
    TimeOut { pod: usize, timer: u32 },
    /// The pod's proxy answers one of its questions.
    Answer { pod: usize, to: (u32, usize), is_good: bool },
    /// A query arrives at its server.
    Arrive { query: usize },
    /// A server has finished some work.
    Worked { server: usize },
    /// An answer arrives.
    Reply { query: usize, is_good: bool },
    /// The timer of an exchange has expired.
    Wake { exchange: usize, wakes: u32 },
    /// The time-out of a check of the tier that began at this time.
    CheckEnds { proxy: usize, began: Instant },
    /// For the old sidecars: a silent server may have to be probed.
    Probe { proxy: usize },
}

struct Model {
    gang: Gang,
    plan: Vec<Vec<Step>>,
    start: Instant,
    now: Instant,
    random: fastrand::Rng,
    events: BinaryHeap<Reverse<(Instant, u64, Event)>>,
    sequence: u64,
    pods: Vec<(Instant, Stub)>,
    /// Sidecars in the order of their pods, then the tier.
    proxies: Vec<Proxy>,
    /// Cluster DNS, then the tier.
    servers: Vec<Server>,
    queries: Vec<Query>,
    exchanges: Vec<Exchange>,
    outcome: Outcome,
}

/// A query to a server.
#[derive(Debug, Clone, Copy)]
struct Query {
    origin: Origin,
    question: Question,
    server: usize,
    is_tcp: bool,
    weight: u32,
    sent_at: Instant,
}

/// The recipient of the answer to a query.
#[derive(Debug, Clone, Copy)]
enum Origin {
    /// An exchange, and the index of the server in the settings of its proxy.
    Exchange { exchange: usize, place: usize },
    /// A check of the server by the proxy.
    Check(usize),
}

impl Model {
    fn run(&mut self) {
        for pod in 0..self.gang.pods {
            let start = self.start + self.gang.spread.mul_f64(self.random.f64());
            self.pods.push((start, Stub::new(start)));
            self.schedule(start, Event::Begin { pod });
        }
        // Events after the end of all pods are ignored.
        while self.outcome.pod_seconds.len() < self.gang.pods
            && let Some(Reverse((at, _, event))) = self.events.pop()
        {
            self.now = at;
            self.handle(event);
        }
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Begin { pod } => self.step(pod, |stub, plan, _| stub.begin(plan)),
            Event::TimeOut { pod, timer } => {
                self.step(pod, |stub, plan, now| stub.time_out(plan, timer, now));
            }
            Event::Answer { pod, to, is_good } => {
                self.step(pod, |stub, plan, now| stub.answer(plan, to, is_good, now));
            }
            Event::Arrive { query } => self.arrive(query),
            Event::Worked { server } => {
                if let Some(query) = self.servers[server].end() {
                    self.served(server, query);
                }
                self.work(server);
            }
            Event::Reply { query, is_good } => self.reply(query, is_good),
            Event::Wake { exchange, wakes } => self.wake(exchange, wakes),
            Event::CheckEnds { proxy, began } => self.end_check(proxy, began),
            Event::Probe { proxy } => self.probe(proxy),
        }
    }

    fn schedule(&mut self, at: Instant, event: Event) {
        self.sequence += 1;
        self.events.push(Reverse((at, self.sequence, event)));
    }

    /// Applies an event to a pod's resolver, and sends the resulting queries.
    fn step(&mut self, pod: usize, act: impl FnOnce(&mut Stub, &[Vec<Step>], Instant) -> Vec<usize>) {
        let (began, stub) = &mut self.pods[pod];
        let (timer, was_done) = (stub.timer, stub.is_done);
        let questions = act(stub, &self.plan, self.now);
        let (timer, socket, has_new_timer) = (stub.timer, stub.socket, stub.timer != timer);
        if stub.is_done && !was_done {
            self.outcome.record(stub, self.now - *began);
        }
        if has_new_timer && self.gang.arm != Arm::Once {
            self.schedule(self.now + stub::TIMEOUT, Event::TimeOut { pod, timer });
        }
        for index in questions {
            let question = self.pods[pod].1.question(&self.plan, index);
            self.ask(pod, question, Waiter::Stub { pod, socket, index });
        }
    }

    fn chance(&mut self) -> u16 {
        self.random.u16(..)
    }

    fn send(&mut self, query: Query) -> usize {
        self.queries.push(query);
        let index = self.queries.len() - 1;
        if self.gets_through(query.is_tcp) {
            self.schedule(self.now + WAY, Event::Arrive { query: index });
        }
        index
    }

    fn gets_through(&mut self, is_tcp: bool) -> bool {
        is_tcp || self.random.f64() >= self.gang.loss
    }

    fn arrive(&mut self, query: usize) {
        let Query { server, weight, is_tcp, .. } = self.queries[query];
        let is_kept = self.servers[server].arrive(query, weight, is_tcp, self.now);
        if server == 0 {
            self.outcome.queries += 1;
            self.outcome.dropped += u64::from(!is_kept);
        } else {
            self.outcome.tier_queries += 1;
        }
        self.work(server);
    }

    fn work(&mut self, server: usize) {
        if let Some(at) = self.servers[server].begin(self.now, &mut self.random) {
            self.schedule(at, Event::Worked { server });
        }
    }

    /// A server has finished its work for a query: cluster DNS answers, the tier may have to send a query
    /// itself.
    fn served(&mut self, server: usize, query: usize) {
        let Query { origin, question, .. } = self.queries[query];
        match (server.checked_sub(1), origin) {
            (None, _) => self.send_reply(query, true),
            (Some(replica), Origin::Check(_)) => {
                let is_alive = !self.proxies[self.gang.pods + replica].is_dead(self.now);
                self.send_reply(query, is_alive);
            }
            (Some(replica), _) => self.ask(self.gang.pods + replica, question, Waiter::Query(query)),
        }
    }

    fn send_reply(&mut self, query: usize, is_good: bool) {
        if self.gets_through(self.queries[query].is_tcp) {
            self.schedule(self.now + WAY, Event::Reply { query, is_good });
        }
    }

    fn reply(&mut self, query: usize, is_good: bool) {
        match self.queries[query].origin {
            Origin::Exchange { exchange, place } => self.ended(exchange, place, query, is_good),
            Origin::Check(proxy) => self.checked(proxy, query, is_good),
        }
    }
}
