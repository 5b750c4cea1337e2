//! The search expansion by the sidecar, for names that the client does not expand.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use podlocal_dns::key::Key;
use podlocal_dns::search::{self, Candidate, First};
use podlocal_dns::wire::{self, Malformed, Message, Rcode, Section, TYPE_A, TYPE_AAAA};
use tokio::time::timeout;

use super::ancestors::ancestor_question;
use super::outcome::{Answer, NoAnswer};
use super::question::Mode;
use super::{Resolver, now};
use crate::cache::entry::Entry;
use crate::flight::Role;
use crate::limits;
use crate::metrics::BackgroundQuery;
use crate::upstream::Upstream;

impl<U: Upstream> Resolver<U> {
    /// The answer for a question from the search list; concurrent callers share one walk.
    pub(super) async fn complete_coalesced(
        self: &Arc<Self>,
        key: &Arc<Key>,
        mode: Mode,
    ) -> Result<(Entry, Role), NoAnswer> {
        let walk = || Arc::clone(self).complete(Arc::clone(key), mode);
        self.share(&self.route(key).completions, key, mode, walk).await
    }

    /// Walks the search list as glibc does (`__res_context_search` in `resolv/res_query.c`), but a candidate
    /// that exists ends the walk whatever its types, as with musl:
    ///
    /// | a candidate | then |
    /// |---|---|
    /// | exists | it is the answer, as an alias |
    /// | exists without a record of this type | that is the answer, without an alias: a client that continues its own search then continues here, too |
    /// | does not exist | the next one; after the last the name as it stands |
    /// | fails | the same, but an answer found later is not cached, and if none is found, SERVFAIL |
    /// | fails because every server refuses | SERVFAIL, if the query for the name as it stands would go to the same servers |
    ///
    /// The name as it stands is queried after the candidates, so that the query for a name in the cluster
    /// does not leave it. While cluster DNS is slow, it is queried at the same time, so that the client does
    /// not wait twice as long.
    ///
    /// A name of a forward zone is queried from the servers of the zone first: it belongs to them, and
    /// cluster DNS is not queried for names below it while they answer:
    ///
    /// | the zone's servers | then |
    /// |---|---|
    /// | the name exists | that is the answer |
    /// | fail, or are silent | SERVFAIL: no other server is queried for a name of the zone, in any form |
    /// | the name does not exist | the candidates; after the last one that answer |
    async fn complete(self: Arc<Self>, key: Arc<Key>, mode: Mode) -> Answer {
        if mode == Mode::UseCache
            && let Some(entry) = self.cache.get(&key, now())
        {
            return Ok(entry);
        }
        let (as_is, is_for_cluster) = (Arc::new(key.as_is()), search::ends_in_svc(key.name()));
        let mut missing_in_zone = None;
        if self.routes.forward_zone(key.name()).is_some() {
            let original = Arc::clone(&self).ask_as_it_stands(as_is.clone(), mode).await?;
            if !original.is_nxdomain() {
                return self.store_decision(&key, original, Duration::MAX);
            }
            missing_in_zone = Some(original);
        }
        self.metrics.background_queries.inc(BackgroundQuery::SearchCompletion);
        let (mut early, mut rest, mut failure) = (None, Duration::MAX, None);
        for candidate in self.search.candidates(key.name()) {
            let mut asked = pin!(self.ask_candidate(&key, &candidate, mode));
            let answer = if let Ok(answer) = timeout(limits::SEARCH_HEAD_START, &mut asked).await {
                answer
            } else {
                let may_be_elsewhere = candidate.first != First::Own
                    && !is_for_cluster
                    && missing_in_zone.is_none()
                    && !self.is_refusing(&candidate);
                if may_be_elsewhere && early.is_none() {
                    early = Some(tokio::spawn(Arc::clone(&self).ask_as_it_stands(as_is.clone(), mode)));
                }
                asked.await
            };
            match answer {
                Ok(entry) if entry.is_nxdomain() => rest = rest.min(entry.remaining(now())),
                Ok(entry) => {
                    let response = alias(&key, &entry.aged(now()))?;
                    let entry = self.new_entry(&response, &key, now())?;
                    entry.mark_from_search_list();
                    self.cache.insert(&key, entry.clone());
                    return Ok(entry);
                }
                Err(no_answer)
                    if self.is_refusing(&candidate)
                        && self.routes.forward_zone(&candidate.name)
                            == self.routes.forward_zone(key.name()) =>
                {
                    return Err(no_answer);
                }
                Err(no_answer) => failure = failure.or(Some(no_answer)),
            }
        }
        let original = match (missing_in_zone, early) {
            (Some(original), _) => original,
            (None, Some(task)) => task.await.unwrap_or(Err(NoAnswer::Refused(Rcode::SERVFAIL)))?,
            (None, None) => Arc::clone(&self).ask_as_it_stands(as_is.clone(), mode).await?,
        };
        match failure {
            Some(no_answer) if original.is_nxdomain() => Err(no_answer),
            Some(_) => {
                self.cache.remove(&key); // RFC 8767 section 4
                Ok(original)
            }
            None => self.store_decision(&key, original, rest),
        }
    }

