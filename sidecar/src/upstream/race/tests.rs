//! Exchanges over a network in memory, with a paused clock: which server is queried when.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use podlocal_dns::upstream::{Condition, EXCHANGE_TIMEOUT, Setup as Servers};
use podlocal_dns::wire::Flags;
use podlocal_settings::value::UpstreamTransport;
use tokio::task::JoinSet;
use tokio::time::{advance, sleep};

use super::*;
use crate::metrics::Metrics;
use crate::upstream::loop_detection::LoopMarker;
use crate::upstream::probe;

const DEADLINE: Duration = limits::DEADLINE;

/// What the script does with one query.
enum Does {
    /// Answers after that many milliseconds.
    Answer(u64),
    /// Answers with records after that many milliseconds; the other answers have none, which matters only for
    /// backup servers.
    Records(u64),
    /// NXDOMAIN after that many milliseconds.
    Denies(u64),
    /// SERVFAIL after that many milliseconds.
    Fails(u64),
    /// A truncated answer immediately.
    Truncates,
    /// An error of the socket immediately.
    Refuses,
    /// Nothing, ever.
    Silent,
}
use Does::{Answer, Denies, Fails, Records, Refuses, Silent, Truncates};

/// Servers that follow a script, which maps the target and the milliseconds since the start to an action.
/// They record when they were queried over what, as `0 A, 300 A+`; a probe as `(A)`.
struct Scripted<S> {
    start: Instant,
    script: S,
    tier: usize,
    checks: AtomicU32,
    asked: Mutex<Vec<(u64, String)>>,
}

impl<S: Fn(Target, u64) -> Does + Send + Sync + 'static> Network for Scripted<S> {
    async fn ask(&self, target: Target, key: &Key, _is_repeated: bool) -> io::Result<Vec<u8>> {
        let now = self.start.elapsed().as_millis() as u64;
        let letter = char::from(b'A' + target.server as u8);
        let name = format!("{letter}{}", if target.transport == Transport::Tcp { "+" } else { "" });
        let is_probe = ![QUESTION, CLUSTER_QUESTION].contains(&key.question());
        self.asked
            .lock()
            .expect("not poisoned")
            .push((now, if is_probe { format!("({name})") } else { name }));
        let does = match (self.script)(target, now) {
            does if !is_probe || target.server >= self.tier => does,
            Refuses => Refuses,
            _ => {
                let left = |left: u32| left.checked_sub(1);
                let is_left = self.checks.fetch_update(Ordering::Relaxed, Ordering::Relaxed, left).is_ok();
                if is_left { Answer(1) } else { Silent }
            }
        };
        let (after, flags, records) = match does {
            Answer(after) => (after, 0x8180_u16, 0),
            Records(after) => (after, 0x8180, 1),
            Denies(after) => (after, 0x8183, 0),
            Fails(after) => (after, 0x8182, 0),
            Truncates => (0, 0x8380, 0),
            Refuses => return Err(io::ErrorKind::ConnectionRefused.into()),
            Silent => std::future::pending().await,
        };
        sleep(Duration::from_millis(after)).await;
        let [high, low] = flags.to_be_bytes();
        Ok([&[0, 0, high, low, 0, 1, 0, records, 0, 0, 0, 0], key.question()].concat())
    }
}

const QUESTION: &[u8] = b"\x01a\x00\x00\x01\x00\x01";
const CLUSTER_QUESTION: &[u8] = b"\x01a\x07cluster\x05local\x00\x00\x01\x00\x01";

struct Setup<S> {
    state: Arc<State>,
    network: Arc<Scripted<S>>,
}

