//! Exchanges over a network in memory, with the clock held still: who is asked when.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use podlocal_settings::value::UpstreamTransport;
use tokio::task::JoinSet;
use tokio::time::{advance, sleep};

use super::*;
use crate::metrics::Metrics;
use crate::upstream::token::Token;
use crate::upstream::{Condition, check, probe, state};

const DEADLINE: Duration = Duration::from_secs(4);

/// What the script does about one attempt.
enum Does {
    /// Answers after that many milliseconds.
    Answer(u64),
    /// SERVFAIL after that many milliseconds.
    Fails(u64),
    /// A truncated answer at once.
    Truncates,
    /// An error of the socket at once.
    Refuses,
    /// Nothing, ever.
    Silent,
}
use Does::{Answer, Fails, Refuses, Silent, Truncates};

/// Servers that follow a script: the step and the milliseconds since the start in, what they do out. They note
/// when they were asked for what, as `0 A, 300 A+`; a probe as `(A)`.
struct Scripted<S> {
    start: Instant,
    script: S,
    tier: usize,
    checks: AtomicU32,
    asked: Mutex<Vec<(u64, String)>>,
}

impl<S: Fn(Step, u64) -> Does + Send + Sync + 'static> Network for Scripted<S> {
    async fn ask(&self, step: Step, key: &Key) -> io::Result<Vec<u8>> {
        let now = self.start.elapsed().as_millis() as u64;
        let letter = char::from(b'A' + step.server as u8);
        let name = format!("{letter}{}", if step.transport == Transport::Tcp { "+" } else { "" });
        let is_probe = key.question() != QUESTION;
        self.asked
            .lock()
            .expect("not poisoned")
            .push((now, if is_probe { format!("({name})") } else { name }));
        let does = match (self.script)(step, now) {
            does if !is_probe || step.server >= self.tier => does,
            Refuses => Refuses,
            _ => {
                let left = |left: u32| left.checked_sub(1);
                let is_left = self.checks.fetch_update(Ordering::Relaxed, Ordering::Relaxed, left).is_ok();
                if is_left { Answer(1) } else { Silent }
            }
        };
        let (after, flags) = match does {
            Answer(after) => (after, 0x8180_u16),
            Fails(after) => (after, 0x8182),
            Truncates => (0, 0x8380),
            Refuses => return Err(io::ErrorKind::ConnectionRefused.into()),
            Silent => std::future::pending().await,
        };
        sleep(Duration::from_millis(after)).await;
        let [high, low] = flags.to_be_bytes();
        Ok([&[0, 0, high, low, 0, 1, 0, 0, 0, 0, 0, 0], key.question()].concat())
    }
}

const QUESTION: &[u8] = b"\x01a\x00\x00\x01\x00\x01";

struct Setup<S> {
    state: Arc<State>,
    network: Arc<Scripted<S>>,
}

impl<S: Fn(Step, u64) -> Does + Send + Sync + 'static> Setup<S> {
    fn new(servers: usize, script: S) -> Self {
        Self::with_tier(0, servers, u32::MAX, script)
    }

    /// The same, of which the first ones are the shared tier. It answers so many checks and probes, unless it refuses
    /// everything; others follow the script.
    fn with_tier(tier: usize, servers: usize, checks: u32, script: S) -> Self {
        let shortest_pause = Duration::from_millis(300);
        let setup = state::Setup { servers, tier, transport: UpstreamTransport::Auto, shortest_pause };
        let state = Arc::new(State::new(setup, Metrics::new().0));
        let checks = AtomicU32::new(checks);
        let network = Scripted { start: Instant::now(), script, tier, checks, asked: Mutex::default() };
        let setup = Self { state, network: Arc::new(network) };
        if tier > 0 {
            setup.check();
        }
        setup
    }

    /// Starts the task that checks.
    fn check(&self) {
        let (state, network) = (Arc::clone(&self.state), Arc::clone(&self.network));
        tokio::spawn(async move {
            let token = Token::new().expect("random");
            check::watch(&state, &*network, |_| token.probe("cluster.local").ok()).await;
        });
    }

    /// One exchange: the RCODE of its answer and how many milliseconds it took.
    fn exchange(&self) -> impl Future<Output = (Result<u8, Failed>, u64)> + Send + use<S> {
        let (state, network) = (Arc::clone(&self.state), Arc::clone(&self.network));
        async move {
            let start = Instant::now();
            let key = Key::new(QUESTION, Flags(Flags::RD), false);
            let response = race(&state, &*network, &key, start + DEADLINE).await;
            (response.map(|response| response[3] & 0xf), start.elapsed().as_millis() as u64)
        }
    }

    /// Starts the task that probes.
    fn watch(&self) {
        let (state, network) = (Arc::clone(&self.state), Arc::clone(&self.network));
        tokio::spawn(async move {
            let token = Token::new().expect("random");
            probe::watch(&state, &*network, |_| token.probe("cluster.local").ok(), || {}).await;
        });
    }

    /// Who was asked when, since the last look.
    fn asked(&self) -> String {
        let asked = std::mem::take(&mut *self.network.asked.lock().expect("not poisoned"));
        asked.iter().map(|(at, who)| format!("{at} {who}")).collect::<Vec<_>>().join(", ")
    }

    fn condition(&self) -> Condition {
        self.state.condition(Instant::now())
    }
}

