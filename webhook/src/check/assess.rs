//! Determines what the webhook would do to one pod, and why, with the selectors of its configuration and the
//! functions of a review. Pure.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use podlocal_settings::names::{CONTAINER_NAME, INJECT_DISABLED, INJECT_ENABLED, INJECT_LABEL, PORT_SYSCTL};
use podlocal_settings::read::SettingError;
use serde_json::{Map, Value};

use super::diff;
use super::estimate::{self, Cost};
use super::reason::Reason;
use super::requests::Requests;
use super::selectors::{self, Labels, Selectors};
use crate::review::cluster_state::Cluster;
use crate::review::decide;
use crate::review::dns::{self, Base};
use crate::review::mutate::{Mutation, Policy, mutate};
use crate::review::namespace::Namespace;
use crate::review::outcome::Outcome;
use crate::review::skip::Skip;
use crate::review::{annotations, reinvocation};

/// The assumed address of cluster DNS if it is unknown: the default of kubeadm. No verdict depends on it.
pub(crate) const ASSUMED_DNS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 96, 0, 10)), 53);

/// The inputs that all pods share.
#[derive(Debug)]
pub(crate) struct Context {
    /// The known state of the cluster.
    pub(crate) cluster: Cluster,
    /// What the operator has set for all pods.
    pub(crate) policy: Policy,
    /// The selectors that decide which pods are sent to the webhook.
    pub(crate) selectors: Selectors,
    /// Whether every namespace is treated as opted in.
    pub(crate) as_if_enabled: bool,
    /// Whether to list the changes line by line.
    pub(crate) with_diff: bool,
}

/// The labels and annotations of a namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct NamespaceMetadata {
    /// Its labels; `None` if they are unknown: then it is treated as opted in.
    pub(crate) labels: Option<Labels>,
    /// Its annotations.
    pub(crate) annotations: Map<String, Value>,
}

/// What the webhook would do to a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Assessment {
    /// Whether it gets the sidecar.
    pub(crate) verdict: Verdict,
    /// The changes, in a few words each.
    pub(crate) changes: Vec<String>,
    /// The changes line by line, if requested.
    pub(crate) diff: Vec<String>,
    /// The errors in its own settings, without those of its namespace.
    pub(crate) errors: Vec<SettingError>,
    /// The resource requests of its sidecar, if it is injected and has any.
    pub(crate) requests: Option<Requests>,
    /// The cost of one lookup, if the pod is injected.
    pub(crate) cost: Option<Cost>,
}

/// Whether a pod gets the sidecar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It gets the sidecar when it is created.
    Injected,
    /// It already has the sidecar.
    Already,
    /// It does not get the sidecar.
    Not(Reason),
}

/// Determines what the webhook would do to `pod` of the namespace `name`. The first matching line applies:
///
/// | the pod | the verdict |
/// |---|---|
/// | has the sidecar | already |
/// | is not sent to the webhook | not, with the reason of the selectors |
/// | is injected by [`mutate`] | injected |
/// | is skipped by it | not, with its reason |
pub(crate) fn assess(
    pod: &Value,
    name: &str,
    namespace_metadata: &NamespaceMetadata,
    context: &Context,
) -> Assessment {
    let namespace = Namespace { name: name.to_owned(), annotations: namespace_metadata.annotations.clone() };
    let mutation = mutate(pod, &namespace, &context.cluster, &context.policy).ok();
    let verdict = verdict(pod, name, namespace_metadata, context, mutation.as_ref());
    let is_changed = verdict == Verdict::Injected || verdict == Verdict::Already;
    let changed = mutation.as_ref().filter(|of| is_changed && of.outcome != Outcome::Restored);
    let injected = changed.filter(|_| verdict == Verdict::Injected);
    let cost = injected.map(|mutation| cost(pod, name, mutation, context));
    Assessment {
        verdict,
        changes: changed.map(|mutation| changes(pod, name, mutation, context)).unwrap_or_default(),
        diff: changed
            .filter(|_| context.with_diff)
            .map(|mutation| diff::lines(pod, &mutation.patch))
            .unwrap_or_default(),
        errors: errors(pod, namespace_metadata, context, mutation.as_ref()),
        requests: injected.and_then(|mutation| Requests::of(&mutation.pod["spec"]["initContainers"][0])),
        cost,
    }
}

