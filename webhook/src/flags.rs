//! The flags of the program, as data, and the help.

use podlocal_settings::names::{ANNOTATION_PREFIX, INJECT_ENABLED, INJECT_LABEL};
use podlocal_settings::program::{self, Example, Kind, Program, Row, Section};
use podlocal_settings::table::{self, TABLE};

/// Every command, as data.
pub const COMMANDS: &[program::Command] = &[
    program::Command {
        name: "serve",
        arguments: "",
        sentence: "answer admission reviews; what the program does when no command is given",
    },
    program::Command {
        name: "inject",
        arguments: "-f FILE|-",
        sentence: "do the same to YAML documents on disk and print them; reasons go to standard error",
    },
];

/// One flag, as data.
#[derive(Clone, Copy)]
pub(crate) struct Flag {
    /// The name, without the hyphens.
    pub(crate) name: &'static str,
    /// What stands for the value in the help; words with `|` between them are all that there are.
    value: &'static str,
    /// The letter that stands for it.
    short: Option<char>,
    /// The commands that take it.
    pub(crate) takers: Takers,
    /// Whether it may be given more than once; then a value may also list several with commas.
    pub(crate) may_repeat: bool,
    sentence: &'static str,
}

/// The commands that take a flag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Takers {
    Both,
    Serve,
    Inject,
}

impl Takers {
    /// Their names; empty: every command.
    fn names(self) -> &'static [&'static str] {
        match self {
            Self::Both => &[],
            Self::Serve => &["serve"],
            Self::Inject => &["inject"],
        }
    }
}

/// Every flag, in the order of the help.
pub(crate) const FLAGS: &[Flag] = &[
    flag(
        "sidecar-image",
        "IMAGE",
        Takers::Both,
        "The sidecar's image [ghcr.io/podlocal-dns/sidecar:VERSION]",
    ),
    flags("cluster-dns", "ADDR", Takers::Both, "An address of the cluster's DNS [from resolv.conf]"),
    flag("cluster-domain", "NAME", Takers::Both, "The cluster domain [from resolv.conf, else cluster.local]"),
    flags("extra-search", "NAME", Takers::Both, "A search domain of the nodes [from resolv.conf]"),
    flags(
        table::SHARED_TIER.name,
        "ADDR",
        Takers::Both,
        "An address of the shared tier [serve finds its Service]",
    ),
    flag("resolv-conf", "FILE", Takers::Both, "A resolv.conf of a pod with ClusterFirst [/etc/resolv.conf]"),
    flag("settings", "FILE", Takers::Both, "Cluster-wide defaults of the pods' settings, YAML: name: value"),
    flag(table::LOG_LEVEL.name, "error|warn|info|debug|trace", Takers::Both, "What is logged [info]"),
    flag("listen", "ADDR:PORT", Takers::Serve, "Where reviews are served over TLS [[::]:8443]"),
    flag("admin-listen", "ADDR:PORT", Takers::Serve, "Where /livez, /readyz and /metrics are [[::]:8080]"),
    flag("tls-cert", "FILE", Takers::Serve, "The serving certificate, PEM [one of its own]"),
    flag("tls-key", "FILE", Takers::Serve, "The key of --tls-cert, PEM"),
    flag("ca-out", "FILE", Takers::Serve, "Where the CA of the certificate of its own is written, PEM"),
    flags("dns-names", "NAME", Takers::Serve, "A name in it [podlocal-dns-webhook.podlocal-dns.svc]"),
    flag(
        "certificate-secret",
        "NAME",
        Takers::Serve,
        "The Secret that keeps it [podlocal-dns-webhook-certificate]",
    ),
    flag(
        "webhook-configuration",
        "NAME",
        Takers::Serve,
        "The configuration that trusts it [podlocal-dns-webhook]",
    ),
    flag("kubeconfig", "FILE", Takers::Serve, "How to reach the API server [the pod's service account]"),
    flag(
        "shutdown-delay",
        "TIME",
        Takers::Serve,
        "How long reviews are still taken after the first signal [0s]",
    ),
    short('f', flags("file", "FILE", Takers::Inject, "Documents to inject; - is standard input")),
    short(
        'o',
        flag(
            "output",
            "yaml|json",
            Takers::Inject,
            "How they are printed; as json, several become a List [yaml]",
        ),
    ),
    flag("namespace", "NAME", Takers::Inject, "The namespace of documents that name none [default]"),
];

const fn flag(name: &'static str, value: &'static str, takers: Takers, sentence: &'static str) -> Flag {
    Flag { name, value, short: None, takers, may_repeat: false, sentence }
}

/// A flag that may be repeated, and whose value may list several with commas.
const fn flags(name: &'static str, value: &'static str, takers: Takers, sentence: &'static str) -> Flag {
    Flag { name, value, short: None, takers, may_repeat: true, sentence }
}