const ANSWERED: Result<u8, Failed> = Ok(0);
const SERVFAIL: Result<u8, Failed> = Ok(2);

fn is_udp(step: Step) -> bool {
    step.transport == Transport::Udp
}

#[tokio::test(start_paused = true)]
async fn a_server_that_answers_is_asked_once() {
    let setup = Setup::new(1, |_, _| Answer(299));
    assert_eq!(setup.exchange().await, (ANSWERED, 299));
    assert_eq!(setup.asked(), "0 A");
}

#[tokio::test(start_paused = true)]
async fn silence_is_asked_again_at_300_900_and_2100_ms_by_turns_of_transport() {
    let setup = Setup::new(1, |_, _| Silent);
    assert_eq!(setup.exchange().await, (Err(Failed), 4000));
    assert_eq!(setup.asked(), "0 A, 300 A+, 900 A, 2100 A+");
}

#[tokio::test(start_paused = true)]
async fn the_first_attempt_is_listened_to_while_others_are_under_way() {
    let setup = Setup::new(1, |step, _| if is_udp(step) { Answer(350) } else { Silent });
    assert_eq!(setup.exchange().await, (ANSWERED, 350));
    assert_eq!(setup.asked(), "0 A, 300 A+");
}

#[tokio::test(start_paused = true)]
async fn the_next_healthy_server_is_the_hedge() {
    let setup = Setup::new(2, |step, _| if step.server == 0 { Silent } else { Answer(1) });
    assert_eq!(setup.exchange().await, (ANSWERED, 301));
    assert_eq!(setup.asked(), "0 A, 300 B");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_was_silent_twice_is_asked_after_the_others() {
    let setup = Setup::new(2, |step, _| if step.server == 0 { Silent } else { Answer(1) });
    for _ in 0..2 {
        assert_eq!(setup.exchange().await, (ANSWERED, 301));
    }
    setup.asked();
    assert_eq!(setup.exchange().await, (ANSWERED, 1));
    assert_eq!(setup.asked(), "602 B");
    assert!(!setup.condition().is_down);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_slow_is_not_asked_twice_for_being_slow() {
    let setup = Setup::new(1, |_, _| Answer(2000));
    for _ in 0..20 {
        assert_eq!(setup.exchange().await, (ANSWERED, 2000));
    }
    let asked = setup.asked();
    let attempts = asked.split(", ").count();
    assert_eq!(attempts, 20 + 2, "only the first exchange, before the time is known: {asked}");
}

#[tokio::test(start_paused = true)]
async fn a_hundred_questions_a_second_to_an_upstream_that_takes_two_make_at_most_1_2_each() {
    let setup = Setup::new(1, |_, _| Answer(2000));
    let mut clients = JoinSet::new();
    for _ in 0..1000 {
        clients.spawn(setup.exchange());
        sleep(Duration::from_millis(10)).await;
    }
    let outcomes = clients.join_all().await;
    assert!(outcomes.iter().all(|(outcome, _)| *outcome == ANSWERED));
    let attempts = setup.asked().split(", ").count();
    assert!(attempts <= 1200, "{attempts} attempts");
}

#[tokio::test(start_paused = true)]
async fn fifty_questions_at_once_of_which_a_third_is_lost_are_all_hedged() {
    let sent = AtomicU32::new(0);
    let setup = Setup::new(1, move |step, _| {
        // Knuth's multiplicative hash: the same third each time, without a pattern.
        let hash = sent.fetch_add(1, Ordering::Relaxed).wrapping_mul(2_654_435_761) >> 16;
        let is_lost = is_udp(step) && hash.is_multiple_of(3);
        if is_lost { Silent } else { Answer(1) }
    });
    let mut clients = JoinSet::new();
    (0..50).for_each(|_| drop(clients.spawn(setup.exchange())));
    for (outcome, took) in clients.join_all().await {
        assert_eq!(outcome, ANSWERED);
        assert!(took <= 301, "{took} ms");
    }
    assert!(!setup.condition().is_down);
}

#[tokio::test(start_paused = true)]
async fn without_budget_the_first_attempt_goes_on_to_the_deadline() {
    let setup = Setup::new(1, |_, _| Answer(3900));
    while setup.state.take() {}
    assert_eq!(setup.exchange().await, (ANSWERED, 3900));
    assert_eq!(setup.asked(), "0 A");
}

#[tokio::test(start_paused = true)]
async fn a_failure_makes_the_next_server_be_asked_at_once_and_one_that_all_agree_on_is_handed_on() {
    let setup = Setup::new(2, |step, _| if step.server == 0 { Fails(5) } else { Answer(5) });
    assert_eq!(setup.exchange().await, (ANSWERED, 10));
    assert_eq!(setup.asked(), "0 A, 5 B");
    let setup = Setup::new(2, |_, _| Fails(5));
    assert_eq!(setup.exchange().await, (SERVFAIL, 10));
    assert_eq!(setup.asked(), "0 A, 5 B");
    assert!(!setup.condition().is_down, "SERVFAIL is an answer");
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_kept_for_the_deadline_when_the_other_server_is_silent() {
    let setup = Setup::new(2, |step, _| if step.server == 0 { Fails(5) } else { Silent });
    assert_eq!(setup.exchange().await, (SERVFAIL, 4000));
    assert_eq!(setup.asked(), "0 A, 5 B, 305 B+, 905 B, 2105 B+");
}

#[tokio::test(start_paused = true)]
async fn a_failure_by_one_transport_is_not_awaited_by_the_other() {
    let setup = Setup::new(1, |step, _| if is_udp(step) { Fails(350) } else { Silent });
    assert_eq!(setup.exchange().await, (SERVFAIL, 350));
}

#[tokio::test(start_paused = true)]
async fn one_server_that_nobody_listens_at_is_asked_by_tcp_at_once_and_then_at_the_usual_times() {
    let setup = Setup::new(1, |step, _| if is_udp(step) { Refuses } else { Answer(1) });
    assert_eq!(setup.exchange().await, (ANSWERED, 1));
    assert_eq!(setup.asked(), "0 A, 0 A+");
    let setup = Setup::new(1, |_, _| Refuses);
    assert_eq!(setup.exchange().await, (Err(Failed), 4000));
    assert_eq!(setup.asked(), "0 A, 0 A+, 300 A, 900 A+, 2100 A");
    assert!(setup.condition().is_down);
}

#[tokio::test(start_paused = true)]
async fn a_truncated_answer_is_fetched_by_tcp_and_costs_no_budget() {
    let setup = Setup::new(1, |step, _| if is_udp(step) { Truncates } else { Answer(1) });
    while setup.state.take() {}
    assert_eq!(setup.exchange().await, (ANSWERED, 1));
    assert_eq!(setup.asked(), "0 A, 0 A+");
}

#[tokio::test(start_paused = true)]
async fn a_truncated_answer_is_better_than_none_when_tcp_is_blocked() {
    for refuses in [true, false] {
        let setup = Setup::new(1, move |step, _| match step.transport {
            Transport::Udp => Truncates,
            Transport::Tcp if refuses => Refuses,
            Transport::Tcp => Silent,
        });
        let expected = if refuses { 0 } else { 4000 };
        assert_eq!(setup.exchange().await, (ANSWERED, expected));
        assert_eq!(setup.asked(), "0 A, 0 A+");
    }
}

#[tokio::test(start_paused = true)]
async fn an_upstream_is_down_after_400_ms_of_silence_and_one_task_probes_it_until_it_is_back() {
    let back_at = 1550;
    let setup = Setup::new(1, move |_, at| if at < back_at { Silent } else { Answer(1) });
    setup.watch();
    let waiting = tokio::spawn(setup.exchange());
    sleep(Duration::from_millis(399)).await;
    assert!(!setup.condition().is_down);
    sleep(Duration::from_millis(2)).await;
    assert!(setup.condition().is_down);
    let (outcome, took) = waiting.await.expect("no panic");
    assert_eq!(outcome, ANSWERED);
    assert!((back_at..back_at + 1000).contains(&took), "a fresh answer after {took} ms");
    assert!(!setup.condition().is_down);
    let asked = setup.asked();
    let probes = asked.matches("(A)").count();
    assert!((2..=4).contains(&probes), "{asked}");
    sleep(Duration::from_secs(60)).await;
    assert_eq!(setup.asked(), "", "well: no probes");
}

#[tokio::test(start_paused = true)]
async fn when_servers_are_back_a_thousand_exchanges_ask_again_and_not_in_one_instant() {
    let setup = Setup::new(1, |_, at| if at < 1000 { Silent } else { Answer(1) });
    setup.watch();
    while setup.state.take() {}
    let mut waiting = JoinSet::new();
    (0..1000).for_each(|_| drop(waiting.spawn(setup.exchange())));
    for (outcome, took) in waiting.join_all().await {
        assert_eq!(outcome, ANSWERED);
        assert!((1000..2000).contains(&took), "{took} ms");
    }
    let asked = setup.asked();
    let times: Vec<_> =
        asked.split(", ").filter(|text| !text.starts_with("0 ") && !text.contains('(')).collect();
    let instants: std::collections::BTreeSet<_> = times.iter().collect();
    assert!(times.len() <= 1150, "once each, and what the budget of a tenth allows: {}", times.len());
    assert!(instants.len() > 50, "spread over {} milliseconds", instants.len());
}

#[tokio::test(start_paused = true)]
async fn an_upstream_that_turns_out_slow_is_not_asked_again_as_if_it_had_been_away() {
    let setup = Setup::new(1, |_, _| Answer(2000));
    setup.watch();
    while setup.state.take() {}
    let mut waiting = JoinSet::new();
    for _ in 0..5 {
        waiting.spawn(setup.exchange());
        advance(Duration::from_millis(100)).await;
    }
    waiting.join_all().await;
    let asked = setup.asked();
    assert_eq!(asked.split(", ").filter(|text| !text.contains('(')).count(), 5, "{asked}");
}

mod tier;
