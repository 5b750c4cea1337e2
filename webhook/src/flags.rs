//! The flags of the program, as data, and the help.

use podlocal_settings::page;
use podlocal_settings::table::{self, Setting};

/// One flag, as data.
pub(crate) struct Flag {
    /// The name, without the hyphens.
    pub(crate) name: &'static str,
    /// What stands for the value in the help; empty where it takes none.
    pub(crate) value: &'static str,
    /// The commands that take it.
    pub(crate) takers: &'static [Word],
    /// Whether it may be given more than once; then a value may also list several with commas.
    pub(crate) may_repeat: bool,
    sentence: &'static str,
}

/// A command, by its word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "each is the command of that name")]
pub enum Word {
    Serve,
    Inject,
    Check,
}

const EVERY: &[Word] = &Word::ALL;
const SERVE: &[Word] = &[Word::Serve];
const CLUSTER: &[Word] = &[Word::Serve, Word::Check];
const INJECT: &[Word] = &[Word::Inject];
const OFFLINE: &[Word] = &[Word::Inject, Word::Check];
const CHECK: &[Word] = &[Word::Check];

/// Every flag, in the order of the help.
pub(crate) const FLAGS: &[Flag] = &[
    flag("sidecar-image", "IMAGE", EVERY, "The sidecar's image [ghcr.io/podlocal-dns/sidecar:VERSION]"),
    flags("cluster-dns", "ADDR", EVERY, "An address of the cluster's DNS [from resolv.conf]"),
    flag("cluster-domain", "NAME", EVERY, "The cluster domain [from resolv.conf, else cluster.local]"),
    flags("extra-search", "NAME", EVERY, "A search domain of the nodes [from resolv.conf]"),
    flags(table::SHARED_TIER.name, "ADDR", EVERY, "An address of the shared tier [serve finds its Service]"),
    flag(
        "resolv-conf",
        "FILE",
        EVERY,
        "A ClusterFirst pod's resolv.conf [/etc/resolv.conf; of a cluster: none]",
    ),
    flag("settings", "FILE", EVERY, "Cluster-wide defaults of the pods' settings, YAML: name: value"),
    flag(table::LOG_LEVEL.name, "LEVEL", EVERY, "error, warn, info, debug or trace [info]"),
    flag("listen", "ADDR:PORT", SERVE, "Where reviews are served over TLS [[::]:8443]"),
    flag("admin-listen", "ADDR:PORT", SERVE, "Where /livez, /readyz and /metrics are [[::]:8080]"),
    flag("tls-cert", "FILE", SERVE, "The serving certificate, PEM [one of its own]"),
    flag("tls-key", "FILE", SERVE, "The key of --tls-cert, PEM"),
    flag("ca-out", "FILE", SERVE, "Where the CA of the certificate of its own is written, PEM"),
    flags("dns-names", "NAME", SERVE, "A name in it [podlocal-dns-webhook.podlocal-dns.svc]"),
    flag("certificate-secret", "NAME", SERVE, "The Secret that keeps it [podlocal-dns-webhook-certificate]"),
    flag(
        "webhook-configuration",
        "NAME",
        CLUSTER,
        "The MutatingWebhookConfiguration that sends us pods [podlocal-dns-webhook]",
    ),
    flag(
        "kubeconfig",
        "FILE",
        CLUSTER,
        "How to reach the API server [the service account; check: KUBECONFIG]",
    ),
    flag("shutdown-delay", "TIME", SERVE, "How long reviews are still taken after the first signal [0s]"),
    flags("file", "FILE", OFFLINE, "Documents, YAML or JSON; - is standard input; also -f"),
    flag(
        "namespace",
        "NAME",
        OFFLINE,
        "Of documents that name none [default]; of a cluster the only one; also -n",
    ),
    flag("output", "FORMAT", INJECT, "yaml, or json: several documents become a List; also -o [yaml]"),
    flag("context", "NAME", CHECK, "The context of the kubeconfig [its current one]"),
    switch("as-if-enabled", CHECK, "As if every namespace were opted in: what would happen then?"),
    switch("all", CHECK, "List what is not opted in, too, where a cluster is looked at"),
    switch("verbose", CHECK, "Show every change of every workload, line by line"),
    flag("names", "COUNT", CHECK, "How many outside names a pod looks up when it starts [3]"),
    switch("strict", CHECK, "Exit with 3 where something is not as it was asked for"),
    switch("json", CHECK, "Print all of it as JSON"),
];

const fn flag(
    name: &'static str,
    value: &'static str,
    takers: &'static [Word],
    sentence: &'static str,
) -> Flag {
    Flag { name, value, takers, may_repeat: false, sentence }
}

/// A flag that may be repeated, and whose value may list several with commas.
const fn flags(
    name: &'static str,
    value: &'static str,
    takers: &'static [Word],
    sentence: &'static str,
) -> Flag {
    Flag { name, value, takers, may_repeat: true, sentence }
}

/// A flag without a value.
const fn switch(name: &'static str, takers: &'static [Word], sentence: &'static str) -> Flag {
    Flag { name, value: "", takers, may_repeat: false, sentence }
}

impl Word {
    /// Every command.
    pub const ALL: [Self; 3] = [Self::Serve, Self::Inject, Self::Check];

