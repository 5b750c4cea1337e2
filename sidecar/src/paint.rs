//! Colours for people: on a terminal, unless `NO_COLOR` is set (no-color.org).

use std::fmt::Display;

/// Whether there are colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Paint(bool);

/// What a text stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Tone {
    Good,
    Doubtful,
    Bad,
    Strong,
    Faint,
}

impl Paint {
    /// None, whatever happens.
    pub const NONE: Self = Self(false);

    /// On a terminal, unless they are unwanted.
    pub fn of(is_terminal: bool) -> Self {
        let is_unwanted = std::env::var_os("NO_COLOR").is_some_and(|text| !text.is_empty());
        Self(is_terminal && !is_unwanted)
    }

    /// The text in the colour of what it stands for (ECMA-48, SGR).
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

/// A time as people say it: `0.4 ms`, `12 ms`, `1.3 s`.
pub fn duration(micros: u64) -> String {
    match micros {
        0..10_000 => format!("{}.{} ms", micros / 1000, micros % 1000 / 100),
        10_000..1_000_000 => format!("{} ms", micros / 1000),
        _ => format!("{}.{} s", micros / 1_000_000, micros % 1_000_000 / 100_000),
    }
}

/// A number and its noun: `1 attempt`, `2 attempts`.
pub fn counted(count: u64, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_codes_around_the_text_or_nothing() {
        assert_eq!(Paint(true).put(Tone::Bad, "no"), "\x1b[31mno\x1b[0m");
        assert_eq!((Paint::NONE.put(Tone::Bad, "no"), Paint::of(false)), ("no".to_owned(), Paint::NONE));
    }

    #[test]
    fn times_have_two_digits_that_matter() {
        let table =
            [(40, "0.0 ms"), (1234, "1.2 ms"), (12_345, "12 ms"), (999_999, "999 ms"), (4_012_345, "4.0 s")];
        assert!(table.into_iter().all(|(micros, text)| duration(micros) == text));
        assert_eq!(
            (counted(1, "attempt"), counted(2, "attempt")),
            ("1 attempt".to_owned(), "2 attempts".to_owned())
        );
    }
}