impl<S: Fn(Target, u64) -> Does + Send + Sync + 'static> Setup<S> {
    fn new(servers: usize, script: S) -> Self {
        Self::with_tier(0, servers, u32::MAX, script)
    }

    /// The same; the last server is a backup server.
    fn with_backup(servers: usize, script: S) -> Self {
        let setup = Servers { servers, tier: 0, backup: 1, transport: UpstreamTransport::Auto };
        Self::of(setup, u32::MAX, script)
    }

    /// The same; the first servers are the shared tier. It answers so many probes, unless it refuses
    /// everything; other queries follow the script.
    fn with_tier(tier: usize, servers: usize, checks: u32, script: S) -> Self {
        Self::of(Servers { servers, tier, backup: 0, transport: UpstreamTransport::Auto }, checks, script)
    }

    fn of(setup: Servers, checks: u32, script: S) -> Self {
        let Servers { servers, tier, .. } = setup;
        let state = Arc::new(State::new(setup, 0, b"\x07cluster\x05local\0".to_vec(), Metrics::new().0));
        let checks = AtomicU32::new(checks);
        let network = Scripted { start: Instant::now(), script, tier, checks, asked: Mutex::default() };
        let setup = Self { state, network: Arc::new(network) };
        if servers > 1 {
            setup.check();
        }
        setup
    }

    /// Starts the task that probes.
    fn check(&self) {
        let (state, network) = (Arc::clone(&self.state), Arc::clone(&self.network));
        tokio::spawn(async move {
            let marker = LoopMarker::new().expect("random");
            probe::run(&state, &*network, |_| marker.probe("cluster.local").ok()).await;
        });
    }

    /// One exchange: the RCODE of its answer, and its duration in milliseconds.
    fn exchange(&self) -> impl Future<Output = (Result<u8, Failed>, u64)> + Send + use<S> {
        self.exchange_of(QUESTION)
    }

    fn exchange_of(
        &self,
        question: &'static [u8],
    ) -> impl Future<Output = (Result<u8, Failed>, u64)> + Send + use<S> {
        let (state, network) = (Arc::clone(&self.state), Arc::clone(&self.network));
        async move {
            let start = Instant::now();
            let key = Key::new(question, Flags(Flags::RD), false);
            let response = race(&state, &*network, &key, start + DEADLINE).await;
            (response.map(|response| response[3] & 0xf), start.elapsed().as_millis() as u64)
        }
    }

    /// The queries since the last call, with their times.
    fn asked(&self) -> String {
        let asked = std::mem::take(&mut *self.network.asked.lock().expect("not poisoned"));
        asked.iter().map(|(at, server)| format!("{at} {server}")).collect::<Vec<_>>().join(", ")
    }

    fn condition(&self) -> Condition {
        self.state.condition(Instant::now())
    }
}

const ANSWERED: Result<u8, Failed> = Ok(0);
const SERVFAIL: Result<u8, Failed> = Ok(2);

/// The longest jitter of the server's timer, and a millisecond of the clock.
const JITTER: u64 = 401;

fn is_udp(target: Target) -> bool {
    target.transport == Transport::Udp
}

/// The times of transmissions, in milliseconds.
fn times(asked: &str) -> Vec<u64> {
    let time = |text: &str| text.split(' ').next().and_then(|time| time.parse().ok());
    asked.split(", ").filter_map(time).collect()
}

