//! The commands and their flags, as data, and the program as people meet it.

use podlocal_settings::names::{ANNOTATION_PREFIX, INJECT_ENABLED, INJECT_LABEL};
use podlocal_settings::program::{Command, Example, Flag, Kind, Program, Row, SERVE_EXIT_CODES, Section};
use podlocal_settings::table::{self, TABLE};

/// The words of the commands, by which they are found again.
#[allow(missing_docs, reason = "the table says what each is")]
pub mod word {
    pub const SERVE: &str = "serve";
    pub const CERT_CONTROLLER: &str = "cert-controller";
    pub const INJECT: &str = "inject";
    pub const CHECK: &str = "check";
}

/// Every command; the first is what the program does without one.
pub const COMMANDS: &[Command] = &[
    Command {
        name: word::SERVE,
        sentence: "answer admission reviews; what the program does when no command is given",
        description: &["Runs in the cluster and answers over TLS: `kubectl apply -k manifests/base`."],
        examples: &[Example {
            purpose: "Beside a cluster, from outside, while you change it; ca.crt goes into caBundle",
            line: "podlocal-webhook serve --kubeconfig config --cluster-dns 10.96.0.10 --ca-out ca.crt --dns-names host.example",
        }],
        exit_codes: SERVE_EXIT_CODES,
        ..Command::EMPTY
    },
    Command {
        name: word::CERT_CONTROLLER,
        sentence: "keep the certificate that serve is given, and write its CA into the webhook configuration",
        description: &[
            "Runs in the cluster, beside serve and with rights of its own. It makes the certificate, renews it, keeps \
             it in a Secret, which must be there, and writes the CA into the webhook configuration. Not needed where \
             cert-manager does that.",
        ],
        exit_codes: &[(0, "a signal ended it"), (1, "it cannot start")],
        ..Command::EMPTY
    },
    Command {
        name: word::INJECT,
        arguments: "-f FILE|-",
        sentence: "do the same to YAML documents on disk and print them; reasons go to standard error",
        description: &[
            "Does to YAML or JSON documents what serve does to pods, and prints them. The documents count as opted in \
             unless they say `disabled`; what was done with each and why stands on standard error.",
        ],
        examples: &[
            Example {
                purpose: "What would become of a pod, and why",
                line: "podlocal-webhook inject -f pod.yaml --cluster-dns 10.96.0.10",
            },
            Example {
                purpose: "The same to whatever is on its way to the cluster, without a webhook",
                line: "kubectl kustomize . | podlocal-webhook inject -f - --cluster-dns 10.96.0.10 | kubectl apply -f -",
            },
        ],
        exit_codes: &[
            (0, "every document is printed, injected or with its reason"),
            (1, "a document cannot be read"),
        ],
        ..Command::EMPTY
    },
    Command {
        name: word::CHECK,
        arguments: "[-f FILE|-]",
        sentence: "say what it would do to documents, or to a cluster, and why",
        description: &[
            "Says which workloads would get the proxy, which would not and why, what would change in them, which \
             settings are wrong, and how many DNS queries a cold start would save. Changes nothing. It looks at \
             documents (-f), or at the cluster of KUBECONFIG; there it also says whether the webhook is installed and \
             well.",
        ],
        examples: &[
            Example {
                purpose: "These documents, before they are applied",
                line: "podlocal-webhook check -f app.yaml",
            },
            Example {
                purpose: "The same, with every change",
                line: "kubectl kustomize . | podlocal-webhook check -f - --verbose",
            },
            Example {
                purpose: "The cluster: installation, opted-in workloads",
                line: "podlocal-webhook check",
            },
            Example {
                purpose: "Before anything is opted in",
                line: "podlocal-webhook check --as-if-enabled",
            },
            Example {
                purpose: "One namespace; in a pipeline",
                line: "podlocal-webhook check -n my-jobs --strict",
            },
        ],
        exit_codes: &[
            (1, "a document or the cluster cannot be read as a whole"),
            (3, "with --strict: something is not as it was asked for"),
        ],
        ..Command::EMPTY
    },
];

const EVERY: &[&str] = &[];
const SERVE: &[&str] = &[word::SERVE];
const CERTIFICATE: &[&str] = &[word::SERVE, word::CERT_CONTROLLER];
const CERT_CONTROLLER: &[&str] = &[word::CERT_CONTROLLER];
const CONFIGURATION: &[&str] = &[word::CERT_CONTROLLER, word::CHECK];
const CLUSTER: &[&str] = &[word::SERVE, word::CERT_CONTROLLER, word::CHECK];
const PODS: &[&str] = &[word::SERVE, word::INJECT, word::CHECK];
const INJECT: &[&str] = &[word::INJECT];
const OFFLINE: &[&str] = &[word::INJECT, word::CHECK];
const CHECK: &[&str] = &[word::CHECK];

