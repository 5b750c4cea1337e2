//! Arguments and variables -> what to do, or every mistake in them at once.

use std::collections::BTreeMap;
use std::ffi::OsString;

use lexopt::Arg;
use podlocal_settings::Settings;
use podlocal_settings::names::VARIABLE_PREFIX;
use podlocal_settings::program::{self, Length};
use podlocal_settings::read::{Given, Mistake, Read, read};
use podlocal_settings::table::{self, Setting};

mod about;

pub use about::about;

/// Every command, as data.
pub const COMMANDS: &[program::Command] = &[
    program::Command {
        name: "serve",
        arguments: "",
        sentence: "be the proxy; what the program does when no command is given",
    },
    program::Command {
        name: "await",
        arguments: "",
        sentence: "wait until the proxy is ready, at most ready-timeout",
    },
    program::Command {
        name: "health",
        arguments: "",
        sentence: "exit 0 when the proxy is ready, 1 when not",
    },
];

/// What the program is asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// Be the proxy.
    Serve,
    /// Wait until the proxy is ready.
    Await,
    /// Say whether the proxy is ready.
    Health,
    /// Print how to use the program: what is used most, or everything.
    Help(Length),
    /// Print the version.
    Version,
}

/// A command with its settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invocation {
    /// What to do.
    pub command: Command,
    /// With what.
    pub settings: Settings,
    /// Variables with our prefix that this version does not know. A warning, no mistake: the webhook that
    /// wrote them may be newer than this image, and a pod without DNS is worse than one without a new setting.
    pub unknown_variables: Vec<String>,
}

