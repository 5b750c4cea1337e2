//! What the pod's search list and the cluster domain say about a name, before any server is queried. Pure.
//!
//! A C library that looks up `api.example.com` with `ndots:5` asks for it below every search domain first.
//! The DNS specification for Kubernetes and CoreDNS's `parseRequest` say which of those names can exist. `n`
//! labels are left of the cluster domain; the last of them is `svc`, `pod` or a label that never exists
//! there; `left` labels are left of the namespace. For A and AAAA of class IN, the same verdict for both:
//!
//! | rule | name | verdict |
//! |---|---|---|
//! | | the cluster domain itself, `svc`, `<namespace>.svc` | ask: NODATA, or the namespace does not exist |
//! | R1 | the last label is neither `svc` nor `pod` | impossible, except `dns-version` and `ns.dns` |
//! | R2 | `svc`, four or more labels left of the namespace | impossible |
//! | R3 | `svc`, left = 3 | impossible, unless the middle label is tcp, udp or sctp: the name of a port |
//! | R4 | `svc`, left = 2 or 3 | ask; no name exists below a Service that does not exist |
//! | R5 | `svc`, left = 1 to 3 | ask; no name exists in a namespace that does not exist |
//! | R6 | below `pod`, other types and classes, an underscore in front of any label but the first | ask |
//!
//! Before all of them, for any type: the name of a proxy's probe does not exist ([`PROBE_LABEL`]).
//!
//! R6 takes precedence over R1 to R5; it covers `_zone` (topology-aware names) and the owner names of SRV
//! records. Clusters that serve more names in their domain (rewrite, hosts, template, multicluster) switch
//! the rules off. R4 and R5 need `local-nxdomain: full`, and never apply to the pod's own namespace, which
//! exists.
//!
//! A name outside the cluster domain with at least `ndots` dots and fewer than `original-ndots` is one that
//! the client would have expanded before the injection. Now it does not expand it, or only after a query for
//! the name as it stands. So the sidecar expands it, before it queries the name as it stands: the query for a
//! name in the cluster never leaves it because of the lower `ndots`.

use podlocal_settings::Settings;
use podlocal_settings::value::LocalNxdomain;

use crate::expansion;
use crate::key::Key;
use crate::wire::{self, CLASS_IN, LONGEST_NAME, TYPE_A, TYPE_AAAA};
use rule::Rule;

pub mod rule;

pub use rule::{Ancestors, Verdict};

/// The second label of the names with which PodLocal DNS proxies probe whether a server is alive: an operator
/// who finds it in a log of the upstream can look it up. No such name exists, and a proxy answers it by
/// itself.
pub const PROBE_LABEL: &str = "podlocal-dns-probe";

/// The search list of a pod, and the rules for names in its cluster.
#[derive(Debug, Clone)]
pub struct Search {
    /// The cluster domain, on the wire, in lower case.
    zone: Vec<u8>,
    /// The pod's namespace: one label.
    namespace: Option<Vec<u8>>,
    /// The search list.
    search: Vec<String>,
    /// The same, on the wire.
    list: Vec<Vec<u8>>,
    /// The domains that the sidecar tries.
    completion_list: Vec<Vec<u8>>,
    /// The number of dots from which on the client asks for the name as it stands first.
    ndots: usize,
    /// The same number without the injection.
    original_ndots: usize,
    local_nxdomain: LocalNxdomain,
}

/// A name that the search list makes of another one, and that may exist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The name, on the wire.
    pub name: Vec<u8>,
    /// The question that is asked first.
    pub first: First,
}

/// The question that is asked first to find out whether a candidate exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum First {
    /// The client's own: the candidate very likely exists.
    Own,
    /// The candidate's A: its NXDOMAIN saves the AAAA query.
    Address,
    /// A of this namespace, on the wire: its NXDOMAIN decides for all types, and for all names in the
    /// namespace.
    Namespace(Vec<u8>),
}

impl Search {
    /// The search list and the rules of the settings.
    pub fn new(settings: &Settings) -> Self {
        let on_the_wire =
            |list: &[String]| list.iter().filter_map(|domain| wire::name_from_text(domain)).collect();
        let search = settings.search_list();
        Self {
            zone: wire::zone(&settings.cluster_domain),
            namespace: settings.namespace.as_ref().map(|namespace| namespace.as_bytes().to_vec()),
            list: on_the_wire(&search),
            search,
            completion_list: on_the_wire(&settings.completion_list()),
            ndots: usize::from(settings.ndots),
            original_ndots: usize::from(settings.original_ndots),
            local_nxdomain: settings.local_nxdomain,
        }
    }

