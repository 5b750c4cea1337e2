//! Exchanges over a network in memory, with a paused clock: which server is queried when. Most of them are
//! scripts in text files ([`script`]).

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use podlocal_dns::upstream::{Condition, Setup as Servers};
use podlocal_dns::wire::{Flags, Rcode};
use podlocal_settings::value::UpstreamTransport;
use tokio::task::JoinSet;
use tokio::time::{advance, sleep};

use super::*;
use crate::metrics::Metrics;
use crate::upstream::loop_detection::LoopMarker;
use crate::upstream::probe;

mod script;

/// What a server does with one query.
#[derive(Debug, Clone, Copy)]
enum Does {
    /// Responds with that RCODE and so many answer records after that many milliseconds. The records matter
    /// only for backup servers.
    Respond(Rcode, u8, u64),
    /// Sends a truncated answer immediately.
    Truncate,
    /// Causes an error of the socket immediately.
    Refuse,
    /// Sends nothing, ever.
    Silence,
}
use Does::{Refuse, Respond, Silence, Truncate};

const fn answer(after: u64) -> Does {
    Respond(Rcode::NO_ERROR, 0, after)
}

/// Servers that do what a function says about the target and the milliseconds since the start. They record
/// when they were queried over what, as `0 A, 300 A+`; a probe as `(A)`.
struct Scripted {
    start: Instant,
    script: Box<dyn Fn(Target, u64) -> Does + Send + Sync>,
    tier: usize,
    /// How many more probes are answered.
    probes: AtomicU32,
    asked: Mutex<Vec<(u64, String)>>,
}

impl Network for Scripted {
    async fn ask(&self, target: Target, key: &Key, _is_repeated: bool) -> io::Result<Vec<u8>> {
        let now = self.start.elapsed().as_millis() as u64;
        let is_probe = ![QUESTION, CLUSTER_QUESTION].contains(&key.question());
        let name = name_of(target);
        let name = if is_probe { format!("({name})") } else { name };
        self.asked.lock().expect("not poisoned").push((now, name));
        let does = match (self.script)(target, now) {
            Refuse => Refuse,
            does if !is_probe || target.server >= self.tier => does,
            _ => {
                let left = self
                    .probes
                    .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
                if left.is_ok() { answer(1) } else { Silence }
            }
        };
        let (flags, rcode, records, after) = match does {
            Respond(rcode, records, after) => (Flags::QR, rcode, records, after),
            Truncate => (Flags::QR | Flags::TC, Rcode::NO_ERROR, 0, 0),
            Refuse => return Err(io::ErrorKind::ConnectionRefused.into()),
            Silence => std::future::pending().await,
        };
        sleep(Duration::from_millis(after)).await;
        let [high, low] = (flags | u16::from(rcode.0)).to_be_bytes();
        Ok([&[0, 0, high, low, 0, 1, 0, records, 0, 0, 0, 0], key.question()].concat())
    }
}

/// The letter of the server, with `+` for TCP.
fn name_of(Target { server, transport }: Target) -> String {
    let plus = if transport == Transport::Tcp { "+" } else { "" };
    format!("{}{plus}", char::from(b'A' + server as u8))
}

const QUESTION: &[u8] = b"\x01a\x00\x00\x01\x00\x01";
const CLUSTER_QUESTION: &[u8] = b"\x01a\x07cluster\x05local\x00\x00\x01\x00\x01";

struct Setup {
    state: Arc<State>,
    network: Arc<Scripted>,
}

impl Setup {
    /// So many servers; the first ones are the shared tier, the last ones backup servers. The tier answers so
    /// many probes, unless it refuses everything; other queries follow the script.
    fn new(
        [servers, tier, backup]: [usize; 3],
        probes: u32,
        script: impl Fn(Target, u64) -> Does + Send + Sync + 'static,
    ) -> Self {
        let setup = Servers { servers, tier, backup, transport: UpstreamTransport::Auto };
        let state = Arc::new(State::new(setup, 0, b"\x07cluster\x05local\0".to_vec(), Metrics::new().0));
        let (start, script, probes) = (Instant::now(), Box::new(script), AtomicU32::new(probes));
        let network = Arc::new(Scripted { start, script, tier, probes, asked: Mutex::default() });
        let setup = Self { state, network };
        if servers > 1 {
            let (state, network) = (Arc::clone(&setup.state), Arc::clone(&setup.network));
            tokio::spawn(async move {
                let marker = LoopMarker::new().expect("random");
                probe::run(&state, &*network, |_| marker.probe("cluster.local").ok()).await;
            });
        }
        setup
    }

