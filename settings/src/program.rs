//! A program as people meet it, as data: `--help`, the man page and the completions are made of it.

/// A command, in the order in which people read about them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Command {
    /// The word: `await`.
    pub name: &'static str,
    /// What stands behind it besides settings, as in a synopsis: `NAME [TYPE] [--json]`. A word that begins with
    /// `--` is a switch of this command alone.
    pub arguments: &'static str,
    /// What it does, in lower case and without a full stop.
    pub sentence: &'static str,
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
}
