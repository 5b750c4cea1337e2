//! What is wrong with a value, for people.

use std::fmt;

use crate::value::{Expected, shown};

/// One bad value: where it stands, what it says, what was expected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct SettingError {
    /// Where the value was given.
    pub origin: String,
    /// The value, cut to 64 characters.
    pub text: String,
    /// What was expected instead.
    pub expected: Expected,
    /// Whether there is no value to show, not even an empty one.
    is_bare: bool,
}

impl SettingError {
    /// A mistake about `text`, found at `origin`.
    pub fn new(origin: impl Into<String>, text: &str, expected: impl Into<Expected>) -> Self {
        Self { origin: origin.into(), text: shown(text), expected: expected.into(), is_bare: false }
    }

    /// A mistake about `origin` itself, a flag that there is not for instance.
    pub fn about(origin: impl Into<String>, expected: impl Into<Expected>) -> Self {
        Self { origin: origin.into(), text: String::new(), expected: expected.into(), is_bare: true }
    }
}

impl fmt::Display for SettingError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_bare {
            return write!(formatter, "{}: expected {}", self.origin, self.expected);
        }
        write!(formatter, "{}: {:?}: expected {}", self.origin, self.text, self.expected)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_value_is_shown_and_none_is_not() {
        assert_eq!(
            SettingError::new("--cluster-domain", "", "a name").to_string(),
            "--cluster-domain: \"\": expected a name"
        );
        assert_eq!(
            SettingError::about("--cluster-domain", "a name").to_string(),
            "--cluster-domain: expected a name"
        );
    }
}
