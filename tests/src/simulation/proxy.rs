//! What asks cluster DNS for a pod: its resolver itself, a sidecar, a replica of the shared tier; and when it sends a
//! question again. Pure.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use podlocal_dns::upstream::budget::Budget;
use podlocal_dns::upstream::guard::Guard;
use podlocal_dns::upstream::liveness::Liveness;
use podlocal_dns::upstream::{self, Policy, Reason, Setup, Step, Transmission, Transport};
use podlocal_settings::value::UpstreamTransport;

use super::plan::Question;

/// How long a failure is remembered (RFC 9520).
const FAILURE_MEMORY: Duration = ms(2000);

/// Later than every deadline.
const NEVER: Duration = ms(3_600_000);

const fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// A fixed schedule, for what does not have the policy.
#[derive(Debug)]
pub(super) struct Schedule {
    /// When a question is sent, and over what.
    transmissions: &'static [(Duration, Transport)],
    /// When the exchange fails.
    deadline: Duration,
    /// Whether a question is not asked that has been answered or is under way.
    is_cache: bool,
    /// Whether retransmissions take a token, and a silent server is probed.
    pub(super) probes: bool,
}

/// The resolver asks cluster DNS itself, and retransmits itself.
pub(super) static DIRECT: Schedule =
    Schedule { transmissions: &[(ms(0), Transport::Udp)], deadline: NEVER, is_cache: false, probes: false };

/// Each question once, however long it takes.
pub(super) static ONCE: Schedule = Schedule { is_cache: true, ..DIRECT };

/// The sidecar as it was first built.
pub(super) static OLD_SIDECAR: Schedule = Schedule {
    transmissions: &[
        (ms(0), Transport::Udp),
        (ms(300), Transport::Tcp),
        (ms(900), Transport::Udp),
        (ms(2100), Transport::Tcp),
    ],
    deadline: ms(4000),
    probes: true,
    ..ONCE
};

/// How a proxy decides when to send.
#[derive(Debug)]
pub(super) enum Control {
    Policy(Box<Policy>),
    Schedule(&'static Schedule, Budget),
}

/// One process.
#[derive(Debug)]
pub(super) struct Proxy {
    pub(super) control: Control,
    pub(super) liveness: Liveness,
    /// The check of the tier that is under way: when it began, and how many of its questions are answered.
    pub(super) check: Option<(Instant, usize)>,
    /// Answers and failures, and until when they are known.
    known: HashMap<Question, (Instant, bool)>,
    /// Exchanges under way, by their index.
    flights: HashMap<Question, usize>,
    /// The old sidecar: since when the server has answered nothing, and how often it was probed.
    pub(super) waiting_since: Option<Instant>,
    pub(super) probes: u32,
}

/// A question that a proxy asks.
#[derive(Debug)]
pub(super) struct Exchange {
    /// The proxy, by its index.
    pub(super) proxy: usize,
    pub(super) question: Question,
    pub(super) waiters: Vec<Waiter>,
    pub(super) asking: Asking,
    /// The transmissions whose answers are listened to.
    pub(super) listening: Vec<usize>,
    /// Which wake-up counts.
    pub(super) wakes: u32,
    pub(super) is_done: bool,
}

/// How far an exchange is.
#[derive(Debug)]
pub(super) enum Asking {
    Policy(upstream::Exchange, Option<Guard>),
    Schedule { start: Instant, sent: usize },
}

/// Whom an answer is for.
#[derive(Debug, Clone, Copy)]
pub(super) enum Waiter {
    /// A resolver: the pod, its socket, and which question of its step.
    Stub { pod: usize, socket: u32, index: usize },
    /// A sidecar that has sent that query to the tier.
    Query(usize),
}

impl Proxy {
    /// A proxy with the policy of `podlocal-dns`; its first server is the tier, if it has one.
    pub(super) fn with_policy(has_tier: bool) -> Self {
        let tier = usize::from(has_tier);
        let setup = Setup { servers: tier + 1, tier, backup: 0, transport: UpstreamTransport::Auto };
        Self::new(Control::Policy(Box::new(Policy::new(setup))), tier)
    }

