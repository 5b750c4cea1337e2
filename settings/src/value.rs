//! One strict parser per kind of value. Each takes the text without surrounding blanks and says, when it
//! refuses, what it expected.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// What a parser expected instead of the text it got; completes the sentence "expected ...".
pub type Expected = String;

/// How many addresses one setting may list.
const MOST_ADDRESSES: usize = 8;

/// How many names one setting may list (for the search list: `MaxDNSSearchPaths` of Kubernetes).
const MOST_NAMES: usize = 32;

/// The port of DNS (RFC 1035 section 4.2).
const DNS_PORT: u16 = 53;

/// A whole number in decimal digits.
pub fn number<T: std::str::FromStr>(text: &str) -> Result<T, Expected> {
    let expected = || "a whole number".to_owned();
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(expected());
    }
    text.parse().map_err(|_| expected())
}

/// `true` or `false`, and nothing else.
pub fn flag(text: &str) -> Result<bool, Expected> {
    match text {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err("true or false".to_owned()),
    }
}

/// A whole number with a unit, `400ms`, `5s`, `10m`, `1h` or `7d`. A bare number is refused: of what?
pub fn duration(text: &str) -> Result<Duration, Expected> {
    let expected = || "a duration such as 400ms, 5s, 10m, 1h or 7d".to_owned();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let count: u64 = number(&text[..digits]).map_err(|_| expected())?;
    let milliseconds = match &text[digits..] {
        "ms" => Some(count),
        "s" => count.checked_mul(1000),
        "m" => count.checked_mul(60 * 1000),
        "h" => count.checked_mul(3600 * 1000),
        "d" => count.checked_mul(24 * 3600 * 1000),
        _ => None,
    };
    milliseconds.map(Duration::from_millis).ok_or_else(expected)
}

/// Bytes: a whole number, bare or with `Ki`, `Mi` or `Gi`.
pub fn bytes(text: &str) -> Result<u64, Expected> {
    let expected = || "bytes such as 65536, 512Ki, 4Mi or 1Gi".to_owned();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let count: u64 = number(&text[..digits]).map_err(|_| expected())?;
    let unit = match &text[digits..] {
        "" => 1,
        "Ki" => 1 << 10,
        "Mi" => 1 << 20,
        "Gi" => 1 << 30,
        _ => return Err(expected()),
    };
    count.checked_mul(unit).ok_or_else(expected)
}

