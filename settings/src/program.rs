//! The description of a program, as data: `--help`, the man page and the completions are made from it.

use crate::page::bounds;
use crate::table::Setting;
use crate::value::Role;

mod command;
mod help;
mod nearest;

pub use command::{Command, Example, Flag, SERVE_EXIT_CODES, find, names};
pub use help::Length;
pub use nearest::did_you_mean;

/// A program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    /// The name of the executable.
    pub name: &'static str,
    /// The version.
    pub version: &'static str,
    /// What the program is, without a verb and a full stop.
    pub sentence: &'static str,
    /// The paragraphs of the description.
    pub description: Vec<String>,
    /// Its commands; the first one is the default.
    pub commands: &'static [Command],
    /// Flags and settings in sections, the most common ones first.
    pub sections: Vec<Section>,
    /// The exit codes of every command; a command may have further ones.
    pub exit_codes: &'static [(u8, &'static str)],
    /// Further documentation: paths in the repository, or URLs.
    pub see_also: &'static [&'static str],
}

/// A section of flags, settings or names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section {
    /// The title, without a colon.
    pub title: String,
    /// What the rows are, and so where they are given.
    pub kind: Kind,
    /// Whether the short help has the section, too.
    pub is_brief: bool,
    /// The flags, settings or names.
    pub rows: Vec<Row>,
}

/// What the rows of a section are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Flags of the program, or of some of its commands.
    Flags,
    /// Settings of the program: flags that every command takes, and variables, too.
    Settings,
    /// Names that are given elsewhere, for example in annotations.
    Names,
}

/// One flag, setting or name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The name, without the hyphens.
    pub name: &'static str,
    /// The short form.
    pub short: Option<char>,
    /// The placeholder of the value: `FILE`; or all valid words, separated by `|`; empty: no value.
    pub value: String,
    /// Whether it may be given more than once.
    pub may_repeat: bool,
    /// The kind of value and the default; empty if the sentence has them.
    pub remark: String,
    /// What it does, as a sentence.
    pub sentence: &'static str,
    /// The commands that accept it; empty: all commands.
    pub commands: &'static [&'static str],
}

impl Row {
    /// The row of a flag.
    pub fn of_flag(flag: &Flag) -> Self {
        Self {
            name: flag.name,
            short: flag.short,
            value: flag.value.to_owned(),
            may_repeat: flag.may_repeat,
            remark: String::new(),
            sentence: flag.sentence,
            commands: flag.commands,
        }
    }

    /// The row of a setting, which every command accepts.
    pub fn of_setting(setting: &Setting) -> Self {
        let default = match (setting.default, setting.default_in(Role::Shared)) {
            ("", _) => String::new(),
            (default, shared) if shared == default => format!(" [{default}]"),
            (default, shared) => format!(" [{default}; shared: {shared}]"),
        };
        Self {
            name: setting.name,
            short: None,
            value: setting.choices().map_or_else(|| "VALUE".to_owned(), |choices| choices.join("|")),
            may_repeat: setting.is_list(),
            remark: format!("{}{default}", bounds(setting)),
            sentence: setting.sentence,
            commands: &[],
        }
    }

    /// Whether the command with this name accepts it.
    pub fn is_for(&self, command: &str) -> bool {
        self.commands.is_empty() || self.commands.contains(&command)
    }

    /// All valid values, if they are words.
    pub fn choices(&self) -> Vec<&str> {
        if self.value.contains('|') { self.value.split('|').collect() } else { Vec::new() }
    }
}

impl Section {
    /// Groups flags in sections: one for the flags of every command, and one for each set of commands with
    /// further flags, in order of appearance. `is_brief`: the short help of the program has them, too.
    pub fn of_flags(flags: &[Flag], is_brief: bool) -> Vec<Self> {
        let mut sections: Vec<Self> = Vec::new();
        for flag in flags {
            let of = if flag.commands.is_empty() {
                "every command".to_owned()
            } else {
                flag.commands.join(" and ")
            };
            let title = format!("Flags of {of}");
            match sections.iter_mut().find(|section| section.title == title) {
                Some(section) => section.rows.push(Row::of_flag(flag)),
                None => {
                    sections.push(Self {
                        title,
                        kind: Kind::Flags,
                        is_brief,
                        rows: vec![Row::of_flag(flag)],
                    });
                }
            }
        }
        sections
    }
}

impl Program {
    /// The flags of all sections; settings are flags, too.
    pub fn flags(&self) -> impl Iterator<Item = &Row> {
        let flags = self.sections.iter().filter(|section| section.kind != Kind::Names);
        flags.flat_map(|section| &section.rows)
    }

