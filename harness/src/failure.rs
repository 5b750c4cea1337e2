//! The only error type of tests and experiments: the operation that failed, and the cause.

use std::error::Error;
use std::fmt;

/// The operation that failed, and the cause. It is printed as one line with all causes.
#[derive(Debug)]
pub struct Failure {
    operation: String,
    cause: Option<Box<dyn Error + Send + Sync>>,
}

impl Failure {
    /// A failure without a cause; `sentence` says what is wrong and what to do.
    pub fn new(sentence: impl Into<String>) -> Self {
        Self { operation: sentence.into(), cause: None }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.operation)?;
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

/// Adds the name of the failed operation to the error of a `Result`, or to an absent value.
pub trait WithContext<T> {
    /// The failure reads "`operation`: cause", so `operation` is written like "writing /etc/hosts".
    fn with_context(self, operation: impl Operation) -> Result<T, Failure>;
}

impl<T, E: Into<Box<dyn Error + Send + Sync>>> WithContext<T> for Result<T, E> {
    fn with_context(self, operation: impl Operation) -> Result<T, Failure> {
        self.map_err(|cause| Failure { operation: operation.text(), cause: Some(cause.into()) })
    }
}

/// An absent value is a failure without a cause: the text says what is missing.
impl<T> WithContext<T> for Option<T> {
    fn with_context(self, sentence: impl Operation) -> Result<T, Failure> {
        self.ok_or_else(|| Failure::new(sentence.text()))
    }
}

/// The name of an operation: a constant, or a function that makes the text after a failure.
pub trait Operation {
    /// The text.
    fn text(self) -> String;
}

impl Operation for &str {
    fn text(self) -> String {
        self.to_owned()
    }
}

impl<F: FnOnce() -> String> Operation for F {
    fn text(self) -> String {
        self()
    }
}
