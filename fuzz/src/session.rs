//! A sequence of queries: a [`Resolver`] with its cache in front of an upstream that changes its answers,
//! fails, and is silent, with a simulated clock. The oracle: a client gets the last answer of the upstream to
//! exactly this question, or NXDOMAIN if the upstream last answered NXDOMAIN to the question for A.
//!
//! The input is a list of acts, three bytes each ([`World::play`]).

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use podlocal_dns::key::Key;
use podlocal_dns::upstream::Condition;
use podlocal_settings::Settings;
use podlocal_sidecar::metrics::{Metrics, Outcome};
use podlocal_sidecar::query::Query;
use podlocal_sidecar::resolver::Resolver;
use podlocal_sidecar::upstream::{Failed, Upstream};
use tokio::time::{Instant, sleep, sleep_until};

use crate::walk;
use crate::word;

/// Names outside the cluster domain, to which no rule applies; one is below another.
const NAMES: [&[u8]; 3] = [b"\x01a\x07example\x00", b"\x03www\x01a\x07example\x00", b"\x01B\x07example\x00"];
const KINDS: [u16; 8] = [1, 28, 1, 28, 16, 65, 255, 0];

/// RCODEs that are failures, and that need no EDNS.
const FAILURES: [u8; 6] = [1, 2, 4, 5, 9, 6];

/// The TTLs of records and of SOA records, and the pauses in seconds.
const TTLS: [u8; 4] = [5, 0, 30, 60];
const PAUSES: [u64; 4] = [1, 5, 60, 4000];

#[derive(Debug, Clone, Copy)]
enum Says {
    Records { count: u8, first: u8, ttl: u8 },
    Nodata { soa: u8 },
    Nxdomain { soa: u8 },
    Fails(u8),
    Silence,
}

impl Says {
    fn new(first: u8, number: u8) -> Self {
        let ttl = TTLS[usize::from(number >> 3) % TTLS.len()];
        match number % 8 {
            0..=2 => Self::Records { count: if first == 31 { 39 } else { first % 4 }, first, ttl },
            3 | 4 => Self::Nodata { soa: ttl },
            5 => Self::Nxdomain { soa: ttl },
            6 => Self::Fails(first),
            _ => Self::Silence,
        }
    }
}

static SETTINGS: OnceLock<(Settings, Metrics)> = OnceLock::new();

/// Splits the input into acts, and plays them.
pub fn check(input: &[u8]) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime").block_on(async {
        let world = World::default();
        let (settings, metrics) = SETTINGS.get_or_init(|| {
            // A small cache is faster to create.
            (Settings { cache_size: 64 << 10, ..Settings::defaults() }, Metrics::new().0)
        });
        let resolver = Resolver::new(settings, 1, world.clone(), metrics.clone());
        for act in input.as_chunks().0.iter().take(60) {
            world.play(&resolver, *act).await;
        }
    });
}

/// The upstream, with its past answers.
#[derive(Debug, Clone, Default)]
struct World(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    says: HashMap<(usize, Option<u16>), (Says, u64)>,
    is_down: bool,
    last_response: Option<Instant>,
    /// The last answer to each question.
    said: HashMap<Key, Statement>,
    /// The previous answer to each question. It stays valid until the exchange of the last answer is over,
    /// which may wait for another exchange.
    said_before: HashMap<Key, Statement>,
    /// The questions whose exchanges failed.
    failed: HashMap<Key, HashSet<u8>>,
}

/// An answer: NOERROR or NXDOMAIN.
#[derive(Debug, Clone)]
struct Statement {
    rcode: u8,
    /// The types and data of the records.
    records: Vec<(u16, Vec<u8>)>,
    ttl: u32,
    at: Instant,
}