/// Reads everything; a flag wins over a variable. The first argument is the program's own name.
pub fn parse(
    arguments: impl IntoIterator<Item = OsString>,
    variables: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<Invocation, Vec<Mistake>> {
    let mut flags = Flags::default();
    flags.read(arguments);
    let variables: BTreeMap<String, OsString> = variables
        .into_iter()
        .filter_map(|(name, text)| name.into_string().ok().map(|name| (name, text)))
        .filter(|(name, _)| name.starts_with(VARIABLE_PREFIX))
        .collect();
    let Read { settings, mistakes, .. } = read(|setting| {
        let flag = flags.given.get(setting.name).map(|text| (setting.flag(), text.clone()));
        let variable = variables.get(&setting.variable());
        let variable = variable.map(|text| (setting.variable(), text.to_string_lossy().into_owned()));
        let given = flag.into_iter().chain(variable).filter(|_| setting.is_for_sidecar());
        given.map(|(origin, text)| Given { origin, text }).collect()
    });
    flags.mistakes.extend(mistakes);
    if !flags.mistakes.is_empty() && !matches!(flags.command, Some(Command::Help(_))) {
        return Err(flags.mistakes);
    }
    let is_known = |name: &String| {
        table::TABLE.iter().any(|setting| setting.is_for_sidecar() && setting.variable() == *name)
    };
    Ok(Invocation {
        command: flags.command.unwrap_or(Command::Serve),
        settings,
        unknown_variables: variables.into_keys().filter(|name| !is_known(name)).collect(),
    })
}

#[derive(Debug, Default)]
struct Flags {
    command: Option<Command>,
    /// By the setting's name. Lists are joined, of others the last wins.
    given: BTreeMap<&'static str, String>,
    mistakes: Vec<Mistake>,
}

impl Flags {
    fn read(&mut self, arguments: impl IntoIterator<Item = OsString>) {
        let mut parser = lexopt::Parser::from_iter(arguments);
        loop {
            let name = match parser.next() {
                Ok(None) => return,
                Ok(Some(Arg::Short('h'))) => return self.command = Some(Command::Help(Length::Brief)),
                Ok(Some(Arg::Short('V'))) => return self.command = Some(Command::Version),
                Ok(Some(Arg::Short(letter))) => {
                    self.mistake(&format!("-{letter}"), "", "a flag of this program, see --help");
                    continue;
                }
                Ok(Some(Arg::Value(word))) => {
                    self.command(&word.to_string_lossy());
                    continue;
                }
                Ok(Some(Arg::Long(name))) => name.to_owned(),
                // A value behind a flag that takes none, of which there are two.
                Err(error) => {
                    self.mistake("arguments", &error.to_string(), "what --help shows");
                    continue;
                }
            };
            match name.as_str() {
                "help" => return self.command = Some(Command::Help(Length::Whole)),
                "version" => return self.command = Some(Command::Version),
                name => self.setting(name, &mut parser),
            }
        }
    }

    fn command(&mut self, word: &str) {
        let command = match word {
            "serve" => Command::Serve,
            "await" => Command::Await,
            "health" => Command::Health,
            _ => return self.mistake("command", word, &program::names(COMMANDS)),
        };
        if self.command.replace(command).is_some() {
            self.mistake("command", word, "one command");
        }
    }

    fn setting(&mut self, name: &str, parser: &mut lexopt::Parser) {
        let Some(setting) = table::find(name, Setting::is_for_sidecar) else {
            // Its value, if it has one behind "=", is not an argument of its own.
            let text = parser.optional_value().unwrap_or_default();
            return self.mistake(
                &format!("--{name}"),
                &text.to_string_lossy(),
                "a flag of this program, see --help",
            );
        };
        let Ok(text) = parser.value() else {
            return self.mistake(&setting.flag(), "", setting.unit);
        };
        let text = text.to_string_lossy().into_owned();
        let given = self.given.entry(setting.name).or_default();
        if setting.is_list() && !given.is_empty() {
            given.push(',');
            given.push_str(&text);
        } else {
            *given = text;
        }
    }

    fn mistake(&mut self, origin: &str, text: &str, expected: &str) {
        self.mistakes.push(Mistake::new(origin, text, expected));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(arguments: &[&str], variables: &[(&str, &str)]) -> Result<Invocation, Vec<String>> {
        let variables = variables.iter().map(|(name, text)| (OsString::from(name), OsString::from(text)));
        let mut all = vec!["podlocal-sidecar"];
        all.extend_from_slice(arguments);
        parse(all.into_iter().map(OsString::from), variables)
            .map_err(|mistakes| mistakes.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn a_flag_wins_over_a_variable_and_addresses_may_be_repeated() {
        let arguments = ["--listen", "127.0.0.1:5380", "--listen=[::1]:5380", "--max-ttl=1m"];
        let invocation =
            parsed(&arguments, &[("PODLOCAL_MAX_TTL", "2h"), ("PODLOCAL_MIN_TTL", "5s")]).expect("good");
        assert_eq!(invocation.command, Command::Serve);
        assert_eq!(invocation.settings.listen.len(), 2);
        assert_eq!(invocation.settings.max_ttl.as_secs(), 60);
        assert_eq!(invocation.settings.min_ttl.as_secs(), 5);
    }

    #[test]
    fn every_mistake_is_in_one_message_whatever_its_kind() {
        let arguments = [
            "sreve",
            "--cache-size",
            "4MB",
            "--no-such",
            "-x",
            "--cpu-limit=3",
            "--listen",
            "nowhere",
            "--zone",
        ];
        let mistakes = parsed(&arguments, &[("PODLOCAL_LOG_LEVEL", "loud")]).expect_err("bad");
        for part in
            ["sreve", "4MB", "--no-such", "-x", "--cpu-limit", "nowhere", "--zone", "PODLOCAL_LOG_LEVEL"]
        {
            assert!(
                mistakes.iter().any(|mistake| mistake.contains(part)),
                "{part} is missing in {mistakes:?}"
            );
        }
        assert_eq!(mistakes.len(), 8);
    }

    #[test]
    fn an_unknown_variable_with_our_prefix_is_a_warning() {
        let invocation = parsed(&["await"], &[("PODLOCAL_FUTURE", "1"), ("PATH", "/")]).expect("good");
        assert_eq!(invocation.command, Command::Await);
        assert_eq!(invocation.unknown_variables, ["PODLOCAL_FUTURE"]);
    }

    #[test]
    fn every_command_of_the_table_is_one() {
        for command in COMMANDS {
            let required = command.arguments.split_whitespace().filter(|word| !word.starts_with('['));
            let arguments: Vec<_> = std::iter::once(command.name).chain(required).collect();
            assert!(parsed(&arguments, &[]).is_ok(), "{}", command.name);
        }
    }

    #[test]
    fn help_is_given_even_among_mistakes() {
        for (flag, length) in [("--help", Length::Whole), ("-h", Length::Brief)] {
            let invocation = parsed(&["--cache-size=x", flag], &[]).expect("help");
            assert_eq!(invocation.command, Command::Help(length));
        }
    }
}
