//! Colours, durations and counts in the texts of `lookup` and `stats`.

use std::fmt::Display;

/// Whether to print colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Paint(bool);

/// The meaning of a text, which decides its colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are complete")]
pub enum Tone {
    Good,
    Doubtful,
    Bad,
    Strong,
    Faint,
}

impl Paint {
    /// No colours.
    pub const NONE: Self = Self(false);

    /// Colours on a terminal, unless `NO_COLOR` is set (<https://no-color.org>).
    pub fn for_terminal(is_terminal: bool) -> Self {
        let is_unwanted = std::env::var_os("NO_COLOR").is_some_and(|text| !text.is_empty());
        Self(is_terminal && !is_unwanted)
    }

    /// The text in the colour of its tone (ECMA-48, SGR).
    pub fn put(self, tone: Tone, text: impl Display) -> String {
        let code = match tone {
            Tone::Good => 32,
            Tone::Doubtful => 33,
            Tone::Bad => 31,
            Tone::Strong => 1,
            Tone::Faint => 2,
        };
        if self.0 { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_string() }
    }
}

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
    fn without_colours_a_text_is_unchanged() {
        assert_eq!(Paint(true).put(Tone::Bad, "no"), "\x1b[31mno\x1b[0m");
        assert_eq!(
            (Paint::NONE.put(Tone::Bad, "no"), Paint::for_terminal(false)),
            ("no".to_owned(), Paint::NONE)
        );
    }

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
