//! The commands, as data for the parser, the help, the man page and the completions. Their flags are the settings.

use podlocal_settings::program::{Command, Example, SERVE_EXIT_CODES};

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
];