const fn short(letter: char, flag: Flag) -> Flag {
    Flag { short: Some(letter), ..flag }
}

/// The flag that a letter stands for.
pub(crate) fn by_letter(letter: char) -> Option<&'static Flag> {
    FLAGS.iter().find(|flag| flag.short == Some(letter))
}

/// The webhook, for its help, its man page and its completions.
pub fn about() -> Program {
    let flags = |title: &str, takers: Takers| Section {
        title: title.to_owned(),
        kind: Kind::Flags,
        is_brief: true,
        rows: FLAGS.iter().filter(|flag| flag.takers == takers).map(row).collect(),
    };
    let settings = TABLE.iter().copied().filter(|setting| setting.is_annotation());
    Program {
        name: "podlocal-webhook",
        version: env!("CARGO_PKG_VERSION"),
        sentence: "the admission webhook of PodLocal DNS",
        description: vec![
            format!(
                "It injects podlocal-sidecar(1) into the new pods of namespaces that are labelled \
                 {INJECT_LABEL}={INJECT_ENABLED}. It is installed by manifests: `kubectl apply -k manifests/base`."
            ),
            "A default in brackets holds when a flag is not given. A flag that is \"repeatable\" adds up, and takes \
             several values with commas between them, too."
                .to_owned(),
        ],
        commands: COMMANDS,
        sections: vec![
            flags("Flags of every command", Takers::Both),
            flags("Flags of serve", Takers::Serve),
            flags("Flags of inject", Takers::Inject),
            Section {
                title: format!(
                    "Settings of pods: annotations {ANNOTATION_PREFIX}<name> of a pod or namespace, or lines of \
                     --settings"
                ),
                kind: Kind::Names,
                is_brief: false,
                rows: settings.map(Row::of_setting).collect(),
            },
        ],
        examples: &[
            Example {
                purpose: "What would become of a pod, and why",
                line: "podlocal-webhook inject -f pod.yaml --cluster-dns 10.96.0.10",
            },
            Example {
                purpose: "The same to whatever is on its way to the cluster",
                line: "kubectl kustomize . | podlocal-webhook inject -f - --cluster-dns 10.96.0.10 | kubectl apply -f -",
            },
            Example {
                purpose: "Beside a cluster, from outside",
                line: "podlocal-webhook serve --kubeconfig config --cluster-dns 10.96.0.10 --listen 0.0.0.0:8443",
            },
        ],
        exit_codes: &[
            (0, "done: a drained SIGTERM; `inject`: every document is printed, injected or with its reason"),
            (1, "cannot start, or a document cannot be read"),
            (2, "a second signal cut the drain"),
            (64, "bad arguments or settings, all of them named"),
        ],
        see_also: &[
            "podlocal-sidecar(1), which it injects",
            "docs/settings.md: every setting with the reason for its default",
            "manifests/README.md: what is installed and why",
            "https://github.com/podlocal-dns/podlocal-dns",
        ],
    }
}

fn row(flag: &Flag) -> Row {
    Row {
        name: flag.name,
        short: flag.short,
        value: flag.value.to_owned(),
        may_repeat: flag.may_repeat,
        remark: String::new(),
        sentence: flag.sentence,
        commands: flag.takers.names(),
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use podlocal_settings::program::Length;

    use super::*;
    use crate::config;

    #[test]
    fn every_flag_is_one_of_the_program() {
        let program = about();
        let names: Vec<_> = program.flags().map(|row| row.name).collect();
        assert!(FLAGS.iter().all(|flag| names.contains(&flag.name)) && names.len() == FLAGS.len());
        let help = program.help(Length::Whole);
        assert!(
            TABLE.iter().filter(|setting| setting.is_annotation()).all(|setting| help.contains(setting.name))
        );
    }

    #[test]
    fn the_levels_of_the_log_are_those_of_the_setting() {
        let level = FLAGS.iter().find(|flag| flag.name == table::LOG_LEVEL.name).expect("a flag");
        assert_eq!(Some(level.value.split('|').collect()), table::LOG_LEVEL.choices());
    }

    #[test]
    fn every_command_and_example_is_taken_by_the_program() {
        let program = about();
        let examples = program.examples.iter().map(|example| example.line);
        let commands: Vec<_> = COMMANDS
            .iter()
            .map(|command| format!("podlocal-webhook {} {}", command.name, command.arguments))
            .collect();
        for line in examples.chain(commands.iter().map(String::as_str)) {
            let (_, arguments) = line.split_once("podlocal-webhook ").expect("the program");
            let arguments = arguments.split(" | ").next().unwrap_or_default().split_whitespace();
            assert!(config::parse(arguments.map(OsString::from), |_| Ok(String::new())).is_ok(), "{line}");
        }
    }
}
