//! The cache of answers: quick_cache, limited in bytes; the time is passed in.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use quick_cache::sync::Cache as Store;
use quick_cache::{DefaultHashBuilder, Lifecycle, OptionsBuilder, Weighter};

use entry::Entry;
use podlocal_dns::key::{Key, StoredKey};

pub mod entry;
pub mod lifetime;

/// Answers, by the keys of their questions.
#[derive(Debug)]
pub struct Cache {
    store: Store<StoredKey, Entry, Weight, DefaultHashBuilder, Evictions>,
    evictions: Evictions,
    size: u64,
}

/// The memory that the cache uses for an entry in addition to the entry. quick_cache uses 21 bytes and the
/// pair of pointers, in tables that are on average three quarters full, and half a ghost (its documentation,
/// "Approximate memory usage"). The allocator adds its overhead for two blocks.
const OVERHEAD: usize = 130;

/// The smallest usual memory of an answer; the tables are sized for it.
const USUAL_WEIGHT: u64 = 400;

impl Cache {
    /// An empty cache of at most `size` bytes, for so many threads.
    pub fn new(size: u64, threads: usize) -> Self {
        let items = usize::try_from(size / USUAL_WEIGHT).unwrap_or(usize::MAX);
        let options = OptionsBuilder::new()
            .estimated_items_capacity(items)
            .weight_capacity(size)
            .shards(shards(size, threads))
            .build();
        let (hashes, evictions) = (DefaultHashBuilder::default(), Evictions::default());
        let store = match options {
            Ok(options) => Store::with_options(options, Weight, hashes, evictions.clone()),
            // Every required option is given above; if quick_cache requires more one day, its defaults are
            // good enough.
            Err(_) => Store::with(items, size, Weight, hashes, evictions.clone()),
        };
        Self { store, evictions, size }
    }

    /// The answer for that key, if it is fresh.
    pub fn get(&self, key: &Key, now: Instant) -> Option<Entry> {
        self.store.get(key).filter(|entry| entry.is_fresh(now))
    }

    /// The answer for that key, fresh or not.
    pub fn get_expired(&self, key: &Key) -> Option<Entry> {
        self.store.get(key)
    }

    /// Removes an answer that a newer one contradicts.
    pub fn remove(&self, key: &Key) {
        self.store.remove(key);
    }

    /// Replaces the answer for that key. An answer that may not be cached removes the older one, too: the
    /// newer answer contradicts it, and the older one must not be served when the upstream fails (RFC 8767
    /// section 4).
    pub fn insert(&self, key: &Key, entry: Entry) {
        if entry.seconds() > 0 {
            self.store.insert(key.stored(), entry);
        } else {
            self.store.remove(key);
        }
    }

    /// The number of answers, fresh or expired.
    pub fn entries(&self) -> usize {
        self.store.len()
    }

    /// The memory of all answers, in bytes; at most the size of the cache.
    pub fn weight(&self) -> u64 {
        self.store.weight()
    }

    /// The limit on the memory, in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The number of answers that were evicted to make room for others, or were too large for the cache.
    pub fn evictions(&self) -> u64 {
        self.evictions.0.load(Ordering::Relaxed)
    }
}

/// The number of shards. One thread has one, so that a large answer may take a share of the whole cache.
/// Several threads have so many that they rarely compete for a lock, but each shard has room for some answers
/// of the largest size. Each shard has its own lock and its own share of the bytes.
///
/// | bytes | threads | shards |
/// |---|---|---|
/// | 64 MiB | 1 | 1 |
/// | 64 MiB | 2 | 16 |
/// | 64 MiB | 64 | 128 |
/// | 64 KiB | 2 | 1 |
fn shards(size: u64, threads: usize) -> usize {
    let wanted = (threads * 8).next_power_of_two();
    let most = usize::try_from(size / SMALLEST_SHARD).unwrap_or(usize::MAX);
    let fitting = (most / 2 + 1).next_power_of_two();
    if threads == 1 { 1 } else { wanted.min(fitting) }
}

