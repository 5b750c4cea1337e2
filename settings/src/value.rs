//! One strict parser for each kind of value. It takes the text without surrounding spaces; the error says
//! what it expected.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

mod choice;
mod forward;
mod image;
mod names;
mod quantity;
mod sources;

pub use choice::*;
pub use forward::*;
pub use image::*;
pub use names::*;
pub use quantity::*;
pub use sources::*;

/// What a parser expected instead of the text it got; completes the sentence "expected ...".
pub type Expected = String;

/// The maximum number of addresses in one setting.
const MAX_ADDRESSES: usize = 8;

/// The port of DNS (RFC 1035 section 4.2).
const DNS_PORT: u16 = 53;

/// A whole number in decimal digits.
pub fn number<T: std::str::FromStr>(text: &str) -> Result<T, Expected> {
    let has_sign = text.bytes().any(|byte| !byte.is_ascii_digit());
    text.parse().ok().filter(|_| !has_sign).ok_or_else(|| "a whole number".to_owned())
}

/// `true` or `false`, and nothing else.
pub fn flag(text: &str) -> Result<bool, Expected> {
    match text {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err("true or false".to_owned()),
    }
}

/// A whole number with a unit, `400ms`, `5s`, `10m`, `1h` or `7d`. A number without a unit is refused.
pub fn duration(text: &str) -> Result<Duration, Expected> {
    let units = [("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];
    let milliseconds = with_unit(text, &units).map(Duration::from_millis);
    milliseconds.ok_or_else(|| "a duration such as 400ms, 5s, 10m, 1h or 7d".to_owned())
}

/// Bytes: a whole number, without a unit or with `Ki`, `Mi` or `Gi`.
pub fn bytes(text: &str) -> Result<u64, Expected> {
    let units = [("", 1), ("Ki", 1 << 10), ("Mi", 1 << 20), ("Gi", 1 << 30)];
    with_unit(text, &units).ok_or_else(|| "bytes such as 65536, 512Ki, 4Mi or 1Gi".to_owned())
}

/// A whole number with one of these units, times the factor of that unit.
fn with_unit(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let (digits, unit) = text.split_at(text.bytes().take_while(u8::is_ascii_digit).count());
    let (_, factor) = units.iter().find(|(known, _)| *known == unit)?;
    number::<u64>(digits).ok()?.checked_mul(*factor)
}

/// IP addresses separated by commas, each with a port, or else for port 53:
/// `10.96.0.10`, `10.96.0.10:5353`, `fd00::a`, `[fd00::a]:53`.
pub fn addresses(text: &str) -> Result<Vec<SocketAddr>, Expected> {
    list(text, MAX_ADDRESSES, address).ok_or_else(|| {
        format!("1 to {MAX_ADDRESSES} IP addresses with or without port, such as 10.96.0.10 or [fd00::a]:53")
    })
}

/// The parts between commas, without surrounding spaces and without duplicates; `None`: a part is invalid, or
/// there are more than `max`.
///
/// The text may be as long as a pod, so parsing stops at the first part over the limit.
fn list<T: PartialEq>(text: &str, max: usize, parse: impl Fn(&str) -> Option<T>) -> Option<Vec<T>> {
    let mut list = Vec::new();
    for part in text.split(',').map(str::trim) {
        let part = parse(part)?;
        if list.contains(&part) {
            continue;
        }
        if list.len() == max {
            return None;
        }
        list.push(part);
    }
    Some(list)
}

/// A text as messages show it: cut to 64 characters.
pub(crate) fn shown(text: &str) -> String {
    let mut shown: String = text.chars().take(64).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    shown
}

/// One IP address with a port, or else for port 53.
fn address(text: &str) -> Option<SocketAddr> {
    let with_default_port = |ip| SocketAddr::new(ip, DNS_PORT);
    text.parse().ok().or_else(|| text.parse::<IpAddr>().ok().map(with_default_port))
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn parsing_a_list_stops_at_the_first_part_over_the_limit() {
        let numbers: Vec<_> = (0..1000).map(|number| number.to_string()).collect();
        let (texts, read) = (numbers.join(","), Cell::new(0));
        let parse = |part: &str| {
            read.set(read.get() + 1);
            Some(part.to_owned())
        };
        assert_eq!((list(&texts, 8, parse), read.get()), (None, 9));
        assert_eq!(
            list("1, 2,1,2", 2, parse),
            Some(vec!["1".to_owned(), "2".to_owned()]),
            "without duplicates"
        );
    }

    #[test]
    fn a_duration_needs_its_unit() {
        assert_eq!(duration("400ms"), Ok(Duration::from_millis(400)));
        assert_eq!(duration("7d"), Ok(Duration::from_hours(7 * 24)));
        for refused in
            ["", "5", "s", "5 s", "-5s", "5S", "1h30m", "0.5s", "99999999999999999999s", "9999999999999999d"]
        {
            assert!(duration(refused).is_err(), "{refused}");
        }
    }

    #[test]
    fn bytes_are_whole_and_binary() {
        assert_eq!(bytes("4Mi"), Ok(4 << 20));
        assert_eq!(bytes("65536"), Ok(65536));
        for refused in ["", "4M", "4MB", "4.5Mi", "-1", "99999999999Gi", "Mi"] {
            assert!(bytes(refused).is_err(), "{refused}");
        }
    }

    #[test]
    fn an_address_without_port_means_port_53() {
        let parsed = addresses("10.96.0.10, [fd00::a]:5353,fd00::b").expect("valid");
        let texts: Vec<_> = parsed.iter().map(ToString::to_string).collect();
        assert_eq!(texts, ["10.96.0.10:53", "[fd00::a]:5353", "[fd00::b]:53"]);
        for refused in ["", ",", "10.96.0.10,", "dns.example", "10.96.0.256", "10.0.0.1:99999"] {
            assert!(addresses(refused).is_err(), "{refused}");
        }
        assert!(
            addresses("1.1.1.1,1.1.1.2,1.1.1.3,1.1.1.4,1.1.1.5,1.1.1.6,1.1.1.7,1.1.1.8,1.1.1.9").is_err()
        );
    }
}
