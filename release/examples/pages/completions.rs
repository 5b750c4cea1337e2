//! Shell completions, which `clap_complete` writes for all shells; a program that does not use clap is described
//! as a clap command for it.

use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgAction, Command, ValueHint};
use clap_complete::{Shell, generate};
use podlocal_settings::program::{self, Program, Row};

/// The completion script of a program for a shell.
pub(crate) fn script(command: &Command, shell: Shell) -> String {
    let (mut script, name) = (Vec::new(), command.get_name());
    generate(shell, &mut command.clone(), name, &mut script);
    // clap_complete escapes the hyphen of a program's name in two ways, so that bash completes nothing after
    // a command (https://github.com/clap-rs/clap/issues/6421); once that is fixed, this replaces nothing.
    let [wrong, right] = ["__subcmd__", "__"].map(|hyphen| name.replace('-', hyphen) + "__subcmd__");
    String::from_utf8_lossy(&script).replace(&wrong, &right)
}

/// A program as a clap command; without a command it accepts the flags of the first one.
pub(crate) fn command(program: &Program) -> Command {
    let flags = |command: &str| {
        let flags: Vec<_> = program.flags().filter(|row| row.is_for(command)).map(flag).collect();
        flags
    };
    let subcommand = |command: &program::Command| {
        Command::new(command.name).about(command.sentence).args(flags(command.name))
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

/// A menu has room for a short text beside a flag.
fn first_sentence(sentence: &str) -> String {
    sentence.split_inclusive(". ").next().unwrap_or_default().trim_end_matches(['.', ' ']).to_owned()
}