fn verdict(
    pod: &Value,
    name: &str,
    namespace_metadata: &NamespaceMetadata,
    context: &Context,
    mutation: Option<&Mutation>,
) -> Verdict {
    let outcome = mutation.map(|mutation| mutation.outcome);
    let has_it = |outcome: Outcome| {
        outcome == Outcome::Skipped(Skip::AlreadyInjected)
            || !matches!(outcome, Outcome::Injected | Outcome::Skipped(_))
    };
    if outcome.is_some_and(has_it) {
        return Verdict::Already;
    }
    let mut of_namespace = namespace_metadata.labels.clone().unwrap_or_default();
    if context.as_if_enabled || namespace_metadata.labels.is_none() {
        of_namespace.insert(INJECT_LABEL.to_owned(), INJECT_ENABLED.to_owned());
    }
    let of_pod = selectors::labels(&pod["metadata"]);
    if let Some(reason) = context.selectors.excluding_reason(name, &of_namespace, &of_pod) {
        return Verdict::Not(reason);
    }
    match outcome {
        Some(Outcome::Skipped(skip)) => Verdict::Not(Reason::Skipped(skip)),
        Some(_) => Verdict::Injected,
        None => Verdict::Not(Reason::Malformed),
    }
}

/// The most relevant changes. dnsPolicy `None` and the nameserver 127.0.0.1 are the same for every pod.
fn changes(pod: &Value, name: &str, mutation: &Mutation, context: &Context) -> Vec<String> {
    let mut changes = Vec::new();
    match mutation.outcome {
        Outcome::Injected => changes.push(format!("+ {CONTAINER_NAME}")),
        Outcome::Moved => changes.push("the sidecar moves to the front".to_owned()),
        Outcome::Corrected => changes.push("the sidecar gets the changed dnsConfig".to_owned()),
        // A running pod is not changed; and here the cluster domain may be an assumption.
        Outcome::Restored | Outcome::Skipped(_) => return changes,
    }
    if mutation.outcome == Outcome::Injected {
        let before =
            dns::expansion_without_sidecar(base(pod), &pod["spec"]["dnsConfig"], name, &context.cluster);
        let after = dns::expansion(&mutation.pod["spec"]["dnsConfig"]);
        changes.push(match (before.ndots, after.ndots) {
            (before, after) if before == after => format!("ndots stays {after}"),
            (before, after) => format!("ndots {before} -> {after}"),
        });
        if decide::port_sysctl(&pod["spec"]).is_none() {
            changes.push(format!("+ sysctl {}", PORT_SYSCTL.rsplit('.').next().unwrap_or(PORT_SYSCTL)));
        }
        let requests = Requests::of(&mutation.pod["spec"]["initContainers"][0]);
        changes.extend(requests.map(|requests| requests.words()));
        if !sidecar_settings(mutation).shared_tier.is_empty() {
            changes.push("uses the shared tier".to_owned());
        }
        changes.extend(mutation.nested_runtime_warning().map(|note| format!("warning: {note}")));
    }
    changes
}

fn cost(pod: &Value, name: &str, mutation: &Mutation, context: &Context) -> Cost {
    let before = dns::expansion_without_sidecar(base(pod), &pod["spec"]["dnsConfig"], name, &context.cluster);
    estimate::cost(&before, &sidecar_settings(mutation))
}

fn sidecar_settings(mutation: &Mutation) -> podlocal_settings::Settings {
    reinvocation::sidecar_settings(&mutation.pod["spec"]["initContainers"][0])
}

/// The DNS servers of an injected pod without the sidecar; [`decide`] has rejected every other dnsPolicy.
fn base(pod: &Value) -> Base {
    if pod["spec"]["dnsPolicy"] == "None" { Base::Own } else { Base::Cluster }
}

/// The errors in the pod's own settings, even if it is not injected.
fn errors(
    pod: &Value,
    namespace_metadata: &NamespaceMetadata,
    context: &Context,
    mutation: Option<&Mutation>,
) -> Vec<SettingError> {
    let domain = &context.cluster.domain;
    let mut errors = match mutation {
        Some(mutation) if mutation.outcome == Outcome::Injected => mutation.ignored.clone(),
        _ => {
            let of_pod = pod["metadata"]["annotations"].as_object();
            let read = annotations::read(
                of_pod,
                Some(&namespace_metadata.annotations),
                &context.policy.defaults,
                domain,
            );
            decide::label_error(pod).into_iter().chain(read.errors).collect()
        }
    };
    let of_namespace = of_namespace(namespace_metadata, domain);
    errors.retain(|error| !of_namespace.contains(error));
    errors
}

/// The errors in the annotations and the label of a namespace, in a cluster with that cluster domain.
pub(crate) fn of_namespace(namespace_metadata: &NamespaceMetadata, domain: &str) -> Vec<SettingError> {
    let mut errors =
        annotations::read(None, Some(&namespace_metadata.annotations), &Vec::new(), domain).errors;
    let label = namespace_metadata.labels.as_ref().and_then(|labels| labels.get(INJECT_LABEL));
    if let Some(value) = label.filter(|value| ![INJECT_ENABLED, INJECT_DISABLED].contains(&value.as_str())) {
        let expected = format!("{INJECT_ENABLED}; any other value does not opt in");
        errors.push(SettingError::new(format!("the namespace's label {INJECT_LABEL}"), value, expected));
    }
    errors
}