fn assert_times(asked: &str, expected: &[u64]) {
    let times = times(asked);
    // The jitter of one expiry delays the next ones, too, and may delay the last one beyond the deadline.
    let fits = |(time, expected): (&u64, &u64)| (*expected..=*expected + JITTER * 5).contains(time);
    let is_late = |time: &u64| time + JITTER * 5 > EXCHANGE_TIMEOUT.as_millis() as u64;
    let missing = expected.get(times.len()..).unwrap_or_default();
    let is_complete = times.len() <= expected.len() && missing.iter().all(is_late);
    assert!(is_complete && times.iter().zip(expected).all(fits), "{asked}: {expected:?}");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_answers_within_a_second_is_queried_once() {
    let setup = Setup::new(1, |_, _| Answer(999));
    assert_eq!(setup.exchange().await, (ANSWERED, 999));
    assert_eq!(setup.asked(), "0 A");
}

#[tokio::test(start_paused = true)]
async fn a_silent_server_is_queried_after_1_3_and_then_every_3_5_s() {
    let setup = Setup::new(1, |_, _| Silent);
    assert_eq!(setup.exchange().await, (Err(Failed), 15_000));
    let asked = setup.asked();
    assert_times(&asked, &[0, 1000, 3000, 6500, 10_000, 13_500]);
    assert!(!asked.contains('+'), "{asked}");
}

#[tokio::test(start_paused = true)]
async fn an_upstream_slower_than_glibc_gets_no_more_queries_than_from_glibc() {
    // glibc retransmits after 5 s.
    for (takes, most) in [(1000, 1), (3000, 2), (4500, 3), (6000, 3), (8000, 4), (9500, 4)] {
        let setup = Setup::new(1, move |_, _| Answer(takes));
        for round in 0..5 {
            assert_eq!(setup.exchange().await, (ANSWERED, takes));
            let sent = setup.asked().split(", ").count();
            assert!(sent <= most, "round {round}: {takes} ms: {sent}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn queries_to_a_slow_upstream_are_sent_once_under_load() {
    let setup = Setup::new(1, |_, _| Answer(2000));
    let mut clients = JoinSet::new();
    for _ in 0..1000 {
        clients.spawn(setup.exchange());
        sleep(Duration::from_millis(10)).await;
    }
    let outcomes = clients.join_all().await;
    assert!(outcomes.iter().all(|(outcome, _)| *outcome == ANSWERED));
    let attempts = setup.asked().split(", ").count();
    assert!(attempts <= 1010, "{attempts} attempts");
}

#[tokio::test(start_paused = true)]
async fn fifty_queries_with_a_third_lost_are_answered_within_400_ms() {
    let sent = AtomicU32::new(0);
    let setup = Setup::new(1, move |target, _| {
        // Knuth's multiplicative hash: the same third each time, without a pattern.
        let hash = sent.fetch_add(1, Ordering::Relaxed).wrapping_mul(2_654_435_761) >> 16;
        let is_lost = is_udp(target) && hash.is_multiple_of(3);
        if is_lost { Silent } else { Answer(1) }
    });
    let mut clients = JoinSet::new();
    (0..50).for_each(|_| drop(clients.spawn(setup.exchange())));
    for (outcome, took) in clients.join_all().await {
        assert_eq!(outcome, ANSWERED);
        assert!(took <= 400, "{took} ms: {}", setup.asked());
    }
    assert!(!setup.condition().is_down);
}

#[tokio::test(start_paused = true)]
async fn the_next_server_is_queried_after_the_timer_of_a_silent_one() {
    let setup = Setup::new(2, |target, _| if target.server == 0 { Silent } else { Answer(1) });
    let (outcome, took) = setup.exchange().await;
    assert!(outcome == ANSWERED && (1000..=1000 + JITTER).contains(&took), "{took} ms");
    assert!(setup.asked().ends_with(" B"));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_was_silent_twice_is_ejected_and_gets_trials() {
    let setup = Setup::new(2, |target, at| if target.server == 0 && at < 9000 { Silent } else { Answer(1) });
    for _ in 0..2 {
        assert_eq!(setup.exchange().await.0, ANSWERED);
    }
    setup.asked();
    assert_eq!(setup.exchange().await, (ANSWERED, 1));
    assert!(setup.asked().ends_with(" B") && !setup.condition().is_down);
    for _ in 0..20 {
        sleep(Duration::from_secs(1)).await;
        assert_eq!(setup.exchange().await, (ANSWERED, 1));
    }
    let asked = setup.asked();
    let tries = asked.matches('A').count();
    assert!(asked.ends_with(" A") && asked.matches('B').count() < 20, "it is back: {asked}");
    assert!(tries < 20, "{asked}");
}

#[tokio::test(start_paused = true)]
async fn a_failure_goes_to_the_next_server_and_is_returned_if_all_fail() {
    let setup = Setup::new(2, |target, _| if target.server == 0 { Fails(5) } else { Answer(5) });
    assert_eq!(setup.exchange().await, (ANSWERED, 10));
    assert_eq!(setup.asked(), "0 A, 5 B");
    let setup = Setup::new(2, |_, _| Fails(5));
    assert_eq!(setup.exchange().await, (SERVFAIL, 10));
    assert_eq!(setup.asked(), "0 A, 5 B");
    assert!(!setup.condition().is_down, "SERVFAIL is an answer");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_refuses_later_transmissions_may_still_answer() {
    let setup = Setup::new(1, |_, at| if at == 0 { Answer(9500) } else { Refuses });
    let exchange = tokio::spawn(setup.exchange());
    sleep(Duration::from_millis(3000 + 2 * JITTER)).await;
    assert!(setup.condition().is_refusing, "{}", setup.asked());
    assert_eq!(exchange.await.expect("no panic"), (ANSWERED, 9500));
}

#[tokio::test(start_paused = true)]
async fn a_refusing_server_is_queried_on_its_timer_for_four_seconds() {
    let setup = Setup::new(1, |_, _| Refuses);
    assert_eq!(setup.exchange().await, (Err(Failed), 4000));
    assert_times(&setup.asked(), &[0, 1000, 3000]);
    assert!(setup.condition().is_down);
    let setup = Setup::new(1, |_, at| if at < 2000 { Refuses } else { Answer(1) });
    let (outcome, took) = setup.exchange().await;
    assert!(outcome == ANSWERED && (3000..=3000 + 2 * JITTER).contains(&took), "{took} ms");
}

#[tokio::test(start_paused = true)]
async fn a_truncated_answer_is_fetched_over_tcp_immediately() {
    let setup = Setup::new(1, |target, _| if is_udp(target) { Truncates } else { Answer(1) });
    assert_eq!(setup.exchange().await, (ANSWERED, 1));
    assert_eq!(setup.asked(), "0 A, 0 A+");
}

#[tokio::test(start_paused = true)]
async fn while_tcp_fails_a_truncated_answer_is_returned_immediately() {
    for refuses in [true, false] {
        let setup = Setup::new(1, move |target, at| match target.transport {
            Transport::Udp => Truncates,
            Transport::Tcp if at >= 30_000 => Answer(1),
            Transport::Tcp if refuses => Refuses,
            Transport::Tcp => Silent,
        });
        for _ in 0..2 {
            assert_eq!(setup.exchange().await, (ANSWERED, if refuses { 0 } else { 1000 }));
        }
        setup.asked();
        for _ in 0..5 {
            assert_eq!(setup.exchange().await, (ANSWERED, 0));
        }
        assert!(!setup.asked().contains('+'), "no connection");
        sleep(Duration::from_secs(8)).await;
        let waits = setup.exchange();
        let (waits, beside) = tokio::join!(waits, setup.exchange());
        assert_eq!((waits.1, beside.1), (if refuses { 0 } else { 1000 }, 0), "one of them tries");
        assert_eq!(setup.asked().matches('+').count(), 1);
        sleep(Duration::from_secs(30)).await;
        assert_eq!(setup.exchange().await, (ANSWERED, 1), "it is back");
        setup.asked();
        assert_eq!(setup.exchange().await, (ANSWERED, 1));
        assert!(setup.asked().contains('+'));
    }
}

#[tokio::test(start_paused = true)]
async fn one_slow_connection_does_not_disable_tcp() {
    let setup = Setup::new(2, |target, at| match target.transport {
        Transport::Udp => Truncates,
        Transport::Tcp if at < 1000 => Silent,
        Transport::Tcp => Answer(1),
    });
    assert_eq!(setup.exchange().await, (ANSWERED, 1000));
    assert_eq!(setup.exchange().await, (ANSWERED, 1));
    setup.state.record_tcp_fetch(1, false, Instant::now());
    setup.state.record_tcp_fetch(1, false, Instant::now());
    assert_eq!(setup.exchange().await, (ANSWERED, 1));
}

#[tokio::test(start_paused = true)]
async fn after_2_s_of_silence_the_servers_are_down_until_one_answers() {
    let setup = Setup::new(1, |_, at| if at < 5000 { Silent } else { Answer(1) });
    let waiting = tokio::spawn(setup.exchange());
    sleep(Duration::from_millis(1999)).await;
    assert!(!setup.condition().is_down);
    sleep(Duration::from_millis(2)).await;
    assert!(setup.condition().is_down);
    let (outcome, took) = waiting.await.expect("no panic");
    assert!(outcome == ANSWERED && took <= 5000 + 4000, "a fresh answer after {took} ms");
    assert!(!setup.condition().is_down);
    setup.asked();
    sleep(Duration::from_secs(60)).await;
    assert_eq!(setup.asked(), "", "no query without a question");
}

#[tokio::test(start_paused = true)]
async fn after_an_outage_all_waiting_queries_are_answered_with_jitter() {
    let setup = Setup::new(1, |_, at| if at < 5500 { Silent } else { Answer(1) });
    let mut waiting = JoinSet::new();
    (0..1000).for_each(|_| drop(waiting.spawn(setup.exchange())));
    sleep(Duration::from_millis(5600)).await;
    setup.asked();
    assert_eq!(setup.exchange().await, (ANSWERED, 1));
    for (outcome, took) in waiting.join_all().await {
        assert!(outcome == ANSWERED && (5600..=5710).contains(&took), "{took} ms");
    }
    let times = times(&setup.asked());
    let instants: std::collections::BTreeSet<_> = times.iter().collect();
    assert_eq!(times.len(), 1 + 1000, "each once");
    assert!(instants.len() > 50, "spread over {} milliseconds", instants.len());
}

#[tokio::test(start_paused = true)]
async fn while_the_servers_are_silent_one_refresh_is_allowed_in_an_interval() {
    let setup = Setup::new(1, |_, _| Silent);
    assert!(setup.state.may_refresh(Instant::now()));
    setup.exchange().await.0.expect_err("silent");
    let (start, mut allowed) = (Instant::now(), Vec::new());
    for _ in 0..200 {
        if setup.state.may_refresh(Instant::now()) {
            allowed.push(start.elapsed().as_millis());
        }
        advance(Duration::from_millis(70)).await;
    }
    // The jitter decides how long before the end of the exchange something was last sent.
    assert!(allowed[0] <= 3500, "{allowed:?}");
    assert!(allowed.windows(2).all(|pair| pair[1] - pair[0] == 3500), "{allowed:?}");
    assert!((3..=4).contains(&allowed.len()), "in 14 s: {allowed:?}");
}

mod backup;
mod tier;
