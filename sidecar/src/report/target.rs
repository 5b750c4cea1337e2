//! The request targets of the admin port that people's commands use, written and read in one place.

use std::fmt::Write;

use hickory_proto::rr::RecordType;

use crate::wire;

/// The path of a look-up.
pub const LOOKUP: &str = "/lookup";

/// The path of the page of figures.
pub const STATS: &str = "/stats";

/// What is asked in a target of [`LOOKUP`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// The name, on the wire.
    pub name: Vec<u8>,
    /// The type.
    pub kind: u16,
}

/// The target of a look-up of a name as people write it, from the root on.
pub fn lookup(name: &str, kind: &str) -> String {
    format!("{LOOKUP}?name={}&type={}", escaped(name), escaped(kind))
}

/// The target of the page of figures, with the most frequent names or without.
pub fn stats(with_names: bool) -> String {
    if with_names { format!("{STATS}?names") } else { STATS.to_owned() }
}

/// Whether a query string of [`STATS`] asks for names.
pub fn wants_names(query: Option<&str>) -> bool {
    query.is_some_and(|query| query.split('&').any(|part| part == "names"))
}

/// Reads the query string of a target of [`LOOKUP`]; what is wrong with it, as a sentence.
pub fn asked(query: Option<&str>) -> Result<Asked, String> {
    let value = |key: &str| {
        let mut pairs = query.unwrap_or_default().split('&').filter_map(|pair| pair.split_once('='));
        pairs.find(|(found, _)| *found == key).and_then(|(_, value)| unescaped(value))
    };
    let (name, kind) = (value("name"), value("type"));
    let wire_name = name.as_deref().filter(|name| !name.is_empty()).and_then(wire::name_from_text);
    let kind_number = kind.as_deref().and_then(kind_from_text);
    match (wire_name, kind_number) {
        (Some(name), Some(kind)) => Ok(Asked { name, kind }),
        (None, _) => Err(format!("name={}: expected a domain name", name.unwrap_or_default())),
        (_, None) => Err(format!("type={}: expected a record type such as A", kind.unwrap_or_default())),
    }
}

/// A record type by its name, or as RFC 3597 section 5 writes one without a name: `TYPE65`.
pub fn kind_from_text(text: &str) -> Option<u16> {
    let text = text.to_ascii_uppercase();
    match text.strip_prefix("TYPE") {
        Some(number) => number.parse().ok().filter(|number| *number > 0),
        None => text.parse::<RecordType>().ok().map(u16::from),
    }
}

/// The name of a record type, or `TYPE` and its number.
pub fn kind_text(kind: u16) -> String {
    match RecordType::from(kind) {
        RecordType::Unknown(number) => format!("TYPE{number}"),
        kind => kind.to_string(),
    }
}

/// RFC 3986 section 2.1.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' => out.push(char::from(byte)),
            _ => {
                let _ = write!(out, "%{byte:02X}"); // a String takes everything
            }
        }
    }
    out
}

fn unescaped(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut parts = text.split('%');
    out.extend_from_slice(parts.next()?.as_bytes());
    for part in parts {
        let (digits, rest) = part.split_at_checked(2)?;
        out.push(u8::from_str_radix(digits, 16).ok()?);
        out.extend_from_slice(rest.as_bytes());
    }
    String::from_utf8(out).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        for (name, kind) in
            [("api.example.com.", "A"), ("0/25.2.0.192.in-addr.arpa.", "PTR"), ("a&b=%.x.", "TYPE65")]
        {
            let target = lookup(name, kind);
            let (path, query) = target.split_once('?').expect("a query string");
            let expected = Asked {
                name: wire::name_from_text(name).expect("a name"),
                kind: kind_from_text(kind).expect("a type"),
            };
            assert_eq!((path, asked(Some(query))), (LOOKUP, Ok(expected)), "{target}");
        }
    }

    #[test]
    fn what_is_no_name_or_no_type_is_named() {
        let table = [
            (None, "name="),
            (Some("name=&type=A"), "name="),
            (Some("name=a..b&type=A"), "name=a..b"),
            (Some("name=a%2&type=A"), "name="),
            (Some("name=a.b&type=AA"), "type=AA"),
            (Some("name=a.b"), "type="),
        ];
        for (query, part) in table {
            let error = asked(query).expect_err("bad");
            assert!(error.starts_with(part), "{query:?} {error}");
        }
        let long = format!("name={}&type=A", "a.".repeat(200));
        assert!(asked(Some(&long)).is_err());
    }

    #[test]
    fn types_have_names_or_numbers() {
        for (text, kind) in
            [("a", Some(1)), ("AAAA", Some(28)), ("type65", Some(65)), ("TYPE0", None), ("B", None)]
        {
            assert_eq!(kind_from_text(text), kind, "{text}");
        }
        assert_eq!(
            (kind_text(33), kind_text(65), kind_text(64999)),
            ("SRV".into(), "HTTPS".into(), "TYPE64999".into())
        );
    }
}