impl World {
    /// A client sends a query, the upstream gets another answer and another delay for a name, time passes, or
    /// the upstream counts as down or as up. Any three bytes are a valid act.
    async fn play(&self, resolver: &Arc<Resolver<Self>>, [act, what, number]: [u8; 3]) {
        let name = usize::from(act >> 3) % NAMES.len();
        let kind = KINDS[usize::from(what) % KINDS.len()];
        match act % 8 {
            0 | 1 => self.asks(resolver, NAMES[name], kind, 1).await,
            2 => self.asks(resolver, NAMES[name], kind, number).await,
            act @ 3..=5 => {
                // For one type, or for all.
                let kind = (act == 3).then_some(kind);
                let milliseconds = if number & 0x80 == 0 { 1 } else { 1000 };
                let mut state = self.lock();
                state.says.retain(|(own, _), _| kind.is_some() || *own != name);
                state.says.insert((name, kind), (Says::new(what >> 3, number), milliseconds));
            }
            6 if what % 8 == 0 => self.lock().is_down = number & 1 == 1,
            6 => sleep(Duration::from_secs(PAUSES[usize::from(number) % PAUSES.len()])).await,
            _ => self.asks(resolver, NAMES[name], u16::from_be_bytes([what, number]), 1).await,
        }
    }

    /// Sends a query in the same way as the server, and checks the answer against those of the upstream.
    async fn asks(&self, resolver: &Arc<Resolver<Self>>, name: &[u8], kind: u16, switches: u8) {
        let bytes = query(name, kind, switches);
        let Ok(query) = Query::parse(&bytes) else { return };
        let mut before = vec![self.lock().said.clone()];
        if resolver.question_status(&query.key, Instant::now().into_std()).is_in_flight {
            before.push(self.lock().said_before.clone());
        }
        let (start, mut out) = (Instant::now(), Vec::new());
        let limit = if switches & 8 == 0 { 512 } else { 65_535 };
        let outcome = match resolver.try_hit(&query, start.into_std(), limit, &mut out) {
            Ok(outcome) => outcome,
            Err(_) => resolver.resolve_miss(&Arc::new(query.key.clone())).await.write(
                query.client(),
                limit,
                &mut out,
            ),
        };
        let state = self.lock();
        let answer = Answer::read(&out);
        let is_said = before.iter().chain([&state.said]).any(|said| answer.is_said(said, &query.key));
        let before = &before[0];
        let is_failure = state.failed.get(&query.key).is_some_and(|failed| failed.contains(&answer.rcode));
        assert!(
            if matches!(answer.rcode, 0 | 3) { is_said } else { is_failure },
            "{kind} of {name:?} is {outcome:?} {answer:?}, and the upstream said {:?}, before {:?}",
            state.said.get(&query.key),
            before.get(&query.key),
        );
        if let (Outcome::Hit, Some(said)) = (outcome, before.get(&query.key)) {
            let is_own = answer.rcode == said.rcode && answer.rcode == 0;
            let age = start.saturating_duration_since(said.at).as_secs();
            assert!(!is_own || age < said.ttl.into(), "{said:?} is given after {age} s");
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().expect("no panic with the lock")
    }
}

/// The answer that a client got.
#[derive(Debug)]
struct Answer {
    rcode: u8,
    is_truncated: bool,
    records: Vec<(u16, Vec<u8>, u32)>,
}

impl Answer {
    fn read(bytes: &[u8]) -> Self {
        let walk = walk::walk(bytes).expect("what we write is whole");
        let answers = walk.records.iter().filter(|record| record.section == 0);
        let what = |record: &walk::Record| (record.kind, bytes[record.rdata.clone()].to_vec(), record.ttl);
        Self { rcode: bytes[3] & 0xf, is_truncated: bytes[2] & 2 != 0, records: answers.map(what).collect() }
    }

    fn is_said(&self, said: &HashMap<Key, Statement>, key: &Key) -> bool {
        let is_missing = |key| said.get(key).is_some_and(|said| said.rcode == 3);
        let own = said.get(key);
        if self.rcode == 3 {
            return self.records.is_empty() && (is_missing(key) || is_missing(&key.with_type(1)));
        }
        let Some(own) = own else { return false };
        if own.rcode == 3 {
            // The name has an address of the other type, so it exists.
            return self.records.is_empty();
        }
        let holds = |(kind, data, ttl): &(u16, Vec<u8>, u32)| {
            own.records.iter().any(|(own_kind, own)| (own_kind, own) == (kind, data))
                && *ttl <= own.ttl.max(30)
        };
        let count = self.records.len();
        self.records.iter().all(holds)
            && if self.is_truncated { count < own.records.len() } else { count == own.records.len() }
    }
}

impl Upstream for World {
    async fn ask(&self, key: &Key, deadline: Instant) -> Result<Vec<u8>, Failed> {
        let (kind, _) = key.type_and_class();
        let is_name = |name: &[u8]| name.eq_ignore_ascii_case(key.name());
        let name = NAMES.iter().position(|name| is_name(name)).expect("nothing else is asked for");
        let (says, milliseconds) = {
            let state = self.lock();
            let says = state.says.get(&(name, Some(kind))).or_else(|| state.says.get(&(name, None)));
            says.copied().unwrap_or((Says::Nxdomain { soa: 5 }, 1))
        };
        if matches!(says, Says::Silence) {
            self.failed(key, 2);
            sleep_until(deadline).await;
            return Err(Failed);
        }
        sleep(Duration::from_millis(milliseconds)).await;
        self.lock().last_response = Some(Instant::now());
        Ok(self.response(key, kind, says))
    }

