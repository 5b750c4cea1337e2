//! The clients of cluster DNS: a pod's resolver, a sidecar, or a replica of the shared tier; and the times of
//! their retransmissions. Pure.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use podlocal_dns::upstream::budget::Budget;
use podlocal_dns::upstream::guard::Guard;
use podlocal_dns::upstream::liveness::Liveness;
use podlocal_dns::upstream::{self, Policy, Reason, Setup, Target, Transmission, Transport};
use podlocal_settings::value::UpstreamTransport;

use super::plan::Question;

/// The time for which a failure is cached (RFC 9520).
const FAILURE_MEMORY: Duration = ms(2000);

/// A duration that is longer than every deadline.
const NEVER: Duration = ms(3_600_000);

const fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// A fixed schedule, for clients without the policy.
#[derive(Debug)]
pub(super) struct Schedule {
    /// The times of the transmissions, with their transports.
    transmissions: &'static [(Duration, Transport)],
    /// The time after which the exchange fails.
    deadline: Duration,
    /// Whether answers are cached and queries in flight are coalesced.
    is_cache: bool,
    /// Whether retransmissions need a token, and a silent server is probed.
    pub(super) probes: bool,
}

/// A resolver that sends queries to cluster DNS and retransmits itself.
pub(super) static DIRECT: Schedule =
    Schedule { transmissions: &[(ms(0), Transport::Udp)], deadline: NEVER, is_cache: false, probes: false };

/// Sends each query once, and waits without limit.
pub(super) static ONCE: Schedule = Schedule { is_cache: true, ..DIRECT };

/// The first design of the sidecar.
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

/// The rule by which a proxy decides when to send.
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
    /// The check of the tier in flight: its start, and the number of its answered queries.
    pub(super) check: Option<(Instant, usize)>,
    /// Cached answers and failures, with their expiry.
    known: HashMap<Question, (Instant, bool)>,
    /// Exchanges in flight, by their index.
    flights: HashMap<Question, usize>,
    /// For the old sidecar: the time since which the server has answered nothing, and the number of probes.
    pub(super) waiting_since: Option<Instant>,
    pub(super) probes: u32,
}

/// An exchange of a proxy for a question.
#[derive(Debug)]
pub(super) struct Exchange {
    /// The proxy, by its index.
    pub(super) proxy: usize,
    pub(super) question: Question,
    pub(super) waiters: Vec<Waiter>,
    pub(super) asking: ExchangeState,
    /// The transmissions whose answers are accepted.
    pub(super) listening: Vec<usize>,
    /// The number of the current timer; older timers are ignored.
    pub(super) wakes: u32,
    pub(super) is_done: bool,
}

/// The state of an exchange.
#[derive(Debug)]
pub(super) enum ExchangeState {
    Policy(upstream::Exchange, Option<Guard>),
    Schedule { start: Instant, sent: usize },
}

/// The recipient of an answer.
#[derive(Debug, Clone, Copy)]
pub(super) enum Waiter {
    /// A resolver: the pod, its socket, and the index of the question in its step.
    Stub { pod: usize, socket: u32, index: usize },
    /// A sidecar that has sent this query to the tier.
    Query(usize),
}

impl Proxy {
    /// A proxy with the policy of `podlocal-dns`. Its first server is the tier, if it has one.
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

    /// The cached result for a question: `true` for an answer, `false` for a failure.
    pub(super) fn known(&self, question: Question, now: Instant) -> Option<bool> {
        self.known.get(&question).filter(|(until, _)| *until > now).map(|(_, is_good)| *is_good)
    }

    /// The exchange in flight for a question, with which a new query is coalesced.
    pub(super) fn flight(&self, question: Question) -> Option<usize> {
        self.flights.get(&question).copied().filter(|_| self.is_cache())
    }

    fn is_cache(&self) -> bool {
        match &self.control {
            Control::Policy(_) => true,
            Control::Schedule(schedule, _) => schedule.is_cache,
        }
    }

    /// All exchanges in flight, in their order.
    pub(super) fn flights(&self) -> Vec<usize> {
        let mut flights: Vec<_> = self.flights.values().copied().collect();
        flights.sort_unstable();
        flights
    }

    /// Starts an exchange for a question. Returns its first transmission.
    pub(super) fn begin(
        &mut self,
        question: Question,
        exchange: usize,
        now: Instant,
        chance: u16,
    ) -> (ExchangeState, Transmission) {
        self.flights.insert(question, exchange);
        match &mut self.control {
            Control::Policy(policy) => {
                let (exchange, first) = policy.begin_exchange(now, chance);
                (ExchangeState::Policy(exchange, None), first)
            }
            Control::Schedule(_, budget) => {
                budget.record_first_attempt();
                let target = Target { server: 0, transport: Transport::Udp };
                (
                    ExchangeState::Schedule { start: now, sent: 1 },
                    Transmission { target, reason: Reason::First },
                )
            }
        }
    }

    /// The transmission that is due now.
    pub(super) fn due(&mut self, asking: &mut ExchangeState, now: Instant) -> Option<Transmission> {
        match (&mut self.control, asking) {
            (Control::Policy(policy), ExchangeState::Policy(exchange, _)) => {
                policy.due_transmission(exchange, now)
            }
            (Control::Schedule(schedule, budget), ExchangeState::Schedule { start, sent }) => {
                let (at, transport) = *schedule.transmissions.get(*sent)?;
                let is_due = now >= *start + at;
                *sent += usize::from(is_due);
                let target = Target { server: 0, transport };
                let may = is_due && (!schedule.probes || budget.try_spend());
                may.then_some(Transmission { target, reason: Reason::Timeout })
            }
            _ => None,
        }
    }

    /// The time of the next transmission, and the deadline.
    pub(super) fn wakes_at(&self, asking: &ExchangeState) -> [Option<Instant>; 2] {
        match (&self.control, asking) {
            (Control::Policy(policy), ExchangeState::Policy(exchange, guard)) => {
                let policy_at = policy.wakes_at(exchange);
                let at = guard.as_ref().map_or(policy_at, |guard| guard.wakes_at().min(policy_at));
                [Some(at), Some(policy.deadline(exchange))]
            }
            (Control::Schedule(schedule, _), ExchangeState::Schedule { start, sent }) => {
                let deadline = (schedule.deadline < NEVER).then_some(*start + schedule.deadline);
                [schedule.transmissions.get(*sent).map(|(at, _)| *start + *at).or(deadline), deadline]
            }
            _ => [None; 2],
        }
    }

    /// Ends the exchange of a question with an answer or a failure.
    pub(super) fn end(&mut self, question: Question, is_good: bool, now: Instant) {
        self.flights.remove(&question);
        if self.is_cache() {
            let life = if is_good { question.ttl() } else { FAILURE_MEMORY };
            self.known.insert(question, (now + life, is_good));
        }
    }

    /// Whether it answers SERVFAIL: a tier whose cluster DNS is silent.
    pub(super) fn is_dead(&self, now: Instant) -> bool {
        matches!(&self.control, Control::Policy(policy) if policy.condition(now).is_dead)
    }
}
