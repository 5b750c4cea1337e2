//! Finds all errors in the arguments. clap alone ends at the first one, so that five wrong flags would take
//! five attempts.

use std::ffi::OsString;

use clap::builder::ValueParser;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Command, Error};

/// The given texts of the flags of the command, and all errors in the arguments. The first argument is the
/// name of the program.
///
/// # Errors
/// The help or the version, if it was requested behind an error.
pub(super) fn find(program: &Command, arguments: Vec<OsString>) -> Result<(ArgMatches, Vec<String>), Error> {
    let (mut given, mut errors) = find_in_flags(program, arguments)?;
    let subcommand = given.remove_subcommand();
    let name = subcommand.as_ref().map(|(name, _)| name.clone());
    let given = subcommand.map_or(given, |(_, given)| given);
    errors.extend(find_in_values(program, name.as_deref(), &given));
    Ok((given, errors))
}

/// The message of clap without the usage; a suggestion of clap is on a further line.
pub(super) fn message(error: &Error) -> String {
    let text = error.render().to_string();
    let text = text.split("\n\nUsage: ").next().unwrap_or_default().trim_start_matches("error: ");
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with("For more information"));
    lines.collect::<Vec<_>>().join("\n  ")
}

/// Matches flags and commands, whatever the values are. After an unknown argument, the arguments are matched
/// again without it. After any other error, the flags before it are known.
fn find_in_flags(
    program: &Command,
    mut arguments: Vec<OsString>,
) -> Result<(ArgMatches, Vec<String>), Error> {
    let any = |arg: Arg| {
        if arg.get_action().takes_values() { arg.value_parser(ValueParser::os_string()) } else { arg }
    };
    let program = program.clone().mut_args(any).mut_subcommands(|command| command.mut_args(any));
    let mut errors = Vec::new();
    loop {
        let error = match program.clone().try_get_matches_from(&arguments) {
            Ok(given) => return Ok((given, errors)),
            Err(error) if error.use_stderr() => error,
            Err(help) => return Err(help),
        };
        errors.push(message(&error) + &suggestion(&program, &arguments, &error));
        let Some(index) = unknown(&error).and_then(|name| position(name, &arguments)) else {
            let tolerant = program.args_override_self(true).ignore_errors(true);
            return Ok((tolerant.try_get_matches_from(arguments)?, errors));
        };
        arguments.remove(index);
    }
}

/// Parses each value alone.
fn find_in_values(program: &Command, name: Option<&str>, given: &ArgMatches) -> Vec<String> {
    let command = name.and_then(|name| program.find_subcommand(name)).unwrap_or(program);
    let mut errors = Vec::new();
    for arg in command.get_arguments().filter(|arg| arg.get_action().takes_values()) {
        let (id, flag) = (arg.get_id().as_str(), arg.get_long().unwrap_or_default());
        let is_given = given.value_source(id) == Some(ValueSource::CommandLine);
        for text in given.get_raw(id).into_iter().flatten().filter(|_| is_given) {
            let mut argument = OsString::from(format!("--{flag}="));
            argument.push(text);
            let arguments =
                [program.get_name()].into_iter().chain(name).map(OsString::from).chain([argument]);
            // The value is alone, so an error about absent flags means nothing.
            if let Err(error) = program.clone().try_get_matches_from(arguments)
                && matches!(error.kind(), ErrorKind::ValueValidation | ErrorKind::InvalidValue)
            {
                errors.push(message(&error));
            }
        }
    }
    errors
}

/// The unknown flag or word of an error.
fn unknown(error: &Error) -> Option<&str> {
    match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(name)) if error.kind() == ErrorKind::UnknownArgument => Some(name),
        _ => None,
    }
}

/// The place of a flag, with or without a value behind `=`, or of a word.
fn position(name: &str, arguments: &[OsString]) -> Option<usize> {
    arguments.iter().position(|argument| {
        let rest = argument.to_str().and_then(|argument| argument.strip_prefix(name));
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('='))
    })
}

/// Users of kubectl or cat may pass a file without its flag.
fn suggestion(program: &Command, arguments: &[OsString], error: &Error) -> String {
    let mut commands = arguments.iter().filter_map(|argument| program.find_subcommand(argument));
    let takes_files = commands.any(|command| command.get_arguments().any(|arg| arg.get_short() == Some('f')));
    match unknown(error) {
        Some(word) if takes_files && !word.starts_with('-') => {
            format!("\n    tip: did you mean '-f {word}'?")
        }
        _ => String::new(),
    }
}