    /// The examples of all commands.
    pub fn examples(&self) -> impl Iterator<Item = &'static Example> {
        self.commands.iter().flat_map(|command| command.examples)
    }

    /// Every exit code with its meanings; `of`: only those of this command.
    pub fn exit_codes(&self, of: Option<&Command>) -> Vec<(u8, String)> {
        let of_commands = self.commands.iter().flat_map(|command| command.exit_codes);
        let mut codes: Vec<u8> = of_commands.chain(self.exit_codes).map(|(code, _)| *code).collect();
        codes.sort_unstable();
        codes.dedup();
        let meanings = codes.into_iter().map(|code| (code, self.meanings(code, of).join("; ")));
        meanings.filter(|(_, meaning)| !meaning.is_empty()).collect()
    }

    /// The meanings of a code: those of every command first, then those of some commands. Commands with the
    /// same meaning are listed together.
    fn meanings(&self, code: u8, of: Option<&Command>) -> Vec<String> {
        let common = self.exit_codes.iter().filter(|(other, _)| *other == code);
        let mut meanings: Vec<String> = common.map(|(_, meaning)| (*meaning).to_owned()).collect();
        let mut by_meaning: Vec<(&str, Vec<String>)> = Vec::new();
        for command in self.commands.iter().filter(|command| of.is_none_or(|of| of.name == command.name)) {
            for (_, meaning) in command.exit_codes.iter().filter(|(other, _)| *other == code) {
                let name = format!("`{}`", command.name);
                match by_meaning.iter_mut().find(|(other, _)| other == meaning) {
                    Some((_, names)) => names.push(name),
                    None => by_meaning.push((meaning, vec![name])),
                }
            }
        }
        meanings.extend(by_meaning.into_iter().map(|(meaning, names)| match of {
            Some(_) => meaning.to_owned(),
            None => format!("{}: {meaning}", names.join(", ")),
        }));
        meanings
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::{ALLOWED_SOURCES, CACHE_SIZE, ROLE};

    #[test]
    fn an_exit_code_is_listed_once_with_its_commands() {
        const COMMANDS: &[Command] = &[
            Command { name: "serve", exit_codes: &[(0, "drained"), (1, "cannot start")], ..Command::EMPTY },
            Command { name: "ask", exit_codes: &[(1, "no answer")], ..Command::EMPTY },
            Command { name: "look", exit_codes: &[(1, "no answer"), (2, "nothing")], ..Command::EMPTY },
        ];
        let program = Program {
            name: "",
            version: "",
            sentence: "",
            description: Vec::new(),
            commands: COMMANDS,
            sections: Vec::new(),
            exit_codes: &[(0, "done"), (64, "bad")],
            see_also: &[],
        };
        let of = |command| {
            let codes = program.exit_codes(command).into_iter();
            codes.map(|(code, meaning)| format!("{code} {meaning}")).collect::<Vec<_>>()
        };
        let all = [
            "0 done; `serve`: drained",
            "1 `serve`: cannot start; `ask`, `look`: no answer",
            "2 `look`: nothing",
        ];
        assert_eq!(of(None), [all.as_slice(), &["64 bad"]].concat());
        assert_eq!(of(find(COMMANDS, "ask")), ["0 done", "1 no answer", "64 bad"]);
    }

    #[test]
    fn flags_of_the_same_commands_are_in_one_section() {
        let flags = [
            Flag::new("a", "", &[], ""),
            Flag::new("b", "", &["x"], ""),
            Flag::new("c", "", &["x", "y"], ""),
            Flag::new("d", "", &["x"], ""),
        ];
        let sections: Vec<_> = Section::of_flags(&flags, true)
            .into_iter()
            .map(|section| (section.title, section.rows.iter().map(|row| row.name).collect::<String>()))
            .collect();
        let expected = [("every command", "a"), ("x", "bd"), ("x and y", "c")];
        assert_eq!(sections, expected.map(|(of, names)| (format!("Flags of {of}"), names.to_owned())));
    }

    #[test]
    fn a_setting_with_few_valid_words_lists_them() {
        assert_eq!(Row::of_setting(&ROLE).choices(), ["pod", "shared"]);
        for other in [&CACHE_SIZE, &ALLOWED_SOURCES] {
            assert_eq!(Row::of_setting(other).choices(), Vec::<&str>::new(), "{}", other.name);
        }
    }
}
