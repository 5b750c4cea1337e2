//! The command line of the webhook and the file of `--settings`. All errors in both are reported together.
//!
//! ```text
//!   command         the commands and their flags, for clap
//!   common          the flags that several commands have
//!   notes           examples and exit codes, for the help
//!   values          the parsers of the values
//!   all_errors      all errors in the arguments, not only the first
//!   settings_file   the file of `--settings`
//! ```

use std::ffi::OsString;
use std::path::Path;

use clap::{CommandFactory as _, Parser as _};

use crate::review::annotations::Defaults;

mod all_errors;
mod command;
mod common;
mod notes;
mod settings_file;
mod values;

pub(crate) use command::Output;
pub use command::{Arguments, CertController, Check, Command, Inject, Serve};
pub(crate) use common::OWN_IMAGE;
pub use common::{Common, LogFlag};

/// Why there is no command to run.
#[derive(Debug, thiserror::Error)]
pub enum ParseError {
    /// The help or the version was requested; clap prints it.
    #[error("{0}")]
    Help(clap::Error),
    /// All errors.
    #[error("invalid arguments or settings; --help lists all of them\n  {}", .0.join("\n  "))]
    Invalid(Vec<String>),
}

/// Parses the arguments without the program name. `read_file` reads the file of `--settings`.
pub fn parse(
    arguments: impl IntoIterator<Item = OsString>,
    read_file: impl Fn(&Path) -> std::io::Result<String>,
) -> Result<Command, ParseError> {
    let arguments: Vec<_> = std::iter::once(command::NAME.into()).chain(arguments).collect();
    let parsed = match Arguments::try_parse_from(&arguments) {
        Err(help) if !help.use_stderr() => return Err(ParseError::Help(help)),
        parsed => parsed,
    };
    let (given, mut errors) = all_errors::find(&Arguments::command(), arguments).map_err(ParseError::Help)?;
    let mut defaults = Defaults::new();
    let file = given.try_get_raw("settings").ok().flatten().and_then(|mut files| files.next_back());
    // Here an invalid value is an error, because the operator sees the message.
    match file.map(|file| settings_file::read(Path::new(file), &read_file)) {
        Some(Ok((read, invalid))) => {
            defaults = read;
            errors.extend(invalid);
        }
        Some(Err(error)) => errors.push(error),
        None => {}
    }
    if !errors.is_empty() {
        return Err(ParseError::Invalid(errors));
    }
    let parsed = parsed.map_err(|error| ParseError::Invalid(vec![all_errors::message(&error)]))?;
    Ok(parsed.into_command(defaults))
}

#[cfg(test)]
mod tests;
