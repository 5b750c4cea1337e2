//! The search list, tried by us for names that the C library asked for as they are.

use std::sync::Arc;

use hickory_proto::op::{Message, Query};
use hickory_proto::rr::rdata::CNAME;
use hickory_proto::rr::{Name, RData, Record, RecordType};
use hickory_proto::serialize::binary::BinDecodable;

use super::question::{Mode, NoAnswer};
use super::{Answer, Resolver, now};
use crate::cache::entry::Entry;
use crate::cache::key::Key;
use crate::cache::lifetime::Lifetime;
use crate::flight::Role;
use crate::metrics::Assist;
use crate::upstream::Upstream;
use crate::wire::Malformed;

impl<U: Upstream> Resolver<U> {
    /// What the search list makes of a question; one walk for all who ask at the same time.
    pub(super) async fn completed(self: &Arc<Self>, key: &Arc<Key>) -> Result<(Entry, Role), NoAnswer> {
        let lead = || {
            let (resolver, key) = (Arc::clone(self), Arc::clone(key));
            async move { resolver.complete(key).await }
        };
        match self.completions.join(Arc::new(key.completed()), lead).await {
            Ok((answer, role)) => answer.map(|entry| (entry, role)),
            Err(no_outcome) => Err(self.no_outcome(no_outcome)),
        }
    }

    /// Walks the list. The first name that exists, with or without an address of this type, is the answer, as an
    /// alias. A candidate that fails ends the walk: what comes behind it in the list might be another name.
    async fn complete(self: Arc<Self>, key: Arc<Key>) -> Answer {
        if let Some(entry) = self.cache.get(&key.completed(), now()) {
            return Ok(entry);
        }
        self.metrics.assist(Assist::Completion);
        let mut seconds = u32::MAX;
        for name in self.search.candidates(key.name()) {
            let candidate = Arc::new(key.with_name(&name));
            let (entry, _) = self.question(&candidate, Mode::Remembered).await?;
            if !entry.is_nxdomain() {
                let response = alias(&key, &name, &entry.aged(now()))?;
                let entry = self.entry(&response, &key)?;
                self.cache.insert(&key.completed(), entry.clone());
                return Ok(entry);
            }
            seconds = seconds.min(remaining(&entry));
        }
        let (original, _) = self.question(&key, Mode::Remembered).await?;
        if !original.is_nxdomain() {
            return Ok(original);
        }
        // The name may come into being wherever it was looked for.
        let lifetime = Lifetime::Negative(seconds.min(remaining(&original)));
        let bytes = original.aged(now());
        let entry = Entry::new(&bytes, key.question().len(), lifetime, &self.limits, now())?;
        self.cache.insert(&key.completed(), entry.clone());
        Ok(entry)
    }
}

fn remaining(entry: &Entry) -> u32 {
    entry.remaining(now()).as_secs() as u32
}

/// A response to `key` that says that its name is an alias of `name`, and what `answer` says of that.
fn alias(key: &Key, name: &[u8], answer: &[u8]) -> Result<Vec<u8>, Malformed> {
    let mut message = Message::from_vec(answer).map_err(|_| Malformed)?;
    let decoded = |name: &[u8]| Name::from_bytes(name).map_err(|_| Malformed);
    let (owner, target) = (decoded(key.name())?, decoded(name)?);
    let (kind, _) = key.type_and_class();
    // The alias lives as long as what it leads to.
    let ttl =
        message.answers.iter().chain(&message.authorities).map(|record| record.ttl).min().unwrap_or_default();
    let alias = Record::from_rdata(owner.clone(), ttl, RData::CNAME(CNAME(target)));
    message.queries = vec![Query::query(owner, RecordType::from(kind))];
    message.answers.insert(0, alias);
    message.to_vec().map_err(|_| Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{self, Flags};

    #[test]
    fn the_answer_for_another_name_becomes_an_alias_and_its_records() {
        let question = wire::question(&wire::name_from_text("db.prod.svc").expect("a name"), 1, 1);
        let key = Key::new(&question, Flags(Flags::RD), false);
        let name = wire::name_from_text("db.prod.svc.cluster.local").expect("a name");
        let mut answer = vec![0, 0, 0x85, 0x80, 0, 1, 0, 1, 0, 0, 0, 0];
        answer.extend_from_slice(&wire::question(&name, 1, 1));
        answer.extend_from_slice(b"\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x1e\x00\x04\x0a\x60\x00\x01");
        let whole = Message::from_vec(&alias(&key, &name, &answer).expect("an alias")).expect("decodes");
        let texts: Vec<_> = whole.answers.iter().map(ToString::to_string).collect();
        assert_eq!(
            texts,
            [
                "db.prod.svc. 30 IN CNAME db.prod.svc.cluster.local.",
                "db.prod.svc.cluster.local. 30 IN A 10.96.0.1"
            ]
        );
        assert_eq!(whole.queries[0].name().to_string(), "db.prod.svc.");
        assert!(whole.metadata.authoritative);
    }

    #[test]
    fn a_name_of_any_bytes_is_the_owner_of_its_alias() {
        let name = b"\x04a. \xff\x01b\x03svc\x00";
        let question = wire::question(name, 1, 1);
        let mut answer = vec![0, 0, 0x85, 0x83, 0, 1, 0, 0, 0, 0, 0, 0];
        answer.extend_from_slice(&question);
        let key = Key::new(&question, Flags(Flags::RD), false);
        let alias = alias(&key, b"\x01c\x00", &answer).expect("an alias");
        assert!(alias.starts_with(&answer[..4]) && alias[12..].starts_with(&question));
        assert_eq!(alias[12 + question.len()..][..2], [0xc0, 12], "a pointer to the question");
    }
}