    fn condition(&self) -> Condition {
        let state = self.lock();
        let last_response = state.last_response.map(Instant::into_std);
        Condition { is_down: state.is_down, is_dead: false, is_refusing: false, last_response }
    }
}

impl World {
    fn failed(&self, key: &Key, rcode: u8) {
        self.lock().failed.entry(key.clone()).or_default().insert(rcode);
    }

    /// The bytes of the answer, which is recorded.
    fn response(&self, key: &Key, kind: u16, says: Says) -> Vec<u8> {
        let at = Instant::now();
        let (rcode, records, ttl) = match says {
            Says::Records { count, first, ttl } => {
                let record = |number: u8| record(kind, first.wrapping_add(number));
                (0, (0..=count).map(record).collect(), u32::from(ttl))
            }
            Says::Nodata { soa } => (0, Vec::new(), u32::from(soa)),
            Says::Nxdomain { soa } => (3, Vec::new(), u32::from(soa)),
            Says::Fails(index) => {
                let rcode = FAILURES[usize::from(index) % FAILURES.len()];
                self.failed(key, if rcode == 5 { 2 } else { rcode });
                (rcode, Vec::new(), 0)
            }
            Says::Silence => (2, Vec::new(), 0),
        };
        let mut bytes = vec![0, 0, 0x81, 0x80 | rcode, 0, 1, 0, records.len() as u8, 0, 0, 0, 0];
        bytes.extend_from_slice(key.question());
        let mut push = |owner: [u8; 2], kind: u16, data: &[u8]| {
            bytes.extend_from_slice(&owner);
            bytes.extend_from_slice(&kind.to_be_bytes());
            bytes.extend_from_slice(&[0, 1]);
            bytes.extend_from_slice(&ttl.to_be_bytes());
            bytes.extend_from_slice(&(data.len() as u16).to_be_bytes());
            bytes.extend_from_slice(data);
        };
        for (kind, data) in &records {
            push([0xc0, 12], *kind, data);
        }
        // Without an SOA record if the number is zero.
        if records.is_empty() && ttl > 0 && matches!(rcode, 0 | 3) {
            let numbers = [1, 1, 1, 1, ttl].map(u32::to_be_bytes).concat();
            push([0xc0, 12], 6, &[&[0, 0][..], &numbers].concat());
            bytes[9] = 1;
        }
        if matches!(rcode, 0 | 3) {
            let mut state = self.lock();
            if let Some(before) = state.said.insert(key.clone(), Statement { rcode, records, ttl, at }) {
                state.said_before.insert(key.clone(), before);
            }
        }
        assert_eq!(word(&bytes, 4), 1);
        bytes
    }
}

/// A record of this type, with a number that tells it from others.
fn record(kind: u16, number: u8) -> (u16, Vec<u8>) {
    match kind {
        1 | 255 => (1, vec![10, 0, 0, number]),
        28 => (28, [&[0xfd; 15][..], &[number]].concat()),
        16 => (16, vec![1, number]),
        65 => (65, vec![0, number, 0]),
        // A type whose format the sidecar does not know.
        _ => (65_399, vec![number]),
    }
}

/// A query; the switches set RD, CD and EDNS with DO.
fn query(name: &[u8], kind: u16, switches: u8) -> Vec<u8> {
    let question = [name, &kind.to_be_bytes(), &[0, 1]].concat();
    let flags = u16::from(switches & 1) << 8 | u16::from(switches >> 1 & 1) << 4;
    let mut bytes = crate::bare_query(7, flags, &question);
    if switches & 4 != 0 {
        crate::put_opt(&mut bytes, 1232, 0x8000);
    }
    bytes
}
