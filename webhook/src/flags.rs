//! The flags of the program, as data, and the help.

use podlocal_settings::page;
use podlocal_settings::table::{self, Setting};

/// One flag, as data.
pub(crate) struct Flag {
    /// The name, without the hyphens.
    pub(crate) name: &'static str,
    /// What stands for the value in the help.
    value: &'static str,
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
    flag(table::LOG_LEVEL.name, "LEVEL", Takers::Both, "error, warn, info, debug or trace [info]"),
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
    flags("file", "FILE", Takers::Inject, "Documents to inject; - is standard input; also -f"),
    flag(
        "output",
        "FORMAT",
        Takers::Inject,
        "yaml, or json: several documents become a List; also -o [yaml]",
    ),
    flag("namespace", "NAME", Takers::Inject, "The namespace of documents that name none [default]"),
];

const fn flag(name: &'static str, value: &'static str, takers: Takers, sentence: &'static str) -> Flag {
    Flag { name, value, takers, may_repeat: false, sentence }
}

/// A flag that may be repeated, and whose value may list several with commas.
const fn flags(name: &'static str, value: &'static str, takers: Takers, sentence: &'static str) -> Flag {
    Flag { name, value, takers, may_repeat: true, sentence }
}

/// The text of `--help`.
pub fn help() -> String {
    let section = |title: &str, takers: Takers| {
        let mut text = format!("\n{title}\n");
        for flag in FLAGS.iter().filter(|flag| flag.takers == takers) {
            let shown = format!("--{} {}", flag.name, flag.value);
            let repeat = if flag.may_repeat { "; repeatable" } else { "" };
            text.push_str(&format!("  {shown:<32} {}{repeat}\n", flag.sentence));
        }
        text
    };
    // The table prints them as flags, which they are for the sidecar.
    let settings = page::help(Setting::is_annotation).replace("  --", "  ");
    format!(
        "The admission webhook of PodLocal DNS.\n\n\
         podlocal-webhook [serve] [FLAGS]           answer admission reviews\n\
         podlocal-webhook inject -f FILE|- [FLAGS]  the same to YAML documents on disk\n{}{}{}\n\
         Settings of pods: annotations {}<name> of a pod or namespace, or lines of --settings\n{settings}\n\
         Exit codes: 0 done, 1 cannot start or read, 2 a second signal cut the drain, 64 bad settings\n",
        section("Flags of both:", Takers::Both),
        section("Flags of serve:", Takers::Serve),
        section("Flags of inject:", Takers::Inject),
        podlocal_settings::names::ANNOTATION_PREFIX,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_names_every_flag_and_has_no_long_line() {
        let help = help();
        assert!(FLAGS.iter().all(|flag| help.contains(&format!("--{} ", flag.name))));
        assert!(help.lines().all(|line| line.chars().count() <= 110), "{help}");
    }
}
