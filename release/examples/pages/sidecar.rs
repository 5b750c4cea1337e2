//! The sidecar as a clap command. It does not use clap itself: every pod would pay for it.

use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgAction, Command};
use podlocal_settings::page;
use podlocal_settings::table::{Setting, TABLE};
use podlocal_sidecar::cli::{COMMANDS, NOTES, SENTENCE, description};

pub(crate) fn command() -> Command {
    let settings = TABLE.iter().filter(|setting| setting.is_for_sidecar());
    Command::new("podlocal-sidecar")
        .version(env!("CARGO_PKG_VERSION"))
        .about(SENTENCE)
        .long_about(description())
        .after_help(NOTES)
        .disable_help_subcommand(true)
        .args(settings.map(|setting| flag(setting)))
        .subcommands(COMMANDS.map(|(_, name, sentence)| Command::new(name).about(sentence)))
}

/// A setting as a flag of every command. A menu of completions has room for one sentence.
fn flag(setting: &'static Setting) -> Arg {
    let first_sentence = setting.sentence.split_inclusive(". ").next().unwrap_or_default().trim_end();
    let flag = Arg::new(setting.name)
        .long(setting.name)
        .value_name("VALUE")
        .global(true)
        .action(if setting.is_list() { ArgAction::Append } else { ArgAction::Set })
        .help(first_sentence)
        .long_help(format!("{}. {}", page::values(setting), setting.sentence));
    match setting.choices() {
        Some(choices) => flag.value_parser(PossibleValuesParser::new(choices)).hide_possible_values(true),
        None => flag,
    }
}
