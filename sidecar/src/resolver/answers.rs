//! Answers as they are cached, and what they say about other types of the name.

use std::time::Instant;

use podlocal_dns::key::Key;
use podlocal_dns::search;
use podlocal_dns::wire::{self, CLASS_IN, Malformed, Message, Rcode, TYPE_A, TYPE_AAAA};

use super::outcome::{Answer, NoAnswer};
use super::{Resolver, now};
use crate::cache::entry::Entry;
use crate::cache::lifetime::{self, Lifetime};
use crate::upstream::Upstream;

impl<U: Upstream> Resolver<U> {
    /// The answer in a response. Any RCODE but NOERROR and NXDOMAIN says that the server cannot answer (RFC
    /// 8767 section 5). NXDOMAIN to a name with an address becomes NODATA.
    pub(super) fn read_response(&self, response: &[u8], key: &Key, now: Instant) -> Answer {
        let rcode = Message::new(response).ok_or(Malformed)?.rcode();
        if !matches!(rcode, Rcode::NO_ERROR | Rcode::NXDOMAIN) {
            return Err(NoAnswer::refused(rcode));
        }
        if rcode == Rcode::NXDOMAIN && self.has_other_address(key) {
            let mut response = response.to_vec();
            wire::put_rcode(&mut response, Rcode::NO_ERROR);
            return Ok(self.new_entry(&response, key, now)?);
        }
        Ok(self.new_entry(response, key, now)?)
    }

    /// Whether the name has an address of the other type, so that it exists (RFC 4074 section 4.2: some
    /// servers still answer NXDOMAIN, and musl accepts that).
    pub(super) fn has_other_address(&self, key: &Key) -> bool {
        let Some(sibling) = search::sibling(key) else { return false };
        let is_there = |key| self.cache.get(key, now()).is_some_and(|entry| entry.is_positive());
        is_there(&sibling) || is_there(&sibling.for_clients())
    }

    /// Corrects NXDOMAIN to AAAA while an A query is in flight: the answer to A decides, whichever arrives
    /// first.
    pub(super) async fn reconcile(&self, key: &Key, entry: Entry) -> Result<Entry, NoAnswer> {
        if !is_decided_by_address_answer(key, &entry) {
            return Ok(entry);
        }
        if let Some(address) = self.route(key).questions.end_of(&key.with_type(TYPE_A)) {
            address.await;
        }
        if self.has_other_address(key) {
            self.read_response(&entry.aged(now()), key, now())
        } else {
            Ok(entry)
        }
    }

    /// Makes a cache entry from a response.
    pub(super) fn new_entry(&self, response: &[u8], key: &Key, now: Instant) -> Result<Entry, Malformed> {
        let message = Message::new(response).ok_or(Malformed)?;
        let question = message.question().ok_or(Malformed)?;
        let lifetime = lifetime::lifetime(message, &self.limits);
        debug_assert_eq!(question.len(), key.question().len(), "the upstream answers the question asked");
        Entry::new(response, question.len(), lifetime, &self.limits, now)
    }

    /// The same negative answer, with a TTL of so many seconds from `begin` on.
    pub(super) fn negative(&self, key: &Key, entry: &Entry, seconds: u32, begin: Instant) -> Answer {
        let (bytes, lifetime) = (entry.aged(begin), Lifetime::Negative(seconds));
        Ok(Entry::new(&bytes, key.question().len(), lifetime, &self.limits, begin)?)
    }

    /// Caches an answer; a contradicting one is removed, even if the new answer cannot be cached.
    ///
    /// | the answer | is cached for |
    /// |---|---|
    /// | NXDOMAIN to A | every type (RFC 2308 section 5) |
    /// | NXDOMAIN to another type | that type: some servers send it for names with addresses (RFC 4074 section 4.2) |
    /// | anything else | its type; a cached NXDOMAIN for every type is removed |
    pub(super) fn remember(&self, key: &Key, entry: &Entry) {
        self.remember_answer(key, self.search.shares_missing(key), entry);
    }

    /// The same, where it is known whether NXDOMAIN for every type may be cached.
    pub(super) fn remember_answer(&self, key: &Key, may_deny_every_type: bool, entry: &Entry) {
        let is_missing = entry.is_missing_name();
        if is_missing && key.type_and_class() == (TYPE_A, CLASS_IN) {
            self.cache.remove(key);
            return self.cache.insert(&key.for_every_type(), entry.clone());
        }
        if !is_missing && may_deny_every_type {
            self.cache.remove(&key.for_every_type());
        }
        self.store(key, entry);
    }

    /// Caches an answer for its own question. An address removes a cached NXDOMAIN to the other address type.
    pub(super) fn store(&self, key: &Key, entry: &Entry) {
        if entry.is_positive()
            && let Some(sibling) = search::sibling(key)
            && self.cache.get_expired(&sibling).is_some_and(|entry| entry.is_missing_name())
        {
            self.cache.remove(&sibling);
        }
        self.cache.insert(key, entry.clone());
    }
}

/// Whether that is NXDOMAIN to AAAA, about which the answer to A decides.
pub(super) fn is_decided_by_address_answer(key: &Key, entry: &Entry) -> bool {
    let (rtype, _) = key.type_and_class();
    rtype == TYPE_AAAA && entry.is_missing_name()
}
