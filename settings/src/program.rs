//! A program as people meet it, as data: `--help`, the man page and the completions are made of it.

use crate::page::bounds;
use crate::table::Setting;
use crate::value::Role;

mod help;

pub use help::Length;

/// A program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    /// The name by which it is called.
    pub name: &'static str,
    /// Its version.
    pub version: &'static str,
    /// What it is, without a verb and a full stop.
    pub sentence: &'static str,
    /// What one needs to know first, a paragraph each.
    pub description: Vec<String>,
    /// Its commands; the first is the one that needs no word.
    pub commands: &'static [Command],
    /// What may be given to them, what is used most first.
    pub sections: Vec<Section>,
    /// Lines to type, with what each does.
    pub examples: &'static [Example],
    /// How it ends.
    pub exit_codes: &'static [(u8, &'static str)],
    /// Where to read on: places in the repository, or addresses.
    pub see_also: &'static [&'static str],
}

/// A command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Command {
    /// The word: `await`.
    pub name: &'static str,
    /// What stands behind it besides settings and flags, as in a synopsis: `NAME [TYPE] [--json]`. A word that begins
    /// with `--` is a switch of this command alone.
    pub arguments: &'static str,
    /// What it does, in lower case and without a full stop.
    pub sentence: &'static str,
}

/// A line to type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Example {
    /// What it does, without a full stop.
    pub purpose: &'static str,
    /// The line, as a shell takes it.
    pub line: &'static str,
}

/// Things that may be given, under a title.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section {
    /// The title, without a colon.
    pub title: String,
    /// What they are, and so where they are given.
    pub kind: Kind,
    /// Whether they stand in the short help, too.
    pub is_brief: bool,
    /// The things.
    pub rows: Vec<Row>,
}

/// What the rows of a section are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Flags of the program.
    Flags,
    /// Names that are given elsewhere, in annotations for instance.
    Names,
}

/// One thing that may be given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The name, without hyphens before it.
    pub name: &'static str,
    /// The letter that stands for it.
    pub short: Option<char>,
    /// What stands for the value: `FILE`; words with `|` between them are all that there are; empty: it takes none.
    pub value: String,
    /// Whether it may be given more than once.
    pub may_repeat: bool,
    /// What a value looks like, and the default; empty where the sentence says it.
    pub remark: String,
    /// What it does.
    pub sentence: &'static str,
    /// The commands that take it; empty: every one.
    pub commands: &'static [&'static str],
}

impl Row {
    /// A setting, taken by every command.
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

    /// Whether that command takes it.
    pub fn is_for(&self, command: &str) -> bool {
        self.commands.is_empty() || self.commands.contains(&command)
    }

    /// All values that there are, where they are words.
    pub fn choices(&self) -> Vec<&str> {
        if self.value.contains('|') { self.value.split('|').collect() } else { Vec::new() }
    }
}

impl Program {
    /// The flags, of all sections.
    pub fn flags(&self) -> impl Iterator<Item = &Row> {
        let flags = self.sections.iter().filter(|section| section.kind == Kind::Flags);
        flags.flat_map(|section| &section.rows)
    }
}

/// The names of the commands, as an error lists what it expected: `serve, await or health`.
pub fn names(commands: &[Command]) -> String {
    let names: Vec<_> = commands.iter().map(|command| command.name).collect();
    match names.split_last() {
        Some((last, [])) => (*last).to_owned(),
        Some((last, others)) => format!("{} or {last}", others.join(", ")),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::{CACHE_SIZE, ROLE, SOURCES};

    #[test]
    fn names_are_listed_as_in_a_sentence() {
        let of = |names: &[&'static str]| {
            let command = |name: &&'static str| Command { name, arguments: "", sentence: "" };
            super::names(&names.iter().map(command).collect::<Vec<_>>())
        };
        for (names, listed) in [
            (&[][..], ""),
            (&["serve"], "serve"),
            (&["serve", "await"], "serve or await"),
            (&["serve", "await", "health"], "serve, await or health"),
        ] {
            assert_eq!(of(names), listed);
        }
    }

    #[test]
    fn a_setting_that_is_one_of_a_few_words_lists_them() {
        assert_eq!(Row::of_setting(&ROLE).choices(), ["pod", "shared"]);
        for other in [&CACHE_SIZE, &SOURCES] {
            assert_eq!(Row::of_setting(other).choices(), Vec::<&str>::new(), "{}", other.name);
        }
    }
}