    /// The word of the command line.
    pub fn text(self) -> &'static str {
        match self {
            Self::Serve => "serve",
            Self::Inject => "inject",
            Self::Check => "check",
        }
    }

    /// What the command is for.
    fn purpose(self) -> &'static str {
        match self {
            Self::Serve => {
                "Answers admission reviews over TLS. Runs in the cluster: `kubectl apply -k manifests/base`."
            }
            Self::Inject => {
                "Does to YAML or JSON documents what serve does to pods, and prints them. The documents count as opted in\n\
                 unless they say `disabled`; what was done with each and why stands on standard error."
            }
            Self::Check => {
                "Says which workloads would get the proxy, which would not and why, what would change in them, which\n\
                 settings are wrong, and how many DNS queries a cold start would save. Changes nothing. It looks at documents\n\
                 (-f), or at the cluster of KUBECONFIG; there it also says whether the webhook is installed and well."
            }
        }
    }

    /// How it is called, with what for.
    fn examples(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Serve => {
                &[("podlocal-webhook serve --kubeconfig FILE", "beside a cluster, while you change it")]
            }
            Self::Inject => &[
                ("podlocal-webhook inject -f pod.yaml --cluster-dns 10.96.0.10", "what a pod would become"),
                ("podlocal-webhook inject -f - -o json <app.yaml | kubectl apply -f -", "without a webhook"),
            ],
            Self::Check => &[
                ("podlocal-webhook check -f app.yaml", "these documents, before they are applied"),
                (
                    "kubectl kustomize . | podlocal-webhook check -f - --verbose",
                    "the same, with every change",
                ),
                ("podlocal-webhook check", "the cluster: installation, opted-in workloads"),
                ("podlocal-webhook check --as-if-enabled", "before anything is opted in"),
                ("podlocal-webhook check -n my-jobs --strict", "one namespace; in a pipeline"),
            ],
        }
    }
}

/// The text of `--help`; of one command, where it is asked for behind its word.
pub fn help(word: Option<Word>) -> String {
    match word {
        Some(word) => help_of(word),
        None => overview(),
    }
}

fn overview() -> String {
    let takers = [EVERY, SERVE, CLUSTER, INJECT, OFFLINE, CHECK];
    let sections: String =
        takers.into_iter().map(|takers| section(takers, |flag| flag.takers == takers)).collect();
    // The table prints them as flags, which they are for the sidecar.
    let settings = page::help(Setting::is_annotation).replace("  --", "  ");
    format!(
        "The admission webhook of PodLocal DNS.\n\n\
         podlocal-webhook [serve] [FLAGS]           answer admission reviews\n\
         podlocal-webhook inject -f FILE|- [FLAGS]  the same to YAML documents on disk\n\
         podlocal-webhook check [-f FILE|-] [FLAGS] say what it would do to documents, or to a cluster, and why\n\n\
         `podlocal-webhook COMMAND --help` tells of one command, with examples.\n{sections}\n\
         Settings of pods: annotations {}<name> of a pod or namespace, or lines of --settings\n{settings}\n{EXIT_CODES}",
        podlocal_settings::names::ANNOTATION_PREFIX,
    )
}

fn help_of(word: Word) -> String {
    let examples = word.examples().iter().map(|(command, what)| format!("  # {what}\n  {command}\n"));
    format!(
        "podlocal-webhook {}\n\n{}\n\nExamples:\n{}{}\n{EXIT_CODES}",
        word.text(),
        word.purpose(),
        examples.collect::<String>(),
        section(&[word], |flag| flag.takers.contains(&word)),
    )
}

const EXIT_CODES: &str = "Exit codes: 0 done, 1 cannot start or read, 2 a second signal cut the drain,\n\
                          3 check --strict has found something, 64 bad settings\n";

fn section(takers: &[Word], wanted: impl Fn(&Flag) -> bool) -> String {
    let words: Vec<_> = takers.iter().map(|word| word.text()).collect();
    let whose = if takers == EVERY { "every command".to_owned() } else { words.join(" and ") };
    let mut text = format!("\nFlags of {whose}:\n");
    for flag in FLAGS.iter().filter(|flag| wanted(flag)) {
        let shown = format!("--{} {}", flag.name, flag.value);
        let repeat = if flag.may_repeat { "; repeatable" } else { "" };
        text.push_str(&format!("  {shown:<32} {}{repeat}\n", flag.sentence));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_names_every_flag_and_has_no_long_line() {
        let help = help(None);
        assert!(FLAGS.iter().all(|flag| help.contains(&format!("--{} ", flag.name))));
        assert!(help.lines().all(|line| line.chars().count() <= 110), "{help}");
    }

    #[test]
    fn the_help_of_a_command_names_its_flags_and_no_others_and_its_examples_use_its_flags() {
        for word in Word::ALL {
            let help = help(Some(word));
            assert!(help.lines().all(|line| line.chars().count() <= 120), "{help}");
            let (_, flags) = help.split_once("\nFlags of ").expect("a section");
            for flag in FLAGS {
                let is_listed = flags.contains(&format!("\n  --{} ", flag.name));
                assert_eq!(is_listed, flag.takers.contains(&word), "{word:?} --{}", flag.name);
            }
            let (before, _) = help.split_once("\nFlags of ").expect("examples");
            for name in before.split_whitespace().filter_map(|part| part.strip_prefix("--")) {
                let is_taken = FLAGS.iter().any(|flag| flag.name == name && flag.takers.contains(&word));
                assert!(is_taken, "{word:?} --{name}");
            }
        }
    }
}
