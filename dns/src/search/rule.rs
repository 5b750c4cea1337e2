//! The verdicts about a question, and the rules behind them in the words of `lookup`.

use std::fmt;

use super::Search;
use crate::key::Key;
use crate::wire::NameText;

/// What the rules say about a question before any server is queried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict<'a> {
    /// The rules say nothing, or nothing that the settings allow to use.
    Ask,
    /// The name cannot exist, by that rule.
    Impossible(Rule),
    /// It exists only if its namespace does, and its Service, if it is below one.
    Below(Ancestors<'a>),
    /// The probe of another proxy: the name does not exist, for any type.
    Probe,
    /// A name outside the cluster domain that the client no longer expands first; the sidecar tries the
    /// search list.
    Complete,
}

/// The names above a name that decide whether it can exist, on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ancestors<'a> {
    /// `<namespace>.svc.<zone>`, unless it is the pod's own namespace.
    pub namespace: Option<&'a [u8]>,
    /// `<service>.<namespace>.svc.<zone>`, unless that is the name itself.
    pub service: Option<&'a [u8]>,
}

/// A rule of the table in [`crate::search`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the table says what each is")]
pub enum Rule {
    R1,
    R2,
    R3,
    R4,
    R5,
    /// The name of a proxy's probe does not exist.
    Probe,
}

impl Rule {
    /// The reason that it gives, as a sentence without its final dot.
    pub fn because(self) -> &'static str {
        match self {
            Self::R1 => "every name in the cluster domain is below svc or pod",
            Self::R2 => "no name has four or more labels before its namespace",
            Self::R3 => {
                "three labels before the namespace are the name of a port, with tcp, udp or sctp in the middle"
            }
            Self::R4 => "the Service above the name does not exist",
            Self::R5 => "the namespace above the name does not exist",
            Self::Probe => "the name is that of a health check between proxies",
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Probe => formatter.write_str("probe"),
            rule => write!(formatter, "{rule:?}"),
        }
    }
}

impl Search {
    /// The reason for the verdict about a question, as one line.
    pub fn reasoning(&self, key: &Key) -> String {
        match self.verdict(key) {
            Verdict::Probe => format!("rule: {}", Rule::Probe.because()),
            Verdict::Impossible(rule) => format!("rule {rule}: {}", rule.because()),
            Verdict::Below(Ancestors { namespace, service }) => {
                let above: Vec<_> = [service, namespace]
                    .into_iter()
                    .flatten()
                    .map(|name| NameText(name).to_string())
                    .collect();
                let do_they = if above.len() == 1 { "does" } else { "do" };
                format!("rules R4 and R5: exists only if {} {do_they}", above.join(" and "))
            }
            Verdict::Complete => {
                "search: the client does not expand the name first, so the sidecar tries the search list"
                    .to_owned()
            }
            Verdict::Ask => "no rule applies: the name is queried as it stands".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{self, Flags};
    use podlocal_settings::Settings;

    #[test]
    fn the_rule_or_the_ancestors_of_a_name_are_named() {
        let search = Search::new(&Settings { namespace: Some("own".to_owned()), ..Settings::defaults() });
        let reasoning = |text: &str| {
            let name = wire::name_from_text(text).expect("a name");
            search.reasoning(&Key::new(&wire::question(&name, 1, 1), Flags(Flags::RD), false))
        };
        assert!(reasoning("a.b.c.d.n.svc.cluster.local").starts_with("rule R2: no name has four or more"));
        let above = "web.other.svc.cluster.local. and other.svc.cluster.local.";
        let expected = format!("rules R4 and R5: exists only if {above} do");
        assert_eq!(reasoning("a.web.other.svc.cluster.local"), expected);
    }
}
