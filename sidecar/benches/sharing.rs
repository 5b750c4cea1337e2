//! The cost of a cache that several threads share:
//! `cargo bench --package podlocal-sidecar --bench sharing`.
//!
//! Each thread looks up hot names and writes their answers, as a worker does for a hit, but without sockets.
//! Two other designs are measured for comparison. One cache for each thread is the optimum. Passing the
//! question to the thread that owns its key is the cost of a cache partitioned by key.

use std::hint::black_box;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use podlocal_settings::Settings;
use podlocal_sidecar::cache::Cache;
use podlocal_sidecar::cache::entry::Entry;
use podlocal_sidecar::cache::lifetime::{Lifetime, TtlLimits};
use podlocal_sidecar::metrics::{ByTransport, Metrics, Outcome, Transport};
use podlocal_sidecar::query::Query;

const NAMES: usize = 1000;
const ROUNDS: usize = 5;
const ROUND: Duration = Duration::from_millis(400);

fn main() {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let queries: Arc<Vec<Query>> = Arc::new((0..NAMES).map(query).collect());
    let shared = |shards: usize| vec![filled(shards, &queries); cores];
    let own: Vec<_> = (0..cores).map(|_| filled(1, &queries)).collect();
    let one = vec![Metrics::new().0; cores];
    let each: Vec<_> = (0..cores).map(|_| Metrics::new().0).collect();
    let forms = [
        ("a cache and counters of each thread's own", own.clone(), &each),
        ("one cache of 1 shard, own counters", shared(1), &each),
        ("one cache of 16 shards, own counters", shared(16), &each),
        ("one cache of 64 shards, own counters", shared(64), &each),
        ("one cache of 16 shards, shared counters", shared(16), &one),
    ];
    println!("{cores} threads, {NAMES} hot names; nanoseconds per hit and thread, median of {ROUNDS} rounds");
    for (name, caches, metrics) in forms {
        let rounds = (0..ROUNDS).map(|_| hits(&queries, &caches, metrics));
        println!("{:>9.0}  {name}", median(rounds.collect()));
    }
    println!(
        "{:>9.0}  handed to the thread that owns the key, and back",
        median((0..ROUNDS).map(|_| handed_over()).collect())
    );
}

/// An answer with an address record, in the form of CoreDNS.
fn message(number: usize, is_answer: bool) -> Vec<u8> {
    let mut bytes = vec![0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    bytes.extend_from_slice(format!("\x0aname{number:06}\x07example\x03com\x00\x00\x01\x00\x01").as_bytes());
    if is_answer {
        bytes[2..8].copy_from_slice(&[0x81, 0x80, 0, 1, 0, 1]);
        bytes.extend_from_slice(b"\xc0\x0c\x00\x01\x00\x01\x00\x00\x0e\x10\x00\x04\x0a\x00\x00\x01");
    }
    bytes
}

/// A query with a static lifetime.
fn query(number: usize) -> Query<'static> {
    Query::parse(message(number, false).leak()).expect("a query")
}

fn filled(shards: usize, queries: &[Query<'_>]) -> Arc<Cache> {
    let cache = Cache::with_shards(64 << 20, shards);
    let limits = TtlLimits::new(&Settings::defaults());
    for (number, query) in queries.iter().enumerate() {
        let (answer, lifetime) = (message(number, true), Lifetime::Positive(3600));
        let entry = Entry::new(&answer, query.question.len(), lifetime, &limits, Instant::now());
        cache.insert(&query.key, entry.expect("well formed"));
    }
    Arc::new(cache)
}

/// All threads look up names for one round.
fn hits(queries: &Arc<Vec<Query<'static>>>, caches: &[Arc<Cache>], metrics: &[Metrics]) -> f64 {
    let (is_over, start) = (Arc::new(AtomicBool::new(false)), Arc::new(Barrier::new(caches.len() + 1)));
    let threads: Vec<_> = (caches.iter().zip(metrics).enumerate())
        .map(|(number, (cache, metrics))| {
            let (queries, cache, metrics) = (Arc::clone(queries), Arc::clone(cache), metrics.clone());
            let (is_over, start) = (Arc::clone(&is_over), Arc::clone(&start));
            thread::spawn(move || {
                let (mut out, mut count, now) = (Vec::with_capacity(512), 0_usize, Instant::now());
                start.wait();
                let begin = Instant::now();
                while !is_over.load(Ordering::Relaxed) {
                    // Each thread has its own order.
                    let query = &queries[(count * (7 + 2 * number)) % NAMES];
                    metrics.queries.inc(ByTransport(Transport::Udp));
                    let entry = cache.get(&query.key, now).expect("a hit");
                    entry.write(black_box(query), now, 512, &mut out);
                    black_box(entry.wants_refresh(now));
                    metrics.outcomes.inc(Outcome::Hit);
                    count += 1;
                }
                begin.elapsed().as_nanos() as f64 / count as f64
            })
        })
        .collect();
    start.wait();
    thread::park_timeout(ROUND);
    is_over.store(true, Ordering::Relaxed);
    let times: Vec<f64> = threads.into_iter().map(|thread| thread.join().expect("no panic")).collect();
    times.iter().sum::<f64>() / times.len() as f64
}

/// Sends a question to another thread and receives the answer, both through a queue.
fn handed_over() -> f64 {
    let (to_owner, questions) = mpsc::sync_channel::<usize>(1024);
    let (to_asker, answers) = mpsc::sync_channel(1024);
    let owner = thread::spawn(move || questions.into_iter().try_for_each(|number| to_asker.send(number)));
    let (begin, mut count) = (Instant::now(), 0);
    // As many questions in flight as a batch has datagrams.
    while begin.elapsed() < ROUND {
        (0..32).for_each(|number| to_owner.send(number).expect("the owner listens"));
        (0..32).for_each(|_| assert!(black_box(answers.recv()).is_ok()));
        count += 32;
    }
    let took = begin.elapsed().as_nanos() as f64 / f64::from(count);
    drop(to_owner);
    let _ = owner.join();
    took
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