    /// The upstream's answer for a candidate, or NXDOMAIN of the first question.
    async fn ask_candidate(self: &Arc<Self>, key: &Key, candidate: &Candidate, mode: Mode) -> Answer {
        let own = key.with_name(&candidate.name);
        let first = match &candidate.first {
            First::Own => None,
            First::Address => search::sibling(&own).filter(|a| a.type_and_class().0 == TYPE_A),
            First::Namespace(namespace) => Some(ancestor_question(&own, namespace)),
        };
        if let Some(first) = first {
            if self.look_up_known(&first).is_none() && matches!(candidate.first, First::Namespace(_)) {
                self.metrics.background_queries.inc(BackgroundQuery::ParentProbe);
            }
            let entry = self.ask_nested(first).await?;
            if entry.is_nxdomain() {
                return Ok(entry);
            }
        }
        let own = Arc::new(own);
        let (mut entry, _) = self.ask_coalesced(&own, Mode::UseCache).await?;
        if own.type_and_class().0 == TYPE_AAAA && entry.is_missing_name() {
            // Only NXDOMAIN to A is reliable: otherwise AAAA would be looked up outside the cluster, and A
            // would not.
            self.ask_nested(own.with_type(TYPE_A)).await?;
            entry = self.reconcile(&own, entry).await?;
        }
        let is_nodata = !entry.is_positive() && !entry.is_nxdomain();
        if is_nodata && !search::is_address(&own) && self.search.zone_at(own.name()).is_some() {
            // CoreDNS answers NODATA to TXT of names that do not exist (`Services` in
            // `plugin/kubernetes/kubernetes.go`).
            let address = self.ask_nested(own.with_type(TYPE_A)).await?;
            if address.is_missing_name() {
                return Ok(address);
            }
        }
        let must_refresh = mode == Mode::AskUpstream && !entry.is_nxdomain();
        Ok(if must_refresh { self.ask_coalesced(&own, mode).await?.0 } else { entry })
    }

    /// Whether every server for a candidate refuses.
    fn is_refusing(&self, candidate: &Candidate) -> bool {
        self.routes.route_of(&candidate.name).upstream.condition().is_refusing
    }

    async fn ask_as_it_stands(self: Arc<Self>, as_is: Arc<Key>, mode: Mode) -> Answer {
        self.ask_coalesced(&as_is, mode).await.map(|(entry, _)| entry)
    }

