//! Parses the arguments and the environment variables into a command with its settings, or reports all errors
//! together.

use std::collections::BTreeMap;
use std::ffi::OsString;

use lexopt::Arg;
use podlocal_settings::Settings;
use podlocal_settings::names::VARIABLE_PREFIX;
use podlocal_settings::read::{Given, Read, SettingError, read};
use podlocal_settings::table::{self, Setting};

pub use help::{NOTES, SENTENCE, description, help};

mod help;

/// A command of the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// Run the proxy.
    Serve,
    /// Run the proxy in a child process, and restart it when it crashes.
    Supervise,
    /// Wait until the proxy is ready.
    Await,
    /// Check whether the proxy is ready.
    Health,
    /// Print the help, which is the same for every command.
    Help,
    /// Print the version.
    Version,
}

/// The commands with their names and their sentences in the help. All have the same flags: the settings.
pub const COMMANDS: [(Command, &str, &str); 4] = [
    (Command::Serve, "serve", "run the proxy (default)"),
    (Command::Supervise, "supervise", "run the proxy in a child process, and restart it after a crash"),
    (Command::Await, "await", "wait until the proxy is ready, for ready-timeout at most; always succeeds"),
    (Command::Health, "health", "tell whether the proxy is ready"),
];

/// A command with its settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invocation {
    /// The command.
    pub command: Command,
    /// Its settings.
    pub settings: Settings,
    /// Variables with the prefix of the settings that this version does not know. They cause a warning, not
    /// an error: the webhook that wrote them may be newer than this image, and a pod without DNS is worse
    /// than a pod without a new setting.
    pub unknown_variables: Vec<String>,
}

