//! What makes two questions the same.

use std::hash::{Hash, Hasher};

use crate::wire::{self, Flags, LONGEST_QUESTION};

/// The identity of a question: its name in lower case, type, class, and the bits that change the answer.
///
/// | bit | splits | why |
/// |---|---|---|
/// | DO | yes | the answer carries DNSSEC records (RFC 4035 section 3.2.1) |
/// | CD | yes | the upstream may hand out what does not validate (RFC 4035 section 3.2.2) |
/// | RD | yes | without it the upstream answers from what it has |
/// | AD | no | we always ask with it, and clear it for clients that do not understand it (RFC 6840 section 5.7) |
/// | EDNS size | no | the whole answer is kept, each client gets what fits |
#[derive(Debug, Clone)]
pub struct Key {
    bytes: [u8; LONGEST_QUESTION + 1],
    length: u16,
}

/// The switches of [`Key::as_is`] and [`Key::for_every_type`], beside those of DO, CD and RD. No query sets them, so
/// nobody can ask for what is kept under them.
const AS_IS: u8 = 1 << 3;
const EVERY_TYPE: u8 = 1 << 4;

impl Key {
    /// The key of a well-formed question with these flags.
    pub fn new(question: &[u8], flags: Flags, dnssec_ok: bool) -> Self {
        let mut bytes = [0; LONGEST_QUESTION + 1];
        let length = question.len().min(LONGEST_QUESTION);
        bytes[..length].copy_from_slice(&question[..length]);
        wire::lower_case(&mut bytes[..length.saturating_sub(4)]);
        bytes[length] =
            u8::from(dnssec_ok) | u8::from(flags.has(Flags::CD)) << 1 | u8::from(flags.has(Flags::RD)) << 2;
        Self { bytes, length: length as u16 + 1 }
    }

    /// The question: name in lower case, type, class. It is what the upstream is asked.
    pub fn question(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length) - 1]
    }

    /// The name on the wire, in lower case.
    pub fn name(&self) -> &[u8] {
        let question = self.question();
        &question[..question.len().saturating_sub(4)]
    }

    /// The type and the class.
    pub fn type_and_class(&self) -> (u16, u16) {
        wire::type_and_class(self.question())
    }

    /// The same question about another type.
    #[must_use]
    pub fn with_type(&self, kind: u16) -> Self {
        let mut key = self.clone();
        let length = usize::from(key.length) - 1;
        wire::put_type(&mut key.bytes[..length], kind);
        key
    }

    /// The same question about another name, on the wire and in lower case.
    #[must_use]
    pub fn with_name(&self, name: &[u8]) -> Self {
        let (kind, class) = self.type_and_class();
        let mut key = Self::new(&wire::question(name, kind, class), Flags(0), false);
        key.set_switches(self.switches());
        key
    }

    /// The place of what holds for every type of the name: that there is no such name.
    #[must_use]
    pub fn for_every_type(&self) -> Self {
        let mut key = self.with_type(0);
        key.set_switches(self.switches() | EVERY_TYPE);
        key
    }

    /// The place of what the upstream says of the name as it stands, where the search list is tried before that: not an
    /// answer for a client yet.
    #[must_use]
    pub fn as_is(&self) -> Self {
        let mut key = self.clone();
        key.set_switches(self.switches() | AS_IS);
        key
    }

    /// Whether the search list does not matter any more: [`Key::as_is`].
    pub fn is_as_is(&self) -> bool {
        self.switches() & AS_IS != 0
    }

    /// The place of the answer for clients, of [`Key::as_is`].
    #[must_use]
    pub fn for_clients(&self) -> Self {
        let mut key = self.clone();
        key.set_switches(self.switches() & !AS_IS);
        key
    }

    /// Whether DNSSEC records are wanted.
    pub fn dnssec_ok(&self) -> bool {
        self.switches() & 1 != 0
    }

    /// Whether the upstream is to answer without validating.
    pub fn checking_disabled(&self) -> bool {
        self.switches() & 2 != 0
    }

    /// Whether the upstream is to find out what it does not know.
    pub fn recursion_desired(&self) -> bool {
        self.switches() & 4 != 0
    }

    /// A copy that takes no more memory than it needs, for the cache.
    pub fn stored(&self) -> StoredKey {
        StoredKey(self.as_bytes().into())
    }

    fn set_switches(&mut self, switches: u8) {
        let at = usize::from(self.length) - 1;
        self.bytes[at] = switches;
    }

    fn switches(&self) -> u8 {
        self.as_bytes().last().copied().unwrap_or_default()
    }

    fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for Key {}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_bytes().hash(state);
    }
}

/// A [`Key`] as the cache keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct StoredKey(Box<[u8]>);

impl StoredKey {
    /// The memory behind the pointer, in bytes.
    pub fn heap_size(&self) -> usize {
        self.0.len()
    }
}

impl quick_cache::Equivalent<StoredKey> for Key {
    fn equivalent(&self, stored: &StoredKey) -> bool {
        self.as_bytes() == &*stored.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUESTION: &[u8] = b"\x03wWw\x01B\x00\x00\x41\x00\x01";

    #[test]
    fn rfc4343_names_are_compared_without_regard_to_case_and_types_are_not_letters() {
        let key = Key::new(QUESTION, Flags(Flags::RD), false);
        assert_eq!(key.question(), b"\x03www\x01b\x00\x00\x41\x00\x01");
        assert_eq!(key.name(), b"\x03www\x01b\x00");
    }

    #[test]
    fn do_cd_and_rd_split_and_ad_does_not() {
        let keys = [
            Key::new(QUESTION, Flags(Flags::RD), false),
            Key::new(QUESTION, Flags(Flags::RD), true),
            Key::new(QUESTION, Flags(Flags::RD | Flags::CD), false),
            Key::new(QUESTION, Flags(0), false),
        ];
        for (left, one) in keys.iter().enumerate() {
            for (right, other) in keys.iter().enumerate() {
                assert_eq!(one == other, left == right);
            }
        }
        assert_eq!(keys[0], Key::new(QUESTION, Flags(Flags::RD | Flags::AD), false));
    }

    #[test]
    fn no_query_has_the_key_of_a_marker() {
        let key = Key::new(QUESTION, Flags(Flags::RD), false);
        let markers = [key.for_every_type(), key.as_is(), key.for_every_type().as_is()];
        for kind in 0..=u16::MAX {
            let mut question = QUESTION.to_vec();
            wire::put_type(&mut question, kind);
            for flags in [0, Flags::RD, Flags::RD | Flags::CD, u16::MAX] {
                for dnssec_ok in [false, true] {
                    let asked = Key::new(&question, Flags(flags), dnssec_ok);
                    assert!(!markers.contains(&asked), "type {kind}");
                }
            }
        }
    }

    #[test]
    fn a_key_keeps_its_switches_when_it_gets_another_name_or_type() {
        let key = Key::new(QUESTION, Flags(Flags::RD | Flags::CD), true);
        let other = key.with_name(b"\x01c\x00").with_type(28);
        assert_eq!(other, Key::new(b"\x01c\x00\x00\x1c\x00\x01", Flags(Flags::RD | Flags::CD), true));
        assert_ne!(key.as_is(), key);
        assert!(key.as_is().is_as_is() && !key.is_as_is());
        assert_eq!((key.as_is().question(), key.as_is().for_clients()), (key.question(), key.clone()));
        assert_eq!(key.for_every_type(), key.with_type(28).for_every_type());
    }
}
