//! Shell completions: describes a program as a clap command, from which `clap_complete` writes the scripts of
//! all shells.

use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgAction, Command, ValueHint};
use clap_complete::{Shell, generate};
use podlocal_settings::program::{self, Program, Row};

/// The completion script for a shell.
pub(crate) fn script(program: &Program, shell: Shell) -> String {
    let mut script = Vec::new();
    generate(shell, &mut command(program), program.name, &mut script);
    // clap_complete escapes the hyphen of a program's name in two ways, so that bash completes nothing after
    // a command (https://github.com/clap-rs/clap/issues/6421); once that is fixed, this replaces nothing.
    let [wrong, right] = ["__subcmd__", "__"].map(|hyphen| program.name.replace('-', hyphen) + "__subcmd__");
    String::from_utf8_lossy(&script).replace(&wrong, &right)
}

/// The program; without a command it accepts the flags of the first one.
fn command(program: &Program) -> Command {
    let flags = |command: &str| {
        let flags: Vec<_> = program.flags().filter(|row| row.is_for(command)).map(flag).collect();
        flags
    };
    let subcommand = |command: &program::Command| {
        Command::new(command.name)
            .about(command.sentence)
            .args(flags(command.name))
            .args(command.arguments.split_whitespace().take(command.max_arguments).map(argument))
    };
    let first = program.commands.first().map(|command| command.name).unwrap_or_default();
    Command::new(program.name)
        .version(program.version)
        .about(program.sentence)
        .disable_help_subcommand(true)
        .args(flags(first))
        .subcommands(program.commands.iter().map(subcommand))
}

/// A flag with its values: none, choices, files, or any text.
fn flag(row: &Row) -> Arg {
    let action = match (row.value.is_empty(), row.may_repeat) {
        (true, _) => ArgAction::SetTrue,
        (false, true) => ArgAction::Append,
        (false, false) => ArgAction::Set,
    };
    let choices: Vec<String> = row.choices().into_iter().map(ToOwned::to_owned).collect();
    let mut flag = Arg::new(row.name).long(row.name).help(first_sentence(row.sentence)).action(action);
    if let Some(letter) = row.short {
        flag = flag.short(letter);
    }
    if row.value.is_empty() {
        flag
    } else if !choices.is_empty() {
        flag.value_parser(PossibleValuesParser::new(choices))
    } else if row.value.starts_with("FILE") {
        flag.value_hint(ValueHint::FilePath)
    } else {
        flag.value_hint(ValueHint::Other)
    }
}

/// A positional argument of the synopsis; any value is allowed.
fn argument(word: &str) -> Arg {
    let bare = word.trim_matches(['[', ']', '.']).to_owned();
    Arg::new(bare).value_hint(ValueHint::Other).required(!word.starts_with('['))
}

/// A menu has room for a short text beside a flag.
fn first_sentence(sentence: &str) -> String {
    sentence.split_inclusive(". ").next().unwrap_or_default().trim_end_matches(['.', ' ']).to_owned()
}
