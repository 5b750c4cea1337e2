//! The one error of tests and experiments: what was tried, and why it did not work.

use std::error::Error;
use std::fmt;

/// What was tried, and the cause. Printed as one line, causes included, for people.
#[derive(Debug)]
pub struct Failure {
    tried: String,
    cause: Option<Box<dyn Error + Send + Sync>>,
}

impl Failure {
    /// A failure without a cause below it; `sentence` says what is wrong and what to do.
    pub fn new(sentence: impl Into<String>) -> Self {
        Self { tried: sentence.into(), cause: None }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.tried)?;
        let mut cause = self.cause.as_deref().map(|cause| cause as &dyn Error);
        while let Some(error) = cause {
            write!(formatter, ": {error}")?;
            // A `Failure` has already printed the causes below it.
            cause = if error.is::<Self>() { None } else { error.source() };
        }
        Ok(())
    }
}

impl Error for Failure {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.cause.as_deref().map(|cause| cause as &(dyn Error + 'static))
    }
}

/// Names what was tried where a `Result` fails.
pub trait Tried<T> {
    /// The failure reads "`what`: cause", so `what` is written like "writing /etc/hosts".
    fn tried(self, what: impl FnOnce() -> String) -> Result<T, Failure>;
}

impl<T, E: Into<Box<dyn Error + Send + Sync>>> Tried<T> for Result<T, E> {
    fn tried(self, what: impl FnOnce() -> String) -> Result<T, Failure> {
        self.map_err(|cause| Failure { tried: what(), cause: Some(cause.into()) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;

    #[test]
    fn a_failure_prints_every_cause_once() {
        let inner: Result<(), Failure> =
            Err::<(), _>(io::Error::other("no space")).tried(|| "writing hosts".to_owned());
        let outer = inner.tried(|| "making the pod".to_owned()).unwrap_err();
        assert_eq!(outer.to_string(), "making the pod: writing hosts: no space");
    }
}
