//! What is wrong with a value, for people.

use std::fmt;

use crate::value::Expected;

/// One bad value: where it stands, what it says, what was expected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Mistake {
    /// Where the value was given.
    pub origin: String,
    /// The value, cut to 64 characters.
    pub text: String,
    /// What was expected instead.
    pub expected: Expected,
}

impl Mistake {
    /// A mistake about `text`, found at `origin`.
    pub fn new(origin: impl Into<String>, text: &str, expected: impl Into<Expected>) -> Self {
        let mut shown: String = text.chars().take(64).collect();
        if shown.len() < text.len() {
            shown.push('…');
        }
        Self { origin: origin.into(), text: shown, expected: expected.into() }
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {:?}: expected {}", self.origin, self.text, self.expected)
    }
}