/// Parses everything; a flag wins over a variable. The first argument is the name of the program.
pub fn parse(
    arguments: impl IntoIterator<Item = OsString>,
    variables: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<Invocation, Vec<SettingError>> {
    let mut flags = Flags::default();
    flags.read(arguments);
    let variables: BTreeMap<String, OsString> = variables
        .into_iter()
        .filter_map(|(name, text)| name.into_string().ok().map(|name| (name, text)))
        .filter(|(name, _)| name.starts_with(VARIABLE_PREFIX))
        .collect();
    let Read { settings, errors, .. } = read(|setting| {
        let flag = flags.given.get(setting.name).map(|text| (setting.flag(), text.clone()));
        let variable = variables.get(&setting.variable());
        let variable = variable.map(|text| (setting.variable(), text.to_string_lossy().into_owned()));
        let given = flag.into_iter().chain(variable).filter(|_| setting.is_for_sidecar());
        given.map(|(origin, text)| Given { origin, text }).collect()
    });
    flags.errors.extend(errors);
    let command = flags.command.unwrap_or(Command::Serve);
    if !flags.errors.is_empty() && command != Command::Help {
        return Err(flags.errors);
    }
    let is_known = |name: &String| {
        table::TABLE.iter().any(|setting| setting.is_for_sidecar() && setting.variable() == *name)
    };
    Ok(Invocation {
        command,
        settings,
        unknown_variables: variables.into_keys().filter(|name| !is_known(name)).collect(),
    })
}

#[derive(Debug, Default)]
struct Flags {
    command: Option<Command>,
    is_command_unknown: bool,
    /// The values by the name of the setting. A list has the values of all its flags; otherwise the last flag
    /// wins.
    given: BTreeMap<&'static str, String>,
    errors: Vec<SettingError>,
}

impl Flags {
    fn read(&mut self, arguments: impl IntoIterator<Item = OsString>) {
        let mut parser = lexopt::Parser::from_iter(arguments);
        loop {
            match parser.next() {
                Ok(None) => return,
                Ok(Some(Arg::Short('h') | Arg::Long("help"))) => return self.command = Some(Command::Help),
                Ok(Some(Arg::Short('V') | Arg::Long("version"))) => {
                    return self.command = Some(Command::Version);
                }
                Ok(Some(Arg::Short(letter))) => self.unknown(&format!("-{letter}")),
                Ok(Some(Arg::Long(name))) => {
                    let name = name.to_owned();
                    self.flag(&name, &mut parser);
                }
                Ok(Some(Arg::Value(word))) => self.word(&word.to_string_lossy()),
                // A flag without a value has one.
                Err(error) => {
                    self.errors.push(SettingError::new("arguments", &error.to_string(), "what --help shows"));
                }
            }
        }
    }

    /// The command; nothing follows it. Arguments after an unknown command cannot be checked.
    fn word(&mut self, word: &str) {
        if self.command.is_some() {
            self.errors.push(SettingError::new("argument", word, "no argument after the command"));
        } else if !self.is_command_unknown {
            let row = COMMANDS.iter().find(|(_, name, _)| *name == word);
            self.command = row.map(|(command, ..)| *command);
            if row.is_none() {
                self.is_command_unknown = true;
                let names = COMMANDS.map(|(_, name, _)| name).join(", ");
                self.errors.push(SettingError::new("command", word, format!("one of {names}")));
            }
        }
    }

    /// A setting.
    fn flag(&mut self, name: &str, parser: &mut lexopt::Parser) {
        let Some(setting) = table::find(name, Setting::is_for_sidecar) else {
            // A value after "=" belongs to the unknown flag, and is not an argument of its own.
            let _ = parser.optional_value();
            return self.unknown(&format!("--{name}"));
        };
        let Ok(text) = parser.value() else {
            return self.errors.push(SettingError::about(setting.flag(), setting.form.words()));
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

    fn unknown(&mut self, flag: &str) {
        self.errors.push(SettingError::about(flag, "a flag of this program, see --help"));
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
            .map_err(|errors| errors.iter().map(ToString::to_string).collect())
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
    fn every_command_of_the_table_is_parsed() {
        for (command, name, _) in COMMANDS {
            assert_eq!(parsed(&[name], &[]).map(|invocation| invocation.command), Ok(command));
        }
    }

    #[test]
    fn help_is_printed_in_spite_of_errors() {
        for flag in ["--help", "-h"] {
            for arguments in [["--cache-size=x", flag].as_slice(), &["health", "a..b", flag]] {
                assert_eq!(parsed(arguments, &[]).expect("help").command, Command::Help);
            }
        }
    }

    #[test]
    fn settings_may_be_before_and_after_the_command() {
        let invocation = parsed(&["--admin-port=9399", "health", "--log-level", "debug"], &[]).expect("good");
        assert_eq!((invocation.command, invocation.settings.admin_port), (Command::Health, 9399));
    }

    #[test]
    fn errors_in_arguments_flags_and_variables_are_reported_together() {
        for (arguments, parts) in [
            (
                vec!["health", "x", "--ndots=y"],
                vec!["\"x\": expected no argument after the command", "--ndots: invalid value \"y\""],
            ),
            (vec!["helth", "db", "A"], vec!["\"helth\": expected one of serve, supervise, await, health"]),
            (
                vec!["--cache-sise=3", "-x"],
                vec!["--cache-sise: expected a flag of this program, see --help", "-x: expected"],
            ),
            (
                vec![
                    "health",
                    "--cache-size=4MB",
                    "--cpu-limit=3",
                    "--listen",
                    "nowhere",
                    "--cluster-domain",
                ],
                vec!["4MB", "--cpu-limit", "nowhere", "--cluster-domain", "PODLOCAL_LOG_LEVEL"],
            ),
        ] {
            let is_loud = parts.contains(&"PODLOCAL_LOG_LEVEL");
            let variables: &[_] = if is_loud { &[("PODLOCAL_LOG_LEVEL", "loud")] } else { &[] };
            let errors = parsed(&arguments, variables).expect_err("bad");
            assert_eq!(errors.len(), parts.len(), "{errors:?}");
            for (error, part) in errors.iter().zip(parts) {
                assert!(errors.iter().any(|error| error.contains(part)), "{part} is missing beside {error}");
            }
        }
    }
}