    /// What the rules say about that question.
    pub fn verdict<'a>(&self, key: &'a Key) -> Verdict<'a> {
        if self.is_probe(key.name()) {
            return Verdict::Probe;
        }
        if self.zone_at(key.name()).is_none() {
            return if self.needs_completion(key) { Verdict::Complete } else { Verdict::Ask };
        }
        if !is_address(key) {
            return Verdict::Ask;
        }
        match (self.verdict_inside(key.name()), self.local_nxdomain) {
            (Verdict::Impossible(_), LocalNxdomain::Off)
            | (Verdict::Below(_), LocalNxdomain::Off | LocalNxdomain::Impossible) => Verdict::Ask,
            (verdict, _) => verdict,
        }
    }

    /// Whether an NXDOMAIN to A answers that question, too (RFC 2308 section 5). For names that CoreDNS
    /// answers from the cluster, only A and AAAA share it: CoreDNS answers NXDOMAIN to TXT of names with
    /// addresses, and to A of names with the PTR of a Service.
    pub fn shares_missing(&self, key: &Key) -> bool {
        let (_, class) = key.type_and_class();
        let is_served = || self.zone_at(key.name()).is_some() || is_reverse(key.name());
        class == CLASS_IN && (is_address(key) || !is_served())
    }

    /// Whether that name is the probe of another proxy: `<digits>.podlocal-dns-probe.<zone>`.
    fn is_probe(&self, name: &[u8]) -> bool {
        let mut labels = wire::labels(name);
        let second = labels.nth(1).map(|(label, _)| label);
        second == Some(PROBE_LABEL.as_bytes())
            && labels.next().map_or(wire::ROOT, |(_, from)| from) == self.zone
    }

    /// The offset in a name at which the cluster domain begins; `None` outside it.
    pub fn zone_at(&self, name: &[u8]) -> Option<usize> {
        wire::end_at(name, &self.zone)
    }

    /// The expansions of a name by the domains that the sidecar tries, in order, unless they are too long.
    pub fn expansions(&self, name: &[u8]) -> impl Iterator<Item = Vec<u8>> {
        let prefix = name.strip_suffix(wire::ROOT).unwrap_or(name);
        let domains = self.completion_list.iter();
        let fitting = domains.filter(move |domain| prefix.len() + domain.len() <= LONGEST_NAME);
        fitting.map(move |domain| [prefix, domain].concat())
    }

    /// The expansions that may exist, in order. The rules apply to every type here: they are about names.
    ///
    /// | the candidate | the first question |
    /// |---|---|
    /// | R1 to R3 exclude it | none |
    /// | in the pod's own namespace, or `<name>.<zone>` of a name that ends in `svc` | the client's own: this name was meant |
    /// | in another namespace, with `local-nxdomain: full` | A of the namespace |
    /// | anything else | A of the candidate |
    pub fn candidates(&self, name: &[u8]) -> Vec<Candidate> {
        let whole = if ends_in_svc(name) { name.len() - 1 + self.zone.len() } else { 0 };
        let candidate = |name: Vec<u8>| {
            let shape =
                if self.zone_at(&name).is_some() { self.verdict_by_shape(&name) } else { Verdict::Ask };
            let first = match shape {
                Verdict::Impossible(_) if self.local_nxdomain != LocalNxdomain::Off => return None,
                Verdict::Below(Ancestors { namespace: None, .. }) => First::Own,
                _ if name.len() == whole => First::Own,
                Verdict::Below(Ancestors { namespace: Some(namespace), .. })
                    if self.local_nxdomain == LocalNxdomain::Full =>
                {
                    First::Namespace(namespace.to_vec())
                }
                _ => First::Address,
            };
            Some(Candidate { name, first })
        };
        self.expansions(name).filter_map(candidate).collect()
    }

    /// The names that a C library would ask for, in order, when a program looks up `text` (resolv.conf(5)).
    pub fn search_names(&self, text: &str) -> Vec<Vec<u8>> {
        let candidates = expansion::candidates(text, &self.search, self.ndots);
        candidates.iter().filter_map(|name| wire::name_from_text(name)).collect()
    }

    /// The rules of the table, for a name in the cluster domain.
    fn verdict_inside<'a>(&self, name: &'a [u8]) -> Verdict<'a> {
        let count = wire::labels(name).count() - wire::labels(&self.zone).count();
        if wire::labels(name).take(count).skip(1).any(|(label, _)| label.starts_with(b"_")) {
            return Verdict::Ask;
        }
        self.verdict_by_shape(name)
    }

    /// R1 to R5. An underscore matters only in `_zone`, and is optional before a port's protocol.
    fn verdict_by_shape<'a>(&self, name: &'a [u8]) -> Verdict<'a> {
        let count = wire::labels(name).count() - wire::labels(&self.zone).count();
        // Counted from the cluster domain: 0 is the label next to it.
        let part = |number: usize| wire::labels(name).nth(count.checked_sub(number + 1)?);
        let (label, from) = (|number| Some(part(number)?.0), |number| Some(part(number)?.1));
        match label(0) {
            None | Some(b"pod") => return Verdict::Ask,
            Some(b"svc") => {}
            Some(b"dns-version") if count == 1 => return Verdict::Ask,
            Some(b"dns") if count == 2 && label(1) == Some(b"ns") => return Verdict::Ask,
            Some(_) => return Verdict::Impossible(Rule::R1),
        }
        let is_own = label(1) == self.namespace.as_deref();
        let namespace = from(1).filter(|_| !is_own);
        match count.saturating_sub(2) {
            0 => Verdict::Ask,
            1 if is_own => Verdict::Ask,
            1 => Verdict::Below(Ancestors { namespace, service: None }),
            2 => Verdict::Below(Ancestors { namespace, service: from(2) }),
            3 if label(3).is_some_and(is_protocol) => {
                Verdict::Below(Ancestors { namespace, service: from(2) })
            }
            _ if label(3) == Some(b"_zone") => Verdict::Ask,
            3 => Verdict::Impossible(Rule::R3),
            _ => Verdict::Impossible(Rule::R2),
        }
    }

    /// Whether the sidecar tries the search list for a name outside the cluster domain, of any type. Not for
    /// a name that ends in a search domain: that looks like an expansion.
    fn needs_completion(&self, key: &Key) -> bool {
        let (_, class) = key.type_and_class();
        let dots = wire::labels(key.name()).count().saturating_sub(1);
        class == CLASS_IN
            && !key.is_as_is()
            && (self.ndots..self.original_ndots).contains(&dots)
            && !self.completion_list.is_empty()
            && !self.list.iter().any(|domain| wire::end_at(key.name(), domain).is_some())
    }
}

