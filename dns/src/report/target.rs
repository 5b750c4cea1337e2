//! The request targets of the admin port for `podlocal-inspect lookup` and `stats`: formatted and parsed in one
//! place.

use hickory_proto::rr::RecordType;

use crate::wire;

/// The path for `lookup`.
pub const LOOKUP: &str = "/lookup";

/// The path for `stats`.
pub const STATS: &str = "/stats";

/// The question in a target of [`LOOKUP`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LookupTarget {
    /// The name in wire format.
    pub name: Vec<u8>,
    /// The record type.
    pub rtype: u16,
}

/// The target for a lookup of an absolute name in text form.
pub fn lookup(name: &str, rtype: &str) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    format!("{LOOKUP}?{}", query.append_pair("name", name).append_pair("type", rtype).finish())
}

/// The target for the statistics, with or without the most frequent names.
pub fn stats(with_names: bool) -> String {
    if with_names { format!("{STATS}?names") } else { STATS.to_owned() }
}

/// Whether a query string of [`STATS`] requests the names.
pub fn wants_names(query: Option<&str>) -> bool {
    query.is_some_and(|query| query.split('&').any(|part| part == "names"))
}

/// Parses the query string of a target of [`LOOKUP`]; the error is a message for people.
pub fn parse_lookup(query: Option<&str>) -> Result<LookupTarget, String> {
    let value = |key: &str| {
        let mut pairs = form_urlencoded::parse(query.unwrap_or_default().as_bytes());
        pairs.find(|(found, _)| found == key).map(|(_, value)| value.into_owned())
    };
    let (name, rtype) = (value("name"), value("type"));
    let wire_name = name.as_deref().filter(|name| !name.is_empty()).and_then(wire::name_from_text);
    let rtype_number = rtype.as_deref().and_then(rtype_from_text);
    match (wire_name, rtype_number) {
        (Some(name), Some(rtype)) => Ok(LookupTarget { name, rtype }),
        (None, _) => {
            Err(format!("name: invalid value {:?}: expected a domain name", name.unwrap_or_default()))
        }
        (_, None) => Err(format!(
            "type: invalid value {:?}: expected a record type such as A",
            rtype.unwrap_or_default()
        )),
    }
}

/// Parses the name of a record type, or the form of RFC 3597 section 5, `TYPE65`.
pub fn rtype_from_text(text: &str) -> Option<u16> {
    let text = text.to_ascii_uppercase();
    match text.strip_prefix("TYPE") {
        Some(number) => number.parse().ok().filter(|number| *number > 0),
        None => text.parse::<RecordType>().ok().map(u16::from),
    }
}

/// The name of a record type, or `TYPE` and its number (RFC 3597 section 5).
pub fn rtype_text(rtype: u16) -> String {
    match RecordType::from(rtype) {
        RecordType::Unknown(number) => format!("TYPE{number}"),
        rtype => rtype.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lookup_targets_are_parsed_as_they_were_written() {
        for (name, rtype) in
            [("api.example.com.", "A"), ("0/25.2.0.192.in-addr.arpa.", "PTR"), ("a&b=%.x.", "TYPE65")]
        {
            let target = lookup(name, rtype);
            let (path, query) = target.split_once('?').expect("a query string");
            let expected = LookupTarget {
                name: wire::name_from_text(name).expect("a name"),
                rtype: rtype_from_text(rtype).expect("a type"),
            };
            assert_eq!((path, parse_lookup(Some(query))), (LOOKUP, Ok(expected)), "{target}");
        }
    }

    #[test]
    fn invalid_names_and_types_are_reported() {
        let table = [
            (None, "name: invalid value \"\""),
            (Some("name=&type=A"), "name: invalid value \"\""),
            (Some("name=a..b&type=A"), "name: invalid value \"a..b\""),
            (Some("name=a.b&type=AA"), "type: invalid value \"AA\""),
            (Some("name=a.b"), "type: invalid value \"\""),
        ];
        for (query, part) in table {
            let error = parse_lookup(query).expect_err("bad");
            assert!(error.starts_with(part), "{query:?} {error}");
        }
        let long = format!("name={}&type=A", "a.".repeat(200));
        assert!(parse_lookup(Some(&long)).is_err());
    }

    #[test]
    fn record_types_have_names_or_numbers() {
        for (text, rtype) in
            [("a", Some(1)), ("AAAA", Some(28)), ("type65", Some(65)), ("TYPE0", None), ("B", None)]
        {
            assert_eq!(rtype_from_text(text), rtype, "{text}");
        }
        assert_eq!(
            (rtype_text(33), rtype_text(65), rtype_text(64999)),
            ("SRV".into(), "HTTPS".into(), "TYPE64999".into())
        );
    }
}