/// Eight answers of 64 KiB.
const SMALLEST_SHARD: u64 = 512 << 10;

#[derive(Debug, Clone)]
struct Weight;

impl Weighter<StoredKey, Entry> for Weight {
    fn weight(&self, key: &StoredKey, entry: &Entry) -> u64 {
        (key.heap_size() + entry.size() + OVERHEAD) as u64
    }
}

/// Counts the answers that quick_cache evicts. Replaced and removed ones do not count.
#[derive(Debug, Clone, Default)]
struct Evictions(Arc<AtomicU64>);

impl Lifecycle<StoredKey, Entry> for Evictions {
    /// The evicted entry, dropped after the lock of the shard is released: most insertions evict at most one.
    type RequestState = Option<(StoredKey, Entry)>;

    /// Not called for replaced entries.
    fn before_evict(&self, _: &mut Self::RequestState, _: &StoredKey, _: &mut Entry) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// Called for replaced entries, too.
    fn on_evict(&self, state: &mut Self::RequestState, key: StoredKey, entry: Entry) {
        *state = Some((key, entry));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lifetime::{Lifetime, TtlLimits};
    use podlocal_dns::wire::Flags;
    use std::time::Duration;

    fn numbered(number: u32) -> Vec<u8> {
        let mut bytes = vec![0, 7, 0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0];
        bytes.extend_from_slice(format!("\x0a{number:010}\x00\x00\x01\x00\x01").as_bytes());
        bytes.extend_from_slice(b"\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x3c\x00\x04\x0a\x00\x00\x01");
        bytes
    }

    fn insert(cache: &Cache, number: u32, lifetime: Lifetime, now: Instant) -> Key {
        let bytes = numbered(number);
        let question = &bytes[12..28];
        let limits = TtlLimits::new(&podlocal_settings::Settings::defaults());
        let entry = Entry::new(&bytes, question.len(), lifetime, &limits, now).expect("well formed");
        let key = Key::new(question, Flags(Flags::RD), false);
        cache.insert(&key, entry);
        key
    }

    #[test]
    fn an_expired_answer_is_not_served() {
        let (cache, now) = (Cache::new(1 << 20, 1), Instant::now());
        let key = insert(&cache, 1, Lifetime::Positive(60), now);
        assert!(cache.get(&key, now + Duration::from_secs(59)).is_some());
        assert!(cache.get(&key, now + Duration::from_secs(60)).is_none());
    }

    #[test]
    fn the_number_of_shards_depends_on_threads_and_bytes() {
        let table =
            [(64 << 20, 1, 1), (64 << 20, 2, 16), (64 << 20, 64, 128), (64 << 10, 2, 1), (4 << 20, 2, 8)];
        for (size, threads, expected) in table {
            assert_eq!(shards(size, threads), expected, "{size} {threads}");
        }
    }

    #[test]
    fn a_newer_answer_to_the_same_question_evicts_nothing() {
        let (cache, now) = (Cache::new(256 << 10, 1), Instant::now());
        for _ in 0..3 {
            insert(&cache, 1, Lifetime::Positive(60), now);
        }
        assert_eq!((cache.entries(), cache.evictions()), (1, 0));
    }

    #[test]
    fn a_hundred_thousand_names_stay_within_the_limit() {
        let (cache, now) = (Cache::new(256 << 10, 1), Instant::now());
        for number in 0..100_000 {
            insert(&cache, number, Lifetime::Positive(60), now);
        }
        assert!(cache.weight() <= 256 << 10, "{} bytes", cache.weight());
        assert!(cache.entries() > 500, "{} entries", cache.entries());
        let there = cache.entries() as u64;
        assert_eq!(cache.evictions() + there, 100_000, "each is there, or was thrown out");
    }
}
