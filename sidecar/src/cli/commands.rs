//! The commands and their flags, as data for the parser, the help, the man page and the completions.

use podlocal_settings::program::{Command, Example, Flag, SERVE_EXIT_CODES};

/// The names of the flags of `lookup` and `stats`.
#[allow(missing_docs, reason = "the table FLAGS describes them")]
pub mod flag {
    pub const TRACE: &str = "trace";
    pub const JSON: &str = "json";
    pub const RESOLV_CONF: &str = "resolv-conf";
    pub const WATCH: &str = "watch";
    pub const NAMES: &str = "names";
}

const LOOKUP: &str = "lookup";
const STATS: &str = "stats";

/// Every command; the first one is the default.
pub const COMMANDS: &[Command] = &[
    Command {
        name: "serve",
        sentence: "run the proxy (default)",
        examples: &[
            Example {
                purpose: "By hand, before a DNS server; then: dig @127.0.0.1 -p 5380 example.com",
                line: "podlocal-sidecar --listen 127.0.0.1:5380 --upstream 10.96.0.10",
            },
            Example {
                purpose: "A shared tier: one cache for the sidecars of many pods",
                line: "podlocal-sidecar serve --role shared --upstream 10.96.0.10",
            },
        ],
        exit_codes: SERVE_EXIT_CODES,
        ..Command::EMPTY
    },
    Command {
        name: "supervise",
        sentence: "run the proxy in a child process, and restart it after a crash",
        description: &[
            "The container of a pod runs this command. After a crash the proxy is restarted within milliseconds, up to \
             five times in a minute. Then the program exits, and the kubelet restarts the container with its back-off. \
             The flags and variables are those of serve.",
        ],
        exit_codes: SERVE_EXIT_CODES,
        ..Command::EMPTY
    },
    Command {
        name: "await",
        sentence: "wait until the proxy is ready, for ready-timeout at most",
        description: &[
            "It holds the other containers of a pod back at startup. It always succeeds: a DNS outage must not prevent a pod from starting.",
        ],
        exit_codes: &[(0, "always: the pod starts even if the proxy is not ready")],
        ..Command::EMPTY
    },
    Command {
        name: "health",
        sentence: "tell whether the proxy is ready",
        examples: &[Example {
            purpose: "Whether the sidecar of a pod is ready, and why not",
            line: "kubectl exec POD -c podlocal-dns -- /podlocal-sidecar health",
        }],
        exit_codes: &[(0, "the proxy is ready"), (1, "the proxy is not ready")],
        ..Command::EMPTY
    },
    Command {
        name: LOOKUP,
        arguments: "NAME [TYPE]",
        max_arguments: 2,
        sentence: "show how a name is resolved in this pod, and where the answer comes from",
        description: &[
            "Sends the queries of a C library to the running proxy, which it finds by admin-port: the name as it stands, \
             first or last according to ndots, and the name below each domain of the search list, until one exists. \
             Without TYPE it queries A and AAAA. The queries are real: they are counted, they fill the cache, and the \
             proxy sends them upstream if the cache has no answer.",
        ],
        examples: &[
            Example {
                purpose: "In a pod: how a Service of its namespace is resolved",
                line: "kubectl exec POD -c podlocal-dns -- /podlocal-sidecar lookup db",
            },
            Example {
                purpose: "Every step of a lookup, with its time",
                line: "podlocal-sidecar lookup api.example.com. --trace",
            },
            Example {
                purpose: "One type, as JSON",
                line: "podlocal-sidecar lookup _grpc._tcp.db.prod.svc.cluster.local SRV --json",
            },
        ],
        exit_codes: &[
            (0, "the name exists"),
            (1, "the proxy cannot be reached"),
            (2, "the name does not exist, or the lookup failed"),
        ],
    },
    Command {
        name: STATS,
        sentence: "show the counters and the state of the proxy on one page",
        description: &["Queries the running proxy, which it finds by admin-port."],
        examples: &[
            Example {
                purpose: "In a pod: the counters of its sidecar, and the most frequent names",
                line: "kubectl exec POD -c podlocal-dns -- /podlocal-sidecar stats --names",
            },
            Example {
                purpose: "A line of JSON every two seconds",
                line: "podlocal-sidecar stats --watch --json",
            },
        ],
        exit_codes: &[(1, "the proxy cannot be reached")],
        ..Command::EMPTY
    },
];

/// Every flag that is not a setting.
pub const FLAGS: &[Flag] = &[
    Flag::new(flag::JSON, "", &[LOOKUP, STATS], "Print a JSON document; with `stats --watch` one per line"),
    Flag::new(flag::TRACE, "", &[LOOKUP], "Show every step with its time: cache, rules, attempts at servers"),
    Flag::new(
        flag::RESOLV_CONF,
        "FILE",
        &[LOOKUP],
        "Read the search list and ndots from this file [/etc/resolv.conf]",
    ),
    Flag::new(flag::WATCH, "", &[STATS], "Refresh the page every two seconds, until interrupted"),
    Flag::new(
        flag::NAMES,
        "",
        &[STATS],
        "Show the most frequent names; the proxy counts them from the first request until ten minutes after the last",
    ),
];

/// The flag with this name, without the dashes.
pub(super) fn find_flag(name: &str) -> Option<&'static Flag> {
    FLAGS.iter().find(|flag| flag.name == name)
}

#[cfg(test)]
mod tests {
    use podlocal_settings::{program, table};

    use super::*;

    #[test]
    fn flags_belong_to_existing_commands_and_differ_from_settings() {
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
