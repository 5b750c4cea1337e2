//! The table of commands, from which `--help` is printed and arguments are read.

use podlocal_settings::names::{CONTAINER_NAME, SIDECAR_PATH};
use podlocal_settings::page;
use podlocal_settings::table::{ADMIN_PORT, CACHE_SIZE, Setting};

/// One command.
#[derive(Debug, PartialEq, Eq)]
pub struct Row {
    /// The word that it is called by.
    pub name: &'static str,
    /// The words behind it, as a usage line shows them.
    pub arguments: &'static str,
    /// How many words that are at most.
    pub most_arguments: usize,
    /// What it does, as one sentence without its end.
    pub sentence: &'static str,
    /// The flags that it has beside the settings.
    pub flags: &'static [Flag],
    /// What else its own help says.
    pub more: &'static str,
}

/// A flag of one command.
#[derive(Debug, PartialEq, Eq)]
pub struct Flag {
    /// Its name, without the dashes.
    pub name: &'static str,
    /// What its value is called; empty: it has none.
    pub value: &'static str,
    /// What it does, as one sentence.
    pub sentence: &'static str,
}

/// Flags of `lookup` and `stats`, by which they are found again.
#[allow(missing_docs, reason = "the table says what each is")]
pub mod flag {
    pub const TRACE: &str = "trace";
    pub const JSON: &str = "json";
    pub const RESOLV_CONF: &str = "resolv-conf";
    pub const WATCH: &str = "watch";
    pub const NAMES: &str = "names";
}

/// Every command; the first is what the program does without one.
pub const COMMANDS: &[Row] = &[
    Row {
        name: "serve",
        arguments: "",
        most_arguments: 0,
        sentence: "be the proxy",
        flags: &[],
        more: "Exit codes: 0 after a drained SIGTERM, 64 for bad settings, 1 when it cannot start, 2 when a second signal\n\
               cuts the drain.\n",
    },
    Row {
        name: "await",
        arguments: "",
        most_arguments: 0,
        sentence: "wait until the proxy is ready, at most ready-timeout",
        flags: &[],
        more: "It is the start gate of a pod. Exit code 0 in any case: a DNS outage must not keep a pod from starting.\n",
    },
    Row {
        name: "health",
        arguments: "",
        most_arguments: 0,
        sentence: "exit 0 when the proxy is ready, 1 when not",
        flags: &[],
        more: "",
    },
    Row {
        name: "lookup",
        arguments: "NAME [TYPE]",
        most_arguments: 2,
        sentence: "show how a name is resolved in this pod, and who answers",
        flags: &[
            Flag {
                name: flag::TRACE,
                value: "",
                sentence: "Show every step with its time: what was looked at, whom the proxy asked.",
            },
            Flag { name: flag::JSON, value: "", sentence: "Print one JSON document." },
            Flag {
                name: flag::RESOLV_CONF,
                value: "FILE",
                sentence: "Take search list and ndots from this file, not from /etc/resolv.conf.",
            },
        ],
        more: "The running proxy is asked what a C library would ask: without TYPE for A and AAAA, first or last as it is\n\
               according to ndots, and below each domain of the search list, until one exists. The queries are real: they are\n\
               counted, they fill the cache, and the upstream is asked where the cache does not know.\n\n\
               \x20 podlocal-sidecar lookup db              a Service of this namespace\n\
               \x20 podlocal-sidecar lookup api.example.com. --trace\n\
               \x20 podlocal-sidecar lookup _grpc._tcp.db.prod.svc.cluster.local SRV\n\
               \x20 podlocal-sidecar lookup db --json\n\n\
               Exit codes: 0 when it exists, 2 when it does not or the answer failed, 1 when the proxy cannot be asked, 64\n\
               for bad arguments.\n",
    },
    Row {
        name: "stats",
        arguments: "",
        most_arguments: 0,
        sentence: "show one page of what the proxy has done, and how it is",
        flags: &[
            Flag {
                name: flag::WATCH,
                value: "",
                sentence: "Show it anew every two seconds, until interrupted.",
            },
            Flag {
                name: flag::NAMES,
                value: "",
                sentence: "Show the most frequent names; they are counted from the first time on that somebody asks, until ten minutes after the last.",
            },
            Flag {
                name: flag::JSON,
                value: "",
                sentence: "Print one JSON document, with --watch one for each line.",
            },
        ],
        more: "Exit codes: 0, 1 when the proxy cannot be asked, 64 for bad arguments.\n",
    },
];