    /// One exchange: the RCODE of its answer, and its duration in milliseconds.
    fn exchange(
        &self,
        question: &'static [u8],
    ) -> impl Future<Output = (Result<u8, Failed>, u64)> + Send + use<> {
        let (state, network) = (Arc::clone(&self.state), Arc::clone(&self.network));
        async move {
            let start = Instant::now();
            let key = Key::new(question, Flags(Flags::RD), false);
            let response = race(&state, &*network, &key, start + limits::DEADLINE).await;
            (response.map(|response| response[3] & 0xf), start.elapsed().as_millis() as u64)
        }
    }

    /// The queries since the last call, with their times.
    fn take_asked(&self) -> Vec<(u64, String)> {
        std::mem::take(&mut *self.network.asked.lock().expect("not poisoned"))
    }

    fn condition(&self) -> Condition {
        self.state.lock().policy.condition(Instant::now().into_std())
    }
}

const ANSWERED: Result<u8, Failed> = Ok(0);

#[tokio::test(start_paused = true)]
async fn an_upstream_slower_than_glibc_gets_no_more_queries_than_from_glibc() {
    // glibc retransmits after 5 s.
    for (takes, most) in [(1000, 1), (3000, 2), (4500, 3), (6000, 3), (8000, 4), (9500, 4)] {
        let setup = Setup::new([1, 0, 0], 0, move |_, _| answer(takes));
        for round in 0..5 {
            assert_eq!(setup.exchange(QUESTION).await, (ANSWERED, takes));
            let sent = setup.take_asked().len();
            assert!(sent <= most, "round {round}: {takes} ms: {sent}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn after_an_outage_all_waiting_queries_are_answered_with_jitter() {
    let setup = Setup::new([1, 0, 0], 0, |_, at| if at < 5500 { Silence } else { answer(1) });
    let mut waiting = JoinSet::new();
    (0..1000).for_each(|_| drop(waiting.spawn(setup.exchange(QUESTION))));
    sleep(Duration::from_millis(5600)).await;
    setup.take_asked();
    assert_eq!(setup.exchange(QUESTION).await, (ANSWERED, 1));
    for (outcome, took) in waiting.join_all().await {
        assert!(outcome == ANSWERED && (5600..=5710).contains(&took), "{took} ms");
    }
    let times: Vec<_> = setup.take_asked().into_iter().map(|(at, _)| at).collect();
    let instants: std::collections::BTreeSet<_> = times.iter().collect();
    assert_eq!(times.len(), 1 + 1000, "each once");
    assert!(instants.len() > 50, "spread over {} milliseconds", instants.len());
}

#[tokio::test(start_paused = true)]
async fn while_the_servers_are_silent_one_refresh_is_allowed_in_an_interval() {
    let setup = Setup::new([1, 0, 0], 0, |_, _| Silence);
    let may_refresh = || setup.state.lock().policy.may_refresh(Instant::now().into_std());
    assert!(may_refresh());
    setup.exchange(QUESTION).await.0.expect_err("silent");
    let (start, mut allowed) = (Instant::now(), Vec::new());
    for _ in 0..200 {
        if may_refresh() {
            allowed.push(start.elapsed().as_millis());
        }
        advance(Duration::from_millis(70)).await;
    }
    // The jitter decides how long before the end of the exchange something was last sent.
    assert!(allowed[0] <= 3500, "{allowed:?}");
    assert!(allowed.windows(2).all(|pair| pair[1] - pair[0] == 3500), "{allowed:?}");
    assert!((3..=4).contains(&allowed.len()), "in 14 s: {allowed:?}");
}
