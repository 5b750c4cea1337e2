//! The commands of a program and their flags, as data; the parsers of arguments use them, too.

/// A command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Command {
    /// The name: `await`.
    pub name: &'static str,
    /// Its arguments besides settings and flags, as in a synopsis: `-f FILE|-`.
    pub arguments: &'static str,
    /// What it does, in lower case and without a full stop.
    pub sentence: &'static str,
    /// Further paragraphs of its help.
    pub description: &'static [&'static str],
    /// Command lines, the most useful first.
    pub examples: &'static [Example],
    /// Its exit codes, besides those of every command of the program.
    pub exit_codes: &'static [(u8, &'static str)],
}

/// A command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Example {
    /// What it does, without a full stop.
    pub purpose: &'static str,
    /// The command line for a shell.
    pub line: &'static str,
}

/// A flag of a program that is not one of the settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flag {
    /// The name, without the hyphens.
    pub name: &'static str,
    /// The short form.
    pub short: Option<char>,
    /// The placeholder of the value: `FILE`; or all valid words, separated by `|`; empty: no value.
    pub value: &'static str,
    /// Whether it may be given more than once.
    pub may_repeat: bool,
    /// The commands that accept it; empty: all commands.
    pub commands: &'static [&'static str],
    /// What it does, with the default in brackets, without a full stop.
    pub sentence: &'static str,
}

/// The exit codes of `serve` in both programs.
pub const SERVE_EXIT_CODES: &[(u8, &str)] = &[
    (0, "drained after SIGTERM"),
    (1, "cannot start; the log has the reason"),
    (2, "a second signal ended the drain"),
];

impl Command {
    /// A command with empty fields, for the fields that a row of a table leaves out.
    pub const EMPTY: Self =
        Self { name: "", arguments: "", sentence: "", description: &[], examples: &[], exit_codes: &[] };

    /// The name with the arguments: `inject -f FILE|-`.
    pub fn usage(&self) -> String {
        format!("{} {}", self.name, self.arguments).trim_end().to_owned()
    }
}

impl Flag {
    /// A flag that is given once.
    pub const fn new(
        name: &'static str,
        value: &'static str,
        commands: &'static [&'static str],
        sentence: &'static str,
    ) -> Self {
        Self { name, short: None, value, may_repeat: false, commands, sentence }
    }

    /// The same flag with a short form.
    #[must_use]
    pub const fn with_letter(self, letter: char) -> Self {
        Self { short: Some(letter), ..self }
    }

    /// The same flag, which may be given several times.
    #[must_use]
    pub const fn repeatable(self) -> Self {
        Self { may_repeat: true, ..self }
    }

    /// Whether the command with this name accepts it.
    pub fn is_for(&self, command: &str) -> bool {
        self.commands.is_empty() || self.commands.contains(&command)
    }
}

/// The command with this name.
pub fn find<'a>(commands: &'a [Command], name: &str) -> Option<&'a Command> {
    commands.iter().find(|command| command.name == name)
}

/// The names of the commands for an error message: `serve, await or health`.
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

    #[test]
    fn names_are_listed_with_commas_and_or() {
        let of = |names: &[&'static str]| {
            let command = |name: &&'static str| Command { name, ..Command::EMPTY };
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
}
