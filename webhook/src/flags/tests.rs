//! The table of flags, the help texts and the program agree.

use std::ffi::OsString;

use podlocal_settings::program::Length;

use super::*;
use crate::config;

#[test]
fn every_flag_is_one_of_the_program() {
    let program = about();
    let names: Vec<_> = program.flags().map(|row| row.name).collect();
    assert!(FLAGS.iter().all(|flag| names.contains(&flag.name)) && names.len() == FLAGS.len());
    let help = program.help(Length::Whole);
    assert!(
        TABLE.iter().filter(|setting| setting.is_annotation()).all(|setting| help.contains(setting.name))
    );
}

#[test]
fn the_levels_of_the_log_are_those_of_the_setting() {
    let level = FLAGS.iter().find(|flag| flag.name == table::LOG_LEVEL.name).expect("a flag");
    assert_eq!(Some(&*level.value.split('|').collect::<Vec<_>>()), table::LOG_LEVEL.choices());
}

#[test]
fn every_command_and_example_is_taken_by_the_program() {
    let program = about();
    let examples = program.examples().map(|example| example.line.to_owned());
    let commands = COMMANDS
        .iter()
        .map(|command| format!("podlocal-webhook {}", command.usage().replace(['[', ']'], "")));
    for line in examples.chain(commands) {
        let (_, arguments) = line.split_once("podlocal-webhook").expect("the program");
        let arguments = arguments.split(" | ").next().unwrap_or_default().split_whitespace();
        assert!(config::parse(arguments.map(OsString::from), |_| Ok(String::new())).is_ok(), "{line}");
    }
}

#[test]
fn command_help_lists_exactly_the_flags_of_the_command() {
    for command in COMMANDS {
        let help = about().help_of(command, Length::Whole);
        for flag in FLAGS {
            let is_listed = help.contains(&format!("--{} ", flag.name));
            assert!(!is_listed || flag.is_for(command.name), "{} --{}", command.name, flag.name);
            let begin = flag.short.map_or_else(|| "\n  ".to_owned(), |letter| format!("\n  -{letter}, "));
            let row = format!("{begin}--{} {}", flag.name, flag.value);
            assert_eq!(help.contains(&row), flag.is_for(command.name), "{} --{}", command.name, flag.name);
        }
    }
}