    /// Caches the upstream's answer for the name as it stands as the answer for clients. A positive answer is
    /// cached for its TTL; a negative one for the `rest` of the shortest TTL of all candidates, because any
    /// of them may begin to exist.
    fn store_decision(&self, key: &Key, original: Entry, rest: Duration) -> Answer {
        if original.is_positive() {
            self.cache.remove(&key.as_is());
            self.store(key, &original);
            return Ok(original);
        }
        if original.seconds() == 0 {
            self.cache.remove(key);
            return Ok(original);
        }
        let now = now();
        let rest = rest.min(original.remaining(now));
        // TTLs are whole seconds. The entry begins a part of a second ago, so that it ends with `rest`: less
        // than a second is cached, too, because it may be needed when servers fail.
        let seconds = rest.as_secs() + u64::from(rest.subsec_nanos() > 0);
        let begin = now.checked_sub(Duration::from_secs(seconds).saturating_sub(rest)).unwrap_or(now);
        let entry = self.negative(key, &original, seconds as u32, begin)?;
        self.cache.insert(key, entry.clone());
        Ok(entry)
    }
}

/// The answer for `key` from the answer for another name: `key`'s name becomes an alias of that name, unless
/// the answer has no records.
fn alias(key: &Key, answer: &[u8]) -> Result<Vec<u8>, Malformed> {
    let message = Message::new(answer).ok_or(Malformed)?;
    let length = message.question().ok_or(Malformed)?.len();
    // The alias has the TTL of the records to which it leads.
    let records = message.records(length).map_while(Result::ok);
    let ttls = records.filter(|record| record.section != Section::Additional).map(|record| record.ttl);
    wire::alias(answer, length, key.question(), ttls.min().unwrap_or_default()).ok_or(Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use podlocal_dns::wire::Flags;

    /// An answer with so many addresses, and a TXT record without a string, which no typed decoder accepts.
    fn addresses(name: &[u8], count: u16) -> Vec<u8> {
        let mut answer = vec![0, 0, 0x85, 0x80, 0, 1, 0, 0, 0, 0, 0, 1];
        wire::put_counts(&mut answer, 1, [count, 0, 1]);
        answer.extend_from_slice(&wire::question(name, 1, 1));
        for number in 0..u32::from(count) {
            answer.extend_from_slice(b"\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x1e\x00\x04");
            answer.extend_from_slice(&number.to_be_bytes());
        }
        answer.extend_from_slice(b"\xc0\x0c\x00\x10\x00\x01\x00\x00\x00\x1e\x00\x00");
        answer
    }

    #[test]
    fn an_alias_of_thousands_of_addresses_fills_one_message() {
        let question = wire::question(&wire::name_from_text("peers.prod.svc").expect("a name"), 1, 1);
        let key = Key::new(&question, Flags(Flags::RD), false);
        let name = wire::name_from_text("peers.prod.svc.cluster.local").expect("a name");
        for (count, expected, is_truncated) in [
            (1, [2, 0, 1], false),
            (4000, [4001, 0, 1], false),
            (4091, [4092, 0, 0], false),
            (4092, [4092, 0, 0], true),
        ] {
            let alias = alias(&key, &addresses(&name, count)).expect("an alias");
            let message = Message::new(&alias).expect("a message");
            assert_eq!(message.record_counts(), expected);
            let records = message.records(question.len()).flatten().count();
            assert_eq!(records, expected.map(usize::from).iter().sum::<usize>());
            assert_eq!(message.flags().has(Flags::TC), is_truncated);
        }
    }

    #[test]
    fn a_name_of_any_bytes_may_own_an_alias() {
        let name = b"\x04a. \xff\x01b\x03svc\x00";
        let question = wire::question(name, 1, 1);
        let mut answer = vec![0, 0, 0x85, 0x80, 0, 1, 0, 1, 0, 0, 0, 0];
        answer.extend_from_slice(&question);
        answer.extend_from_slice(b"\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x1e\x00\x04\x0a\x60\x00\x01");
        let key = Key::new(&question, Flags(Flags::RD), false);
        let alias = alias(&key, &answer).expect("an alias");
        assert!(alias.starts_with(&answer[..4]) && alias[12..].starts_with(&question));
        assert_eq!(alias[12 + question.len()..][..2], [0xc0, 12], "a pointer to the question");
        answer.truncate(12 + question.len());
        answer[7] = 0;
        let nothing = super::alias(&key, &answer).expect("an answer");
        assert_eq!(nothing, answer, "no alias leads to nothing");
    }
}
