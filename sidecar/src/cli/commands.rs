//! The commands and their flags, as data: arguments are read, help, man page and completions written by them.

use podlocal_settings::program::{Command, Example, Flag, SERVE_EXIT_CODES};

/// Flags of `lookup` and `stats`, by which they are found again.
#[allow(missing_docs, reason = "the table says what each is")]
pub mod flag {
    pub const TRACE: &str = "trace";
    pub const JSON: &str = "json";
    pub const RESOLV_CONF: &str = "resolv-conf";
    pub const WATCH: &str = "watch";
    pub const NAMES: &str = "names";
}

const LOOKUP: &str = "lookup";
const STATS: &str = "stats";

/// Every command; the first is what the program does without one.
pub const COMMANDS: &[Command] = &[
    Command {
        name: "serve",
        sentence: "be the proxy; what the program does when no command is given",
        examples: &[
            Example {
                purpose: "By hand, in front of a DNS server; then: dig @127.0.0.1 -p 5380 example.com",
                line: "podlocal-sidecar --listen 127.0.0.1:5380 --upstream 10.96.0.10",
            },
            Example {
                purpose: "One cache for the proxies of many pods",
                line: "podlocal-sidecar serve --role shared --upstream 10.96.0.10",
            },
        ],
        exit_codes: SERVE_EXIT_CODES,
        ..Command::EMPTY
    },
    Command {
        name: "supervise",
        sentence: "be the proxy in a child process, and start that again when it crashes",
        description: &[
            "It is what runs in a pod. A proxy that crashes is started again within milliseconds, five times in a \
             minute; then the program ends, and the kubelet starts the container again, later each time. It takes the \
             same flags and variables as serve.",
        ],
        exit_codes: SERVE_EXIT_CODES,
        ..Command::EMPTY
    },
    Command {
        name: "await",
        sentence: "wait until the proxy is ready, at most ready-timeout",
        description: &["It is the start gate of a pod: a DNS outage must not keep a pod from starting."],
        exit_codes: &[(0, "always, a pod starts without the proxy, too")],
        ..Command::EMPTY
    },
    Command {
        name: "health",
        sentence: "exit 0 when the proxy is ready, 1 when not",
        examples: &[Example {
            purpose: "Whether the proxy of a pod is ready, and what is missing when it is not",
            line: "kubectl exec POD -c podlocal-dns -- /podlocal-sidecar health",
        }],
        exit_codes: &[(0, "the proxy is ready"), (1, "the proxy is not ready")],
        ..Command::EMPTY
    },
    Command {
        name: LOOKUP,
        arguments: "NAME [TYPE]",
        most_arguments: 2,
        sentence: "show how a name is resolved in this pod, and who answers",
        description: &[
            "The running proxy, which admin-port tells, is asked what a C library would ask: without TYPE for A and \
             AAAA, first or last as it is according to ndots, and below each domain of the search list, until one \
             exists. The queries are real: they are counted, they fill the cache, and the upstream is asked where the \
             cache does not know.",
        ],
        examples: &[
            Example {
                purpose: "In a pod: how a Service of its namespace is found",
                line: "kubectl exec POD -c podlocal-dns -- /podlocal-sidecar lookup db",
            },
            Example {
                purpose: "Every step of a look-up, and how long each took",
                line: "podlocal-sidecar lookup api.example.com. --trace",
            },
            Example {
                purpose: "One type, for a machine",
                line: "podlocal-sidecar lookup _grpc._tcp.db.prod.svc.cluster.local SRV --json",
            },
        ],
        exit_codes: &[
            (0, "the name exists"),
            (1, "the proxy cannot be asked"),
            (2, "the name does not exist, or the answer failed"),
        ],
    },
    Command {
        name: STATS,
        sentence: "show one page of what the proxy has done, and how it is",
        description: &["It asks the running proxy, which admin-port tells."],
        examples: &[
            Example {
                purpose: "In a pod: what its proxy has done, and the most frequent names",
                line: "kubectl exec POD -c podlocal-dns -- /podlocal-sidecar stats --names",
            },
            Example {
                purpose: "One line of JSON every two seconds",
                line: "podlocal-sidecar stats --watch --json",
            },
        ],
        exit_codes: &[(1, "the proxy cannot be asked")],
        ..Command::EMPTY
    },
];

/// Every flag that is not a setting.
pub const FLAGS: &[Flag] = &[
    Flag::new(
        flag::JSON,
        "",
        &[LOOKUP, STATS],
        "Print one JSON document; of `stats --watch` one for each line",
    ),
    Flag::new(
        flag::TRACE,
        "",
        &[LOOKUP],
        "Show every step with its time: what was looked at, whom the proxy asked",
    ),
    Flag::new(
        flag::RESOLV_CONF,
        "FILE",
        &[LOOKUP],
        "Take search list and ndots from this file [/etc/resolv.conf]",
    ),
    Flag::new(flag::WATCH, "", &[STATS], "Show it anew every two seconds, until interrupted"),
    Flag::new(
        flag::NAMES,
        "",
        &[STATS],
        "Show the most frequent names; they are counted from the first time on that somebody asks, until ten minutes \
         after the last",
    ),
];

/// The flag of that name.
pub(super) fn find_flag(name: &str) -> Option<&'static Flag> {
    FLAGS.iter().find(|flag| flag.name == name)
}

#[cfg(test)]
mod tests {
    use podlocal_settings::{program, table};

    use super::*;

    #[test]
    fn a_flag_is_of_commands_that_there_are_and_no_setting() {
        for flag in FLAGS {
            assert!(
                flag.commands.iter().all(|name| program::find(COMMANDS, name).is_some()),
                "{}",
                flag.name
            );
            assert!(table::TABLE.iter().all(|setting| setting.name != flag.name), "{}", flag.name);
            assert_eq!(FLAGS.iter().filter(|other| other.name == flag.name).count(), 1, "{}", flag.name);
        }
    }
}
