//! An invalid value of a setting or flag, as a message.

use std::fmt;

use crate::value::{Expected, shown};

/// An invalid value: its origin, its text, and what was expected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct SettingError {
    /// Where the value was given: a flag, a variable or an annotation.
    pub origin: String,
    /// The value, cut to 64 characters.
    pub text: String,
    /// The expected value.
    pub expected: Expected,
    /// Whether the message leaves the value out, because there is none or because the name is wrong.
    is_bare: bool,
}

impl SettingError {
    /// The invalid value `text`, given at `origin`.
    pub fn new(origin: impl Into<String>, text: &str, expected: impl Into<Expected>) -> Self {
        Self { origin: origin.into(), text: shown(text), expected: expected.into(), is_bare: false }
    }

    /// A name at `origin` that is unknown or misplaced; the message does not show its value `text`.
    pub fn of_name(origin: impl Into<String>, text: &str, expected: impl Into<Expected>) -> Self {
        Self { is_bare: true, ..Self::new(origin, text, expected) }
    }

    /// An error without a value, such as a flag whose value is missing.
    pub fn about(origin: impl Into<String>, expected: impl Into<Expected>) -> Self {
        Self { origin: origin.into(), text: String::new(), expected: expected.into(), is_bare: true }
    }
}

impl fmt::Display for SettingError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_bare {
            return write!(formatter, "{}: expected {}", self.origin, self.expected);
        }
        write!(formatter, "{}: invalid value {:?}: expected {}", self.origin, self.text, self.expected)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_value_is_shown_and_a_missing_one_is_not() {
        assert_eq!(
            SettingError::new("--cluster-domain", "", "a name").to_string(),
            "--cluster-domain: invalid value \"\": expected a name"
        );
        assert_eq!(
            SettingError::about("--cluster-domain", "a name").to_string(),
            "--cluster-domain: expected a name"
        );
    }
}
