//! Parses the arguments and the environment variables into a command with its settings, or reports all errors
//! together.

use std::collections::BTreeMap;
use std::ffi::OsString;

use lexopt::Arg;
use podlocal_settings::Settings;
use podlocal_settings::names::VARIABLE_PREFIX;
use podlocal_settings::program::{self, Length, did_you_mean};
use podlocal_settings::read::{Given, Read, SettingError, read};
use podlocal_settings::table::{self, Setting};

pub use about::about;
use commands::COMMANDS;

mod about;
pub mod commands;

/// The expectation in the error about an unknown flag.
const UNKNOWN_FLAG: &str = "a flag of this program, see --help";

/// A command of the program.
#[derive(Debug, Clone, PartialEq, Eq)]
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
    Help(Length),
    /// Print the version.
    Version,
}

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
    let command = flags.command();
    flags.errors.extend(errors);
    let command = match command {
        Some(command) if flags.errors.is_empty() || matches!(command, Command::Help(_)) => command,
        _ => return Err(flags.errors),
    };
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
    row: Option<&'static program::Command>,
    wants_help: Option<Length>,
    wants_version: bool,
    is_unknown: bool,
    /// The values by the name of the setting. A list has the values of all its flags; otherwise the last flag
    /// wins.
    given: BTreeMap<&'static str, String>,
    errors: Vec<SettingError>,
}

impl Flags {
    fn read(&mut self, arguments: impl IntoIterator<Item = OsString>) {
        let mut parser = lexopt::Parser::from_iter(arguments);
        loop {
            let name = match parser.next() {
                Ok(None) => return,
                Ok(Some(Arg::Short('h'))) => return self.wants_help = Some(Length::Brief),
                Ok(Some(Arg::Short('V'))) => return self.wants_version = true,
                Ok(Some(Arg::Short(letter))) => {
                    self.about(&format!("-{letter}"), UNKNOWN_FLAG);
                    continue;
                }
                Ok(Some(Arg::Value(word))) => {
                    self.word(&word.to_string_lossy());
                    continue;
                }
                Ok(Some(Arg::Long(name))) => name.to_owned(),
                // A flag without a value has one.
                Err(error) => {
                    self.push_error("arguments", &error.to_string(), "what --help shows");
                    continue;
                }
            };
            match name.as_str() {
                "help" => return self.wants_help = Some(Length::Whole),
                "version" => return self.wants_version = true,
                name => self.flag(name, &mut parser),
            }
        }
    }

    /// The command; nothing follows it. Arguments after an unknown command cannot be checked.
    fn word(&mut self, word: &str) {
        match self.row {
            None if self.is_unknown => {}
            None => {
                self.row = program::find(COMMANDS, word);
                self.is_unknown = self.row.is_none();
                if self.is_unknown {
                    let meant = did_you_mean(word, "", COMMANDS.iter().map(|command| command.name));
                    self.push_error("command", word, &format!("{}{meant}", program::names(COMMANDS)));
                }
            }
            Some(row) => self.push_error("argument", word, &format!("no argument after {}", row.name)),
        }
    }

    /// The command; `None` if errors leave it open.
    fn command(&mut self) -> Option<Command> {
        if let Some(length) = self.wants_help {
            return Some(Command::Help(length));
        }
        if self.wants_version {
            return Some(Command::Version);
        }
        let row = self.row.or_else(|| COMMANDS.first().filter(|_| !self.is_unknown))?;
        Some(match row.name {
            "supervise" => Command::Supervise,
            "await" => Command::Await,
            "health" => Command::Health,
            _ => Command::Serve,
        })
    }

