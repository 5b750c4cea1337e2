//! Values with the units of Grafana.

/// A value with its unit, as Grafana shows it.
pub(super) fn shown(value: f64, unit: &str) -> String {
    let (size, unit) = scale(value, unit);
    format!("{}{unit}", number(value / size))
}

/// What values up to that one are shown in: the size of the unit, and its name.
pub(super) fn scale(most: f64, unit: &str) -> (f64, &'static str) {
    let steps: &[(f64, &str)] = match unit {
        "s" => &[(86_400.0, " d"), (1.0, " s"), (1e-3, " ms")],
        "bytes" => &[(1_048_576.0, " MiB"), (1024.0, " KiB"), (1.0, " B")],
        "percentunit" => &[(0.01, " %")],
        "ops" => &[(1.0, "/s")],
        _ => &[(1.0, "")],
    };
    steps.iter().find(|(size, _)| most >= *size).or(steps.last()).copied().unwrap_or((1.0, ""))
}

/// With as many digits as tell something.
pub(super) fn number(value: f64) -> String {
    let decimals = match value {
        value if value >= 100.0 => 0,
        value if value >= 10.0 => 1,
        _ => 2,
    };
    let text = format!("{value:.decimals$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_have_units() {
        let table = [
            (0.0, "short", "0"),
            (0.004, "s", "4 ms"),
            (2.5, "s", "2.5 s"),
            (7_776_000.0, "s", "90 d"),
            (0.125, "percentunit", "12.5 %"),
            (3_145_728.0, "bytes", "3 MiB"),
            (640.2, "ops", "640/s"),
            (9.0, "short", "9"),
        ];
        for (value, unit, expected) in table {
            assert_eq!(shown(value, unit), expected, "{value} {unit}");
        }
    }
}
