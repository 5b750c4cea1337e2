//! The commands and their flags, as data for the parser, the help, the man page and the completions.

use podlocal_settings::names::{ANNOTATION_PREFIX, INJECT_ENABLED, INJECT_LABEL};
use podlocal_settings::program::{Command, Example, Flag, Kind, Program, Row, SERVE_EXIT_CODES, Section};
use podlocal_settings::table::{self, TABLE};

/// The names of the commands.
#[allow(missing_docs, reason = "the table says what each is")]
pub(crate) mod word {
    pub(crate) const SERVE: &str = "serve";
    pub(crate) const CERT_CONTROLLER: &str = "cert-controller";
    pub(crate) const INJECT: &str = "inject";
    pub(crate) const CHECK: &str = "check";
}

/// All commands; the first one is the default.
pub(crate) const COMMANDS: &[Command] = &[
    Command {
        name: word::SERVE,
        sentence: "answer admission reviews (default)",
        description: &[
            "Runs in the cluster and answers over TLS. Install it with `kubectl apply -k manifests/base`.",
        ],
        examples: &[Example {
            purpose: "Outside the cluster, for development; ca.crt goes into caBundle",
            line: "podlocal-webhook serve --kubeconfig config --cluster-dns 10.96.0.10 --ca-out ca.crt --dns-names host.example",
        }],
        exit_codes: SERVE_EXIT_CODES,
        ..Command::EMPTY
    },
    Command {
        name: word::CERT_CONTROLLER,
        sentence: "renew the certificate of serve, and write its CA into the webhook configuration",
        description: &[
            "Runs in the cluster, next to serve and with its own permissions. It creates and renews the certificate, \
             stores it in a Secret, which must exist, and writes the CA into the webhook configuration. With \
             cert-manager it is not needed.",
        ],
        exit_codes: &[(0, "ended by a signal"), (1, "cannot start")],
        ..Command::EMPTY
    },
    Command {
        name: word::INJECT,
        arguments: "-f FILE|-",
        sentence: "inject YAML documents on disk and print them; reasons go to standard error",
        description: &[
            "Changes YAML or JSON documents as serve changes pods, and prints them. The documents count as opted in \
             unless their label is `disabled`. For each document, standard error has the decision and the reason.",
        ],
        examples: &[
            Example {
                purpose: "The decision about a pod, and the reason",
                line: "podlocal-webhook inject -f pod.yaml --cluster-dns 10.96.0.10",
            },
            Example {
                purpose: "Injection of everything that is applied, without a webhook in the cluster",
                line: "kubectl kustomize . | podlocal-webhook inject -f - --cluster-dns 10.96.0.10 | kubectl apply -f -",
            },
        ],
        exit_codes: &[
            (0, "every document was printed, injected or with a reason"),
            (1, "a document cannot be read"),
        ],
    },
    Command {
        name: word::CHECK,
        arguments: "[-f FILE|-]",
        sentence: "report what would be injected in documents or in a cluster, and why not",
        description: &[
            "Reports which workloads would get the sidecar, which would not and why, what would change in them, which \
             settings are invalid, and how many DNS queries a cold start would save. It changes nothing. It reads \
             documents (-f), or the cluster of KUBECONFIG; for a cluster it also reports whether the webhook is \
             installed and healthy.",
        ],
        examples: &[
            Example {
                purpose: "Documents, before they are applied",
                line: "podlocal-webhook check -f app.yaml",
            },
            Example {
                purpose: "The same, with every change",
                line: "kubectl kustomize . | podlocal-webhook check -f - --verbose",
            },
            Example {
                purpose: "The cluster: the installation and the opted-in workloads",
                line: "podlocal-webhook check",
            },
            Example {
                purpose: "The cluster, before anything is opted in",
                line: "podlocal-webhook check --as-if-enabled",
            },
            Example {
                purpose: "One namespace, in a pipeline",
                line: "podlocal-webhook check -n my-jobs --strict",
            },
        ],
        exit_codes: &[
            (1, "a document or a part of the cluster cannot be read"),
            (3, "with --strict: something is not as requested"),
        ],
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

/// All flags, in the order of the help. A repeatable flag also accepts several values separated by commas.
pub(crate) const FLAGS: &[Flag] = &[
    flag("sidecar-image", "IMAGE", PODS, "The image of the sidecar [ghcr.io/podlocal-dns/sidecar:VERSION]"),
    flags("cluster-dns", "ADDR", PODS, "An address of cluster DNS [from resolv.conf]"),
    flag(
        table::CLUSTER_DOMAIN.name,
        "NAME",
        PODS,
        "The cluster domain [from resolv.conf, otherwise cluster.local]",
    ),
    flags("extra-search", "NAME", PODS, "A search domain of the nodes [from resolv.conf]"),
    flags(table::SHARED_TIER.name, "ADDR", PODS, "An address of the shared tier [serve finds its Service]"),
    flag(
        "resolv-conf",
        "FILE",
        PODS,
        "The resolv.conf of a ClusterFirst pod [/etc/resolv.conf; for a cluster: none]",
    ),
    flag("settings", "FILE", PODS, "Cluster-wide defaults of the settings of pods, in YAML: name: value"),
    flag(
        table::LOG_LEVEL.name,
        "error|warn|info|debug|trace",
        EVERY,
        "The lowest level of logged messages [info]",
    ),
    flag("listen", "ADDR:PORT", SERVE, "The address for reviews over TLS [[::]:8443]"),
    flag("admin-listen", "ADDR:PORT", CERTIFICATE, "The address of /livez, /readyz and /metrics [[::]:8080]"),
    flag("tls-cert", "FILE", SERVE, "The serving certificate, PEM [a self-made one, for tests]"),
    flag("tls-key", "FILE", SERVE, "The key of --tls-cert, PEM"),
    flag(
        "client-ca-file",
        "FILE",
        SERVE,
        "The CA of the API server's client certificate, PEM [no client certificate is required]",
    ),
    flags(
        "client-allowed-names",
        "NAME",
        SERVE,
        "An allowed common name or DNS name in the client certificate [any]",
    ),
    flag("ca-out", "FILE", SERVE, "The file to which the CA of the self-made certificate is written, PEM"),
    flags(
        "dns-names",
        "NAME",
        CERTIFICATE,
        "A name in the certificate [podlocal-dns-webhook.podlocal-dns.svc]",
    ),
    flag(
        "certificate-secret",
        "NAME",
        CERT_CONTROLLER,
        "The Secret with the certificate [podlocal-dns-webhook-certificate]",
    ),
    flag("shutdown-delay", "TIME", SERVE, "How long reviews are still answered after the first signal [0s]"),
    flag(
        "webhook-configuration",
        "NAME",
        CONFIGURATION,
        "The MutatingWebhookConfiguration of the webhook [podlocal-dns-webhook]",
    ),
    flag(
        "kubeconfig",
        "FILE",
        CLUSTER,
        "The kubeconfig for the API server [the service account; check: KUBECONFIG]",
    ),
    flags("file", "FILE", OFFLINE, "Documents, YAML or JSON; - is standard input").with_letter('f'),
    flag(
        "namespace",
        "NAME",
        OFFLINE,
        "The namespace of documents without one [default]; the only namespace of a cluster",
    )
    .with_letter('n'),
    flag(
        "output",
        "yaml|json",
        INJECT,
        "The format of the output; in json, several documents become a List [yaml]",
    )
    .with_letter('o'),
    flag("context", "NAME", CHECK, "The context of the kubeconfig [its current one]"),
    switch("as-if-enabled", CHECK, "Report as if every namespace were opted in"),
    switch("all", CHECK, "For a cluster, list also workloads that are not opted in"),
    switch("verbose", CHECK, "Show every change of every workload, line by line"),
    flag("names", "COUNT", CHECK, "The number of outside names that a pod looks up when it starts [3]"),
    switch("strict", CHECK, "Exit with 3 if something is not as requested"),
    switch("json", CHECK, "Print the report as JSON"),
];

type Words = &'static [&'static str];

const fn flag(name: &'static str, value: &'static str, commands: Words, sentence: &'static str) -> Flag {
    Flag::new(name, value, commands, sentence)
}

/// A repeatable flag.
const fn flags(name: &'static str, value: &'static str, commands: Words, sentence: &'static str) -> Flag {
    flag(name, value, commands, sentence).repeatable()
}

/// A flag without a value.
const fn switch(name: &'static str, commands: Words, sentence: &'static str) -> Flag {
    flag(name, "", commands, sentence)
}

/// The flag with this letter.
pub(crate) fn by_letter(letter: char) -> Option<&'static Flag> {
    FLAGS.iter().find(|flag| flag.short == Some(letter))
}

/// The description of the webhook for its help, man page and completions.
pub fn about() -> Program {
    let settings = TABLE.iter().copied().filter(|setting| setting.is_annotation());
    let mut sections = Section::of_flags(FLAGS, true);
    sections.push(Section {
        title: format!(
            "Pod settings: annotations {ANNOTATION_PREFIX}<name> of a pod or namespace, or lines of --settings"
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
                "It injects podlocal-sidecar(1) into the new pods of namespaces with the label \
                 {INJECT_LABEL}={INJECT_ENABLED}. Install it with `kubectl apply -k manifests/base`."
            ),
            "A default is in brackets. A \"repeatable\" flag may be given several times, or once with commas between the \
             values."
                .to_owned(),
        ],
        commands: COMMANDS,
        sections,
        exit_codes: &[(0, "done"), (64, "invalid arguments or settings; all of them are listed")],
        see_also: &[
            "podlocal-sidecar(1), the sidecar",
            "docs/settings.md: all settings, with the reasons for their defaults",
            "manifests/README.md: what is installed, and why",
            "https://github.com/podlocal-dns/podlocal-dns",
        ],
    }
}

#[cfg(test)]
mod tests;