    /// A setting.
    fn flag(&mut self, name: &str, parser: &mut lexopt::Parser) {
        let Some(setting) = table::find(name, Setting::is_for_sidecar) else {
            // A value after "=" belongs to the unknown flag, and is not an argument of its own.
            let value = parser.optional_value();
            let program = about();
            let expected =
                format!("{UNKNOWN_FLAG}{}", did_you_mean(name, "--", program.flags().map(|row| row.name)));
            let text = value.unwrap_or_default();
            let error = SettingError::of_name(format!("--{name}"), &text.to_string_lossy(), expected);
            return self.errors.push(error);
        };
        let Ok(text) = parser.value() else {
            return self.about(&setting.flag(), &setting.form.words());
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

    /// An error without a value.
    fn about(&mut self, origin: &str, expected: &str) {
        self.errors.push(SettingError::about(origin, expected));
    }

    fn push_error(&mut self, origin: &str, text: &str, expected: &str) {
        self.errors.push(SettingError::new(origin, text, expected));
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
    fn errors_of_every_kind_are_reported_together() {
        let arguments = [
            "sreve",
            "--cache-size",
            "4MB",
            "--no-such",
            "-x",
            "--cpu-limit=3",
            "--listen",
            "nowhere",
            "--cluster-domain",
        ];
        let errors = parsed(&arguments, &[("PODLOCAL_LOG_LEVEL", "loud")]).expect_err("bad");
        for part in [
            "sreve",
            "4MB",
            "--no-such",
            "-x",
            "--cpu-limit",
            "nowhere",
            "--cluster-domain",
            "PODLOCAL_LOG_LEVEL",
        ] {
            assert!(errors.iter().any(|error| error.contains(part)), "{part} is missing in {errors:?}");
        }
        assert_eq!(errors.len(), 8);
    }

    #[test]
    fn an_unknown_variable_with_the_prefix_is_a_warning() {
        let invocation = parsed(&["await"], &[("PODLOCAL_FUTURE", "1"), ("PATH", "/")]).expect("good");
        assert_eq!(invocation.command, Command::Await);
        assert_eq!(invocation.unknown_variables, ["PODLOCAL_FUTURE"]);
    }

    #[test]
    fn every_command_of_the_table_is_parsed() {
        for command in COMMANDS {
            assert!(parsed(&[command.name], &[]).is_ok(), "{}", command.name);
        }
    }

    #[test]
    fn help_is_printed_in_spite_of_errors() {
        let command = |arguments: &[&str]| parsed(arguments, &[]).expect("help").command;
        for (flag, length) in [("--help", Length::Whole), ("-h", Length::Brief)] {
            assert_eq!(command(&["--cache-size=x", flag]), Command::Help(length));
            assert_eq!(command(&["health", "a..b", flag]), Command::Help(length));
        }
    }

    #[test]
    fn settings_may_be_before_and_after_the_command() {
        let invocation = parsed(&["--admin-port=9399", "health", "--log-level", "debug"], &[]).expect("good");
        assert_eq!((invocation.command, invocation.settings.admin_port), (Command::Health, 9399));
    }

    #[test]
    fn errors_in_arguments_and_flags_are_reported_together() {
        for (arguments, parts) in [
            (
                vec!["health", "x", "--ndots=y"],
                vec!["\"x\": expected no argument after health", "--ndots: invalid value \"y\""],
            ),
            (vec!["helth", "db", "A"], vec!["or health; did you mean health?"]),
            (
                vec!["--cache-sise=3"],
                vec!["--cache-sise: expected a flag of this program, see --help; did you mean --cache-size?"],
            ),
            (
                vec!["--qqqq", "-x"],
                vec!["--qqqq: expected a flag of this program, see --help", "-x: expected"],
            ),
            (vec!["health", "--cache-size"], vec!["--cache-size"]),
        ] {
            let errors = parsed(&arguments, &[]).expect_err("bad");
            assert_eq!(errors.len(), parts.len(), "{errors:?}");
            for (error, part) in errors.iter().zip(parts) {
                assert!(errors.iter().any(|error| error.contains(part)), "{part} is missing beside {error}");
            }
        }
    }
}