/// IP addresses with commas between them, each with a port or meant for port 53:
/// `10.96.0.10`, `10.96.0.10:5353`, `fd00::a`, `[fd00::a]:53`.
pub fn addresses(text: &str) -> Result<Vec<SocketAddr>, Expected> {
    let expected = || {
        format!("1 to {MOST_ADDRESSES} IP addresses with or without port, such as 10.96.0.10 or [fd00::a]:53")
    };
    let mut addresses = Vec::new();
    for part in text.split(',').map(str::trim) {
        let address = match (part.parse::<SocketAddr>(), part.parse::<IpAddr>()) {
            (Ok(address), _) => address,
            (_, Ok(ip)) => SocketAddr::new(ip, DNS_PORT),
            _ => return Err(expected()),
        };
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    if addresses.len() > MOST_ADDRESSES { Err(expected()) } else { Ok(addresses) }
}

/// A domain name in host name syntax (RFC 1123 section 2.1), lower-cased, without the final dot.
pub fn domain(text: &str) -> Result<String, Expected> {
    let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
    let is_label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    if name.len() <= 253 && name.split('.').all(is_label) {
        Ok(name)
    } else {
        Err("a domain name such as cluster.local".to_owned())
    }
}

/// A namespace: one label (RFC 1123 section 2.1), as Kubernetes has it.
pub fn namespace(text: &str) -> Result<String, Expected> {
    let is_label = !text.contains('.') && text.bytes().all(|byte| !byte.is_ascii_uppercase());
    domain(text).ok().filter(|_| is_label).ok_or_else(|| "the name of a namespace".to_owned())
}

/// Domain names with commas between them, lower-cased; a final dot is kept, because it says that the name is
/// whole. Underscores are allowed: Kubernetes allows them in search lists, and SRV names have them.
pub fn names(text: &str) -> Result<Vec<String>, Expected> {
    list(text, "1 to 32 domain names such as db.prod or www.example.com", |name| {
        is_name(name.strip_suffix('.').unwrap_or(name))
    })
}

/// Names, or `*.` and a suffix, with commas between them, lower-cased and without a final dot.
pub fn patterns(text: &str) -> Result<Vec<String>, Expected> {
    let patterns =
        list(text, "1 to 32 names or *.suffixes such as rank-0.workers or *.workers", |pattern| {
            let name = pattern.strip_suffix('.').unwrap_or(pattern);
            is_name(name.strip_prefix("*.").unwrap_or(name))
        })?;
    Ok(patterns.into_iter().map(|pattern| pattern.strip_suffix('.').unwrap_or(&pattern).to_owned()).collect())
}

fn list(text: &str, expected: &str, is_good: impl Fn(&str) -> bool) -> Result<Vec<String>, Expected> {
    let mut names: Vec<String> = Vec::new();
    for part in text.split(',').map(|part| part.trim().to_ascii_lowercase()) {
        if !is_good(&part) {
            return Err(expected.to_owned());
        }
        if !names.contains(&part) {
            names.push(part);
        }
    }
    if names.len() > MOST_NAMES { Err(expected.to_owned()) } else { Ok(names) }
}

fn is_name(name: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    name.len() <= 253 && name.split('.').all(is_label)
}

/// An image reference: not empty, no blanks, no control characters. The kubelet judges the rest.
pub fn image(text: &str) -> Result<String, Expected> {
    if !text.is_empty() && text.len() <= 1024 && text.bytes().all(|byte| byte.is_ascii_graphic()) {
        Ok(text.to_owned())
    } else {
        Err("an image reference such as registry.example/podlocal-sidecar:1.0".to_owned())
    }
}

/// What is logged: this level and the ones above it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are the usual ones")]
pub enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

impl LogLevel {
    /// `error`, `warn`, `info`, `debug` or `trace`, in lower case.
    pub fn parse(text: &str) -> Result<Self, Expected> {
        match text {
            "error" => Ok(Self::Error),
            "warn" => Ok(Self::Warn),
            "info" => Ok(Self::Info),
            "debug" => Ok(Self::Debug),
            "trace" => Ok(Self::Trace),
            _ => Err("error, warn, info, debug or trace".to_owned()),
        }
    }

    /// The name, as written in a setting.
    pub fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

/// What is decided without asking about address queries inside the cluster domain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SearchAssist {
    /// Nothing.
    Off,
    /// What no Service or pod can be called does not exist.
    Impossible,
    /// That, and what lies below a namespace or Service that does not exist.
    Full,
}

impl SearchAssist {
    /// `full`, `impossible` or `off`.
    pub fn parse(text: &str) -> Result<Self, Expected> {
        match text {
            "full" => Ok(Self::Full),
            "impossible" => Ok(Self::Impossible),
            "off" => Ok(Self::Off),
            _ => Err("full, impossible or off".to_owned()),
        }
    }
}

/// Which transports the upstream is asked by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UpstreamTransport {
    /// UDP first, TCP when UDP does not answer soon.
    Auto,
    /// UDP; TCP for what was truncated.
    Udp,
    /// TCP alone.
    Tcp,
}

impl UpstreamTransport {
    /// `auto`, `udp` or `tcp`.
    pub fn parse(text: &str) -> Result<Self, Expected> {
        match text {
            "auto" => Ok(Self::Auto),
            "udp" => Ok(Self::Udp),
            "tcp" => Ok(Self::Tcp),
            _ => Err("auto, udp or tcp".to_owned()),
        }
    }
}

/// A Kubernetes resource quantity: the text as given, compared by its value ("1" equals "1000m").
///
/// The syntax is that of `k8s.io/apimachinery/pkg/api/resource`: a decimal number, then nothing, one of
/// `n u m k M G T P E`, one of `Ki Mi Gi Ti Pi Ei`, or a decimal exponent.
#[derive(Debug, Clone)]
pub struct Quantity {
    text: String,
    /// The value in units of 10^-9, rounded up, as Kubernetes rounds.
    nano: i128,
}

impl Quantity {
    /// Parses a quantity; negative ones are refused, no resource here has them.
    pub fn parse(text: &str) -> Result<Self, Expected> {
        let expected = || "a Kubernetes quantity such as 10m, 0.5, 16Mi or 1Gi".to_owned();
        let unsigned = text.strip_prefix('+').unwrap_or(text);
        let digits = unsigned.bytes().take_while(|byte| byte.is_ascii_digit() || *byte == b'.').count();
        let (number, suffix) = unsigned.split_at(digits);
        let nano = multiplier(suffix).and_then(|(factor, divisor)| nanos(number, factor, divisor));
        nano.map(|nano| Self { text: text.to_owned(), nano }).ok_or_else(expected)
    }

    /// A whole number of bytes, written in `Mi` where it is a multiple of that.
    pub fn of_bytes(bytes: u64) -> Self {
        let text =
            if bytes.is_multiple_of(1 << 20) { format!("{}Mi", bytes >> 20) } else { bytes.to_string() };
        Self { text, nano: i128::from(bytes) * NANO }
    }

    /// Whether the value is zero; Kubernetes treats a zero request or limit as absent when it finds a QoS class.
    pub fn is_zero(&self) -> bool {
        self.nano == 0
    }

