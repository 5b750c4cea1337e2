//! The identity of questions in the cache.

use std::hash::{Hash, Hasher};

use crate::wire::{self, Flags, LONGEST_QUESTION};

/// The identity of a question: its name in lower case, type, class, and the flags that change the answer.
///
/// | flag | part of the key | why |
/// |---|---|---|
/// | DO | yes | the answer has DNSSEC records (RFC 4035 section 3.2.1) |
/// | CD | yes | the upstream may send data that does not validate (RFC 4035 section 3.2.2) |
/// | RD | yes | without it the upstream answers from its cache |
/// | AD | no | the sidecar always sends it, and clears it for clients that do not understand it (RFC 6840 section 5.7) |
/// | EDNS size | no | the whole answer is cached, each client gets the part that fits |
#[derive(Debug, Clone)]
pub struct Key {
    bytes: [u8; LONGEST_QUESTION + 1],
    length: u16,
}

/// The bits of [`Key::as_is`] and [`Key::for_every_type`], beside those of DO, CD and RD. No query sets them,
/// so no client can ask for the answers under these keys.
const AS_IS: u8 = 1 << 3;
const EVERY_TYPE: u8 = 1 << 4;

impl Key {
    /// The key of a well-formed question with these flags.
    #[inline]
    pub fn new(question: &[u8], flags: Flags, dnssec_ok: bool) -> Self {
        let mut bytes = [0; LONGEST_QUESTION + 1];
        let length = question.len().min(LONGEST_QUESTION);
        bytes[..length].copy_from_slice(&question[..length]);
        wire::lower_case(&mut bytes[..length.saturating_sub(4)]);
        bytes[length] =
            u8::from(dnssec_ok) | u8::from(flags.has(Flags::CD)) << 1 | u8::from(flags.has(Flags::RD)) << 2;
        Self { bytes, length: length as u16 + 1 }
    }

    /// The question for the upstream: name in lower case, type, class.
    #[inline]
    pub fn question(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length) - 1]
    }

    /// The name on the wire, in lower case.
    #[inline]
    pub fn name(&self) -> &[u8] {
        let question = self.question();
        &question[..question.len().saturating_sub(4)]
    }

    /// The type and the class.
    #[inline]
    pub fn type_and_class(&self) -> (u16, u16) {
        wire::type_and_class(self.question())
    }

    /// The same question with another type.
    #[must_use]
    pub fn with_type(&self, rtype: u16) -> Self {
        let mut key = self.clone();
        key.set_type(rtype);
        key
    }

    fn set_type(&mut self, rtype: u16) {
        let length = usize::from(self.length) - 1;
        wire::put_type(&mut self.bytes[..length], rtype);
    }

    /// The same question with another name, on the wire and in lower case.
    #[must_use]
    pub fn with_name(&self, name: &[u8]) -> Self {
        let (rtype, class) = self.type_and_class();
        let mut key = Self::new(&wire::question(name, rtype, class), Flags(0), false);
        key.set_switches(self.switches());
        key
    }

    /// The key of answers that hold for every type of the name: NXDOMAIN.
    #[must_use]
    pub fn for_every_type(&self) -> Self {
        let mut key = self.clone();
        key.set_type(0);
        key.set_switches(self.switches() | EVERY_TYPE);
        key
    }

    /// The key of the upstream's answer for the name as it stands, where the search list is tried first: that
    /// answer is not for clients yet.
    #[must_use]
    pub fn as_is(&self) -> Self {
        let mut key = self.clone();
        key.set_switches(self.switches() | AS_IS);
        key
    }

    /// Whether this is a key of [`Key::as_is`], for which the search list is not tried.
    #[inline]
    pub fn is_as_is(&self) -> bool {
        self.switches() & AS_IS != 0
    }

    /// The key of the answer for clients, from one of [`Key::as_is`].
    #[must_use]
    pub fn for_clients(&self) -> Self {
        let mut key = self.clone();
        key.set_switches(self.switches() & !AS_IS);
        key
    }

    /// Whether the client asks for DNSSEC records (DO).
    #[inline]
    pub fn dnssec_ok(&self) -> bool {
        self.switches() & 1 != 0
    }

    /// Whether the upstream is to answer without DNSSEC validation (CD).
    pub fn checking_disabled(&self) -> bool {
        self.switches() & 2 != 0
    }

    /// Whether the upstream is to resolve names that it does not know (RD).
    pub fn recursion_desired(&self) -> bool {
        self.switches() & 4 != 0
    }

    /// A copy of minimal size, for the cache.
    pub fn stored(&self) -> StoredKey {
        StoredKey(self.as_bytes().into())
    }

    #[inline]
    fn set_switches(&mut self, switches: u8) {
        let at = usize::from(self.length) - 1;
        self.bytes[at] = switches;
    }

    #[inline]
    fn switches(&self) -> u8 {
        self.as_bytes().last().copied().unwrap_or_default()
    }

    #[inline]
    fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }
}

impl PartialEq for Key {
    #[inline]
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for Key {}

impl Hash for Key {
    #[inline]
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_bytes().hash(state);
    }
}

/// A [`Key`] of minimal size.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct StoredKey(Box<[u8]>);

impl StoredKey {
    /// The memory behind the pointer, in bytes.
    pub fn heap_size(&self) -> usize {
        self.0.len()
    }
}

impl equivalent::Equivalent<StoredKey> for Key {
    #[inline]
    fn equivalent(&self, stored: &StoredKey) -> bool {
        self.as_bytes() == &*stored.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUESTION: &[u8] = b"\x03wWw\x01B\x00\x00\x41\x00\x01";

    #[test]
    fn rfc4343_names_ignore_case_and_types_do_not() {
        let key = Key::new(QUESTION, Flags(Flags::RD), false);
        assert_eq!(key.question(), b"\x03www\x01b\x00\x00\x41\x00\x01");
        assert_eq!(key.name(), b"\x03www\x01b\x00");
    }

    #[test]
    fn do_cd_and_rd_are_part_of_the_key_and_ad_is_not() {
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
    fn no_query_has_an_internal_key() {
        let key = Key::new(QUESTION, Flags(Flags::RD), false);
        let markers = [key.for_every_type(), key.as_is(), key.for_every_type().as_is()];
        for rtype in 0..=u16::MAX {
            let mut question = QUESTION.to_vec();
            wire::put_type(&mut question, rtype);
            for flags in [0, Flags::RD, Flags::RD | Flags::CD, u16::MAX] {
                for dnssec_ok in [false, true] {
                    let asked = Key::new(&question, Flags(flags), dnssec_ok);
                    assert!(!markers.contains(&asked), "type {rtype}");
                }
            }
        }
    }

    #[test]
    fn a_key_keeps_its_flags_with_another_name_or_type() {
        let key = Key::new(QUESTION, Flags(Flags::RD | Flags::CD), true);
        let other = key.with_name(b"\x01c\x00").with_type(28);
        assert_eq!(other, Key::new(b"\x01c\x00\x00\x1c\x00\x01", Flags(Flags::RD | Flags::CD), true));
        assert_ne!(key.as_is(), key);
        assert!(key.as_is().is_as_is() && !key.is_as_is());
        assert_eq!((key.as_is().question(), key.as_is().for_clients()), (key.question(), key.clone()));
        assert_eq!(key.for_every_type(), key.with_type(28).for_every_type());
    }
}
