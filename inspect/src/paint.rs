//! Colours in the texts of `lookup` and `stats`.

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
}