/// Whether a name is meant for the cluster: `svc` is not a top-level domain.
pub fn ends_in_svc(name: &[u8]) -> bool {
    wire::labels(name).last().is_some_and(|(label, _)| label == b"svc")
}

/// Whether a name is for a reverse lookup (RFC 1035 section 3.5, RFC 3596 section 2.5).
fn is_reverse(name: &[u8]) -> bool {
    [b"\x07in-addr\x04arpa\x00".as_slice(), b"\x03ip6\x04arpa\x00"]
        .iter()
        .any(|zone| wire::end_at(name, zone).is_some())
}

/// A port's protocol; CoreDNS accepts it without the underscore, too (`parseRequest` in
/// `plugin/kubernetes/parse.go`).
fn is_protocol(label: &[u8]) -> bool {
    matches!(label.strip_prefix(b"_").unwrap_or(label), b"tcp" | b"udp" | b"sctp")
}

/// A or AAAA, class IN.
pub fn is_address(key: &Key) -> bool {
    matches!(key.type_and_class(), (TYPE_A | TYPE_AAAA, CLASS_IN))
}

/// The question with the other address type: AAAA for A, A for AAAA.
pub fn sibling(key: &Key) -> Option<Key> {
    match key.type_and_class() {
        (TYPE_A, CLASS_IN) => Some(key.with_type(TYPE_AAAA)),
        (TYPE_AAAA, CLASS_IN) => Some(key.with_type(TYPE_A)),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