    /// The text as given.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

/// How many of our units one whole unit has.
const NANO: i128 = 1_000_000_000;

/// The factor and the divisor that a suffix means.
fn multiplier(suffix: &str) -> Option<(i128, i128)> {
    Some(match suffix {
        "" => (1, 1),
        "n" => (1, NANO),
        "u" => (1, 1_000_000),
        "m" => (1, 1000),
        "k" => (1000, 1),
        "M" => (1_000_000, 1),
        "G" => (NANO, 1),
        "T" => (1000 * NANO, 1),
        "P" => (1_000_000 * NANO, 1),
        "E" => (NANO * NANO, 1),
        "Ki" => (1 << 10, 1),
        "Mi" => (1 << 20, 1),
        "Gi" => (1 << 30, 1),
        "Ti" => (1 << 40, 1),
        "Pi" => (1 << 50, 1),
        "Ei" => (1 << 60, 1),
        exponent => {
            let power: i32 = exponent.strip_prefix(['e', 'E'])?.parse().ok()?;
            let scale = 10_i128.checked_pow(power.unsigned_abs())?;
            if power < 0 { (1, scale) } else { (scale, 1) }
        }
    })
}

/// `number` times `factor` divided by `divisor`, in units of 10^-9, rounded up; `None` when it is no number
/// or does not fit.
fn nanos(number: &str, factor: i128, divisor: i128) -> Option<i128> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.len() + fraction.len() == 0 || fraction.contains('.') || whole.len() > 18 || fraction.len() > 18
    {
        return None;
    }
    let digits: i128 = format!("{whole}{fraction}").parse().ok()?;
    let numerator = digits.checked_mul(factor)?.checked_mul(NANO)?;
    let denominator = 10_i128.checked_pow(fraction.len() as u32)?.checked_mul(divisor)?;
    Some(numerator.checked_add(denominator - 1)? / denominator)
}

impl PartialEq for Quantity {
    fn eq(&self, other: &Self) -> bool {
        self.nano == other.nano
    }
}

impl Eq for Quantity {}

impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Quantity {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.nano.cmp(&other.nano)
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn a_domain_has_host_name_syntax() {
        assert_eq!(domain("Cluster.Local."), Ok("cluster.local".to_owned()));
        for refused in ["", ".", "a..b", "-a.b", "a_b.c", "ä.b"] {
            assert!(domain(refused).is_err(), "{refused}");
        }
    }

    #[test]
    fn a_namespace_is_one_lower_case_label() {
        assert_eq!(namespace("team-a"), Ok("team-a".to_owned()));
        for refused in ["", "a.b", "A", "-a", "a."] {
            assert!(namespace(refused).is_err(), "{refused}");
        }
    }

    #[test]
    fn names_keep_the_final_dot_that_says_they_are_whole() {
        assert_eq!(
            names("db.prod, WWW.example.com.,db.prod"),
            Ok(vec!["db.prod".into(), "www.example.com.".into()])
        );
        assert_eq!(names("_ldap._tcp.corp"), Ok(vec!["_ldap._tcp.corp".into()]));
        for refused in ["", ".", "a..b", "a,,b", "a b", "*.a", &vec!["a"; 256].join(".")] {
            assert!(names(refused).is_err(), "{refused}");
        }
        let too_many: Vec<_> = (0..33).map(|number| format!("n{number}")).collect();
        assert!(names(&too_many.join(",")).is_err());
    }

    #[test]
    fn a_pattern_may_begin_with_a_star_and_nowhere_else() {
        assert_eq!(patterns("*.workers,rank-0.ps."), Ok(vec!["*.workers".into(), "rank-0.ps".into()]));
        for refused in ["*", "*.", "a.*.b", "*a.b", "*.*.a"] {
            assert!(patterns(refused).is_err(), "{refused}");
        }
    }

    #[test]
    fn quantities_are_compared_by_value_as_kubernetes_does() {
        let quantity = |text: &str| Quantity::parse(text).expect("valid");
        assert_eq!(quantity("1"), quantity("1000m"));
        assert_eq!(quantity("1Gi"), quantity("1024Mi"));
        assert_eq!(quantity("0.5"), quantity("500m"));
        assert_eq!(quantity("1e3"), quantity("1k"));
        assert_eq!(quantity("12e-1"), quantity("1200m"));
        assert!(quantity("100M") < quantity("100Mi"));
        assert!(quantity("0").is_zero() && quantity("0Mi").is_zero() && !quantity("1n").is_zero());
        for refused in ["", ".", "m", "-1", "1mi", "1 Mi", "1.2.3", "e3", "1ee3", "1e99", "one"] {
            assert!(Quantity::parse(refused).is_err(), "{refused}");
        }
    }
}