    pub(super) fn with_schedule(schedule: &'static Schedule) -> Self {
        Self::new(Control::Schedule(schedule, Budget::default()), 0)
    }

    fn new(control: Control, tier: usize) -> Self {
        let (known, flights) = (HashMap::new(), HashMap::new());
        let liveness = Liveness::new(tier);
        Self { control, liveness, check: None, known, flights, waiting_since: None, probes: 0 }
    }

    /// What is known of a question: an answer or, `false`, a failure.
    pub(super) fn known(&self, question: Question, now: Instant) -> Option<bool> {
        self.known.get(&question).filter(|(until, _)| *until > now).map(|(_, is_good)| *is_good)
    }

    /// The exchange that a question joins.
    pub(super) fn flight(&self, question: Question) -> Option<usize> {
        self.flights.get(&question).copied().filter(|_| self.is_cache())
    }

    fn is_cache(&self) -> bool {
        match &self.control {
            Control::Policy(_) => true,
            Control::Schedule(schedule, _) => schedule.is_cache,
        }
    }

    /// All exchanges under way, in their order.
    pub(super) fn flights(&self) -> Vec<usize> {
        let mut flights: Vec<_> = self.flights.values().copied().collect();
        flights.sort_unstable();
        flights
    }

    /// A question is asked by that exchange: its first transmission.
    pub(super) fn begin(
        &mut self,
        question: Question,
        exchange: usize,
        now: Instant,
        chance: u16,
    ) -> (Asking, Transmission) {
        self.flights.insert(question, exchange);
        match &mut self.control {
            Control::Policy(policy) => {
                let (exchange, first) = policy.begin(now, chance);
                (Asking::Policy(exchange, None), first)
            }
            Control::Schedule(_, budget) => {
                budget.first_attempt();
                let step = Step { server: 0, transport: Transport::Udp };
                (Asking::Schedule { start: now, sent: 1 }, Transmission { step, reason: Reason::First })
            }
        }
    }

    /// The transmission that is due now.
    pub(super) fn due(&mut self, asking: &mut Asking, now: Instant) -> Option<Transmission> {
        match (&mut self.control, asking) {
            (Control::Policy(policy), Asking::Policy(exchange, _)) => policy.due(exchange, now),
            (Control::Schedule(schedule, budget), Asking::Schedule { start, sent }) => {
                let (at, transport) = *schedule.transmissions.get(*sent)?;
                let is_due = now >= *start + at;
                *sent += usize::from(is_due);
                let step = Step { server: 0, transport };
                let may = is_due && (!schedule.probes || budget.take());
                may.then_some(Transmission { step, reason: Reason::Timeout })
            }
            _ => None,
        }
    }

    /// When to look next, and the deadline.
    pub(super) fn wakes_at(&self, asking: &Asking) -> [Option<Instant>; 2] {
        match (&self.control, asking) {
            (Control::Policy(policy), Asking::Policy(exchange, guard)) => {
                let policy_at = policy.wakes_at(exchange);
                let at = guard.as_ref().map_or(policy_at, |guard| guard.wakes_at().min(policy_at));
                [Some(at), Some(policy.deadline(exchange))]
            }
            (Control::Schedule(schedule, _), Asking::Schedule { start, sent }) => {
                let deadline = (schedule.deadline < NEVER).then_some(*start + schedule.deadline);
                [schedule.transmissions.get(*sent).map(|(at, _)| *start + *at).or(deadline), deadline]
            }
            _ => [None; 2],
        }
    }

    /// The question is answered, or has failed.
    pub(super) fn end(&mut self, question: Question, is_good: bool, now: Instant) {
        self.flights.remove(&question);
        if self.is_cache() {
            let life = if is_good { question.life() } else { FAILURE_MEMORY };
            self.known.insert(question, (now + life, is_good));
        }
    }

    /// Whether it says that it cannot answer: a tier whose cluster DNS is silent.
    pub(super) fn is_dead(&self, now: Instant) -> bool {
        matches!(&self.control, Control::Policy(policy) if policy.condition(now).is_dead)
    }
}
