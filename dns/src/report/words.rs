//! Durations and counts in texts for people.

/// A duration for people: `0.4 ms`, `12 ms`, `1.3 s`.
pub fn duration(micros: u64) -> String {
    match micros {
        0..10_000 => format!("{}.{} ms", micros / 1000, micros % 1000 / 100),
        10_000..1_000_000 => format!("{} ms", micros / 1000),
        _ => format!("{}.{} s", micros / 1_000_000, micros % 1_000_000 / 100_000),
    }
}

/// A number with its noun: `1 attempt`, `2 attempts`.
pub fn counted(count: u64, noun: &str) -> String {
    match (count, noun.strip_suffix('y')) {
        (1, _) => format!("{count} {noun}"),
        (_, Some(stem)) => format!("{count} {stem}ies"),
        (_, None) => format!("{count} {noun}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_two_significant_digits() {
        let table =
            [(40, "0.0 ms"), (1234, "1.2 ms"), (12_345, "12 ms"), (999_999, "999 ms"), (4_012_345, "4.0 s")];
        assert!(table.into_iter().all(|(micros, text)| duration(micros) == text));
        assert_eq!(
            [counted(1, "attempt"), counted(2, "attempt"), counted(1, "query"), counted(0, "query")],
            ["1 attempt", "2 attempts", "1 query", "0 queries"]
        );
    }
}