/// The command of that name.
pub fn find(name: &str) -> Option<&'static Row> {
    COMMANDS.iter().find(|row| row.name == name)
}

/// The flag of that name, of whatever command.
pub fn find_flag(name: &str) -> Option<&'static Flag> {
    COMMANDS.iter().flat_map(|row| row.flags).find(|flag| flag.name == name)
}

/// What `--help` prints: of one command, or of all.
pub fn help(command: Option<&Row>) -> String {
    match command {
        Some(row) if !row.flags.is_empty() => help_of(row),
        _ => help_of_all(),
    }
}

fn help_of(row: &Row) -> String {
    let mut text = format!("{}: {}\n\nUsage: {} [FLAG]...\n\n", row.name, row.sentence, usage(row));
    for flag in row.flags {
        text.push_str(&format!("  {:<24} {}\n", shown(flag), flag.sentence));
    }
    let (container, program) = (CONTAINER_NAME, SIDECAR_PATH);
    text + &format!(
        "\nIn a pod: kubectl exec POD -c {container} -- {program} {}\n\n{}\n\
         Every setting is a flag, too; {} tells which proxy is asked. See podlocal-sidecar --help.\n",
        [row.name, row.arguments].join(" ").trim_end(),
        row.more,
        ADMIN_PORT.flag(),
    )
}

fn help_of_all() -> String {
    let mut text =
        format!("podlocal-sidecar {}: a caching DNS proxy for one pod\n\n", env!("CARGO_PKG_VERSION"));
    for (number, row) in COMMANDS.iter().enumerate() {
        let (begin, usage) = match number {
            0 => ("Usage: ", format!("podlocal-sidecar [{}] [--SETTING VALUE]...", row.name)),
            _ => ("       ", usage(row)),
        };
        text.push_str(&format!("{begin}{usage:<46} {}\n", row.sentence));
    }
    text.push_str(&format!(
        "\nlookup and stats have pages of their own: podlocal-sidecar lookup --help.\n\n\
         Each setting is a flag, or a variable such as {}; a flag wins. --listen and --upstream\n\
         may be repeated.\n\n",
        CACHE_SIZE.variable()
    ));
    text.push_str(&page::help(Setting::is_for_sidecar));
    text.push('\n');
    text.push_str(COMMANDS.first().map_or("", |row| row.more));
    text
}

fn usage(row: &Row) -> String {
    format!("podlocal-sidecar {} {}", row.name, row.arguments).trim_end().to_owned()
}

fn shown(flag: &Flag) -> String {
    format!("--{} {}", flag.name, flag.value).trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use podlocal_settings::table;

    #[test]
    fn every_command_and_flag_is_in_the_help_and_none_is_a_setting() {
        let all = help(None);
        for row in COMMANDS {
            assert!(all.contains(&usage(row)) || row.name == "serve", "{} is missing in\n{all}", row.name);
            for flag in row.flags {
                assert!(help(Some(row)).contains(&shown(flag)), "{}", flag.name);
                assert!(table::TABLE.iter().all(|setting| setting.name != flag.name), "{}", flag.name);
            }
        }
        assert!(all.contains("--cache-size") && !help(find("lookup")).contains("--cache-size"));
    }

    #[test]
    fn a_flag_of_two_commands_takes_a_value_in_both_or_in_neither() {
        for flag in COMMANDS.iter().flat_map(|row| row.flags) {
            assert_eq!(find_flag(flag.name).map(|first| first.value), Some(flag.value), "{}", flag.name);
        }
    }
}
