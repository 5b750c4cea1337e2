//! Resource quantities of Kubernetes.

use std::fmt;

use super::Expected;

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
    /// Parses a quantity. Negative ones are refused, because requests and limits are never negative.
    pub fn parse(text: &str) -> Result<Self, Expected> {
        let expected = || "a Kubernetes quantity such as 10m, 0.5, 16Mi or 1Gi".to_owned();
        let unsigned = text.strip_prefix('+').unwrap_or(text);
        let digits = unsigned.bytes().take_while(|byte| byte.is_ascii_digit() || *byte == b'.').count();
        let (number, suffix) = unsigned.split_at(digits);
        let nano = multiplier(suffix).and_then(|(factor, divisor)| nanos(number, factor, divisor));
        nano.map(|nano| Self { text: text.to_owned(), nano }).ok_or_else(expected)
    }

    /// A whole number of bytes, written in `Mi` if possible.
    pub fn of_bytes(bytes: u64) -> Self {
        let text =
            if bytes.is_multiple_of(1 << 20) { format!("{}Mi", bytes >> 20) } else { bytes.to_string() };
        Self { text, nano: i128::from(bytes) * NANO }
    }

    /// Whether the value is zero; Kubernetes treats a zero request or limit as absent when it finds a QoS
    /// class.
    pub fn is_zero(&self) -> bool {
        self.nano == 0
    }

    /// The value in thousandths, rounded up; `u64::MAX` if it is larger.
    pub fn millis(&self) -> u64 {
        self.in_units_of(NANO / 1000)
    }

    /// The value, rounded up; `u64::MAX` if it is larger.
    pub fn whole(&self) -> u64 {
        self.in_units_of(NANO)
    }

    fn in_units_of(&self, nano: i128) -> u64 {
        let units = self.nano / nano + i128::from(self.nano % nano != 0);
        u64::try_from(units).unwrap_or(u64::MAX)
    }

    /// The text as given.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

/// The number of internal units of 10^-9 in one unit.
const NANO: i128 = 1_000_000_000;

/// The factor and the divisor of a suffix.
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

/// `number` times `factor` divided by `divisor`, in units of 10^-9, rounded up; `None` if it is not a
/// number or does not fit.
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
    fn a_quantity_is_counted_in_whole_units_rounded_up() {
        for (text, millis, whole) in [
            ("10m", 10, 1),
            ("1", 1000, 1),
            ("1500m", 1500, 2),
            ("16Mi", 16_777_216_000, 16 << 20),
            ("1u", 1, 1),
            ("0", 0, 0),
        ] {
            let quantity = Quantity::parse(text).expect("valid");
            assert_eq!((quantity.millis(), quantity.whole()), (millis, whole), "{text}");
        }
        assert_eq!(Quantity::parse("100E").expect("valid").whole(), u64::MAX);
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
