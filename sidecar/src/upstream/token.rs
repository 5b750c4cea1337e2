//! How we know our own questions when they come back to us.
//!
//! Whatever redirects port 53 of a pod (a service mesh's DNS capture, a node-local cache gone wrong) may lead
//! our question to an upstream back to ourselves, where it would wait for its own answer. So each question
//! carries eight random bytes, other ones for each server, in an EDNS option; and a probe carries them in its
//! name, too, for forwarders that drop options. Nobody outside the pod's upstreams sees them.

use std::io;

use super::random;
use crate::cache::key::Key;
use crate::query::{Marker, PROBE_LABEL, Query};
use crate::wire::{self, CLASS_IN, Flags, TYPE_TXT};

/// What marks the questions to one server, as long as this process lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Token(Marker);

impl Token {
    /// A new one, unlike all others.
    pub fn new() -> io::Result<Self> {
        random::bytes().map(Self)
    }

    /// The bytes of the EDNS option.
    pub fn marker(&self) -> &Marker {
        &self.0
    }

    /// Whether that query carries this token: in its option, or in a probe's name.
    pub fn is_on(self, query: &Query<'_>) -> bool {
        query.marker == Some(self.0) || self.is_in_name(query.key.name())
    }

    /// A probe: a name under the zone that nobody has asked for and that no cache knows, so that the server
    /// itself answers; type TXT, which no search list completes and no policy blocks.
    pub fn probe(self, zone: &str) -> io::Result<Key> {
        let fresh: Marker = random::bytes()?;
        let first = hex(&self.0) + &hex(&fresh);
        let name = |zone: &str| wire::name_from_text(&format!("{first}.{PROBE_LABEL}{zone}"));
        // A zone that leaves no room for two labels is left out.
        let name = name(&format!(".{zone}")).or_else(|| name("")).unwrap_or_default();
        Ok(Key::new(&wire::question(&name, TYPE_TXT, CLASS_IN), Flags(Flags::RD), false))
    }

    fn is_in_name(self, name: &[u8]) -> bool {
        let mut labels = wire::labels(name).map(|(label, _)| label);
        let first = labels.next();
        labels.next() == Some(PROBE_LABEL.as_bytes())
            && first.is_some_and(|label| label.starts_with(hex(&self.0).as_bytes()))
    }
}

fn hex(bytes: &[u8]) -> String {
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 0xf]);
    digits.filter_map(|digit| char::from_digit(u32::from(digit), 16)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::query::MARKER_OPTION;
    use crate::upstream::question::Question;

    fn query(key: &Key, with_edns: bool, token: Token) -> Query<'static> {
        let bytes = Question::new(key, token).expect("random").bytes(with_edns);
        Query::parse(bytes.leak()).expect("our own question is a query")
    }

    #[test]
    fn our_own_question_is_known_by_its_option() {
        let (ours, other) = (Token::new().expect("random"), Token::new().expect("random"));
        let key = Key::new(b"\x01a\x00\x00\x01\x00\x01", Flags(Flags::RD), false);
        let come_back = query(&key, true, ours);
        assert!(ours.is_on(&come_back) && !other.is_on(&come_back));
        assert!(!ours.is_on(&query(&key, false, ours)), "the option was dropped");
        assert!((65_001..=65_534).contains(&MARKER_OPTION), "RFC 6891 section 9");
    }

    #[test]
    fn a_probe_is_known_by_its_name_when_a_forwarder_drops_the_option() {
        let (ours, other) = (Token::new().expect("random"), Token::new().expect("random"));
        let key = ours.probe("cluster.local").expect("random");
        let come_back = query(&key, false, ours);
        assert!(ours.is_on(&come_back) && !other.is_on(&come_back));
    }

    #[test]
    fn probes_are_fresh_names_under_the_zone_of_type_txt() {
        let token = Token::new().expect("random");
        let [one, two] = [token.probe("cluster.local"), token.probe("cluster.local.")].map(Result::unwrap);
        assert_ne!(one, two);
        for key in [one, two] {
            let name = wire::NameText(key.name()).to_string();
            assert!(name.ends_with(".podlocal-dns-probe.cluster.local."), "{name}");
            assert_eq!(wire::type_and_class(key.question()), (TYPE_TXT, 1));
        }
        let long = ["a".repeat(60), "b".repeat(60), "c".repeat(60), "d".repeat(60)].join(".");
        let name = wire::NameText(token.probe(&long).expect("random").name()).to_string();
        assert!(name.ends_with(".podlocal-dns-probe."), "{name}");
    }
}