/// Every flag, in the order of the help. One that may be repeated takes several values with commas between them, too.
pub(crate) const FLAGS: &[Flag] = &[
    flag("sidecar-image", "IMAGE", PODS, "The sidecar's image [ghcr.io/podlocal-dns/sidecar:VERSION]"),
    flags("cluster-dns", "ADDR", PODS, "An address of the cluster's DNS [from resolv.conf]"),
    flag("cluster-domain", "NAME", PODS, "The cluster domain [from resolv.conf, else cluster.local]"),
    flags("extra-search", "NAME", PODS, "A search domain of the nodes [from resolv.conf]"),
    flags(table::SHARED_TIER.name, "ADDR", PODS, "An address of the shared tier [serve finds its Service]"),
    flag(
        "resolv-conf",
        "FILE",
        PODS,
        "A ClusterFirst pod's resolv.conf [/etc/resolv.conf; of a cluster: none]",
    ),
    flag("settings", "FILE", PODS, "Cluster-wide defaults of the pods' settings, YAML: name: value"),
    flag(table::LOG_LEVEL.name, "error|warn|info|debug|trace", EVERY, "What is logged [info]"),
    flag("listen", "ADDR:PORT", SERVE, "Where reviews are served over TLS [[::]:8443]"),
    flag("admin-listen", "ADDR:PORT", CERTIFICATE, "Where /livez, /readyz and /metrics are [[::]:8080]"),
    flag("tls-cert", "FILE", SERVE, "The serving certificate, PEM [one of its own, for trying]"),
    flag("tls-key", "FILE", SERVE, "The key of --tls-cert, PEM"),
    flag(
        "client-ca-file",
        "FILE",
        SERVE,
        "The CA of the API server's client certificate, PEM [anyone may call]",
    ),
    flags("client-allowed-names", "NAME", SERVE, "A common or DNS name in it [any]"),
    flag("ca-out", "FILE", SERVE, "Where the CA of the certificate of its own is written, PEM"),
    flags("dns-names", "NAME", CERTIFICATE, "A name in it [podlocal-dns-webhook.podlocal-dns.svc]"),
    flag(
        "certificate-secret",
        "NAME",
        CERT_CONTROLLER,
        "The Secret that keeps the certificate [podlocal-dns-webhook-certificate]",
    ),
    flag("shutdown-delay", "TIME", SERVE, "How long reviews are still taken after the first signal [0s]"),
    flag(
        "webhook-configuration",
        "NAME",
        CONFIGURATION,
        "The MutatingWebhookConfiguration that sends us pods [podlocal-dns-webhook]",
    ),
    flag(
        "kubeconfig",
        "FILE",
        CLUSTER,
        "How to reach the API server [the service account; check: KUBECONFIG]",
    ),
    flags("file", "FILE", OFFLINE, "Documents, YAML or JSON; - is standard input").with_letter('f'),
    flag("namespace", "NAME", OFFLINE, "Of documents that name none [default]; of a cluster the only one")
        .with_letter('n'),
    flag("output", "yaml|json", INJECT, "How they are printed; as json, several become a List [yaml]")
        .with_letter('o'),
    flag("context", "NAME", CHECK, "The context of the kubeconfig [its current one]"),
    switch("as-if-enabled", CHECK, "As if every namespace were opted in: what would happen then?"),
    switch("all", CHECK, "List what is not opted in, too, where a cluster is looked at"),
    switch("verbose", CHECK, "Show every change of every workload, line by line"),
    flag("names", "COUNT", CHECK, "How many outside names a pod looks up when it starts [3]"),
    switch("strict", CHECK, "Exit with 3 where something is not as it was asked for"),
    switch("json", CHECK, "Print all of it as JSON"),
];

type Words = &'static [&'static str];

const fn flag(name: &'static str, value: &'static str, commands: Words, sentence: &'static str) -> Flag {
    Flag::new(name, value, commands, sentence)
}

/// A flag that may be repeated.
const fn flags(name: &'static str, value: &'static str, commands: Words, sentence: &'static str) -> Flag {
    flag(name, value, commands, sentence).repeatable()
}

/// A flag without a value.
const fn switch(name: &'static str, commands: Words, sentence: &'static str) -> Flag {
    flag(name, "", commands, sentence)
}

/// The flag that a letter stands for.
pub(crate) fn by_letter(letter: char) -> Option<&'static Flag> {
    FLAGS.iter().find(|flag| flag.short == Some(letter))
}

/// The webhook, for its help, its man page and its completions.
pub fn about() -> Program {
    let settings = TABLE.iter().copied().filter(|setting| setting.is_annotation());
    let mut sections = Section::of_flags(FLAGS, true);
    sections.push(Section {
        title: format!(
            "Settings of pods: annotations {ANNOTATION_PREFIX}<name> of a pod or namespace, or lines of --settings"
        ),
        kind: Kind::Names,
        is_brief: false,
        rows: settings.map(Row::of_setting).collect(),
    });
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
        sections,
        exit_codes: &[(0, "done"), (64, "bad arguments or settings, all of them named")],
        see_also: &[
            "podlocal-sidecar(1), which it injects",
            "docs/settings.md: every setting with the reason for its default",
            "manifests/README.md: what is installed and why",
            "https://github.com/podlocal-dns/podlocal-dns",
        ],
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
        let examples = program.examples().map(|example| example.line.to_owned());
        let commands = COMMANDS
            .iter()
            .map(|command| format!("podlocal-webhook {}", command.usage().replace(['[', ']'], "")));
        for line in examples.chain(commands) {
            let (_, arguments) = line.split_once("podlocal-webhook").expect("the program");
            let arguments = arguments.split(" | ").next().unwrap_or_default().split_whitespace();
            assert!(config::parse(arguments.map(OsString::from), |_| Ok(String::new())).is_ok(), "{line}");
        }
    }

    #[test]
    fn the_help_of_a_command_names_its_flags_and_no_others_and_its_examples_use_its_flags() {
        for command in COMMANDS {
            let help = about().help_of(command, Length::Whole);
            for flag in FLAGS {
                let is_listed = help.contains(&format!("--{} ", flag.name));
                assert!(!is_listed || flag.is_for(command.name), "{} --{}", command.name, flag.name);
                let begin = flag.short.map_or_else(|| "\n  ".to_owned(), |letter| format!("\n  -{letter}, "));
                let row = format!("{begin}--{} {}", flag.name, flag.value);
                assert_eq!(
                    help.contains(&row),
                    flag.is_for(command.name),
                    "{} --{}",
                    command.name,
                    flag.name
                );
            }
        }
    }
}
