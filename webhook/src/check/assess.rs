//! What the webhook would do to one pod, and why. Pure: the selectors of its configuration, then the very
//! functions of a review.

use podlocal_settings::names::{CONTAINER_NAME, INJECT_DISABLED, INJECT_ENABLED, INJECT_LABEL, PORT_SYSCTL};
use podlocal_settings::read::SettingError;
use serde_json::{Map, Value};

use super::diff;
use super::estimate::{self, Cost};
use super::requests::Requests;
use super::selectors::{self, Labels, Selection, Selectors};
use crate::cluster::Cluster;
use crate::decide::{self, Namespace, Skip};
use crate::dns::{self, Base};
use crate::mutate::{Mutation, Outcome, Policy, mutate};
use crate::{again, annotations};

/// What is the same for all pods.
#[derive(Debug)]
pub struct Context {
    /// What is known of their cluster.
    pub cluster: Cluster,
    /// What the operator decided for all of them.
    pub policy: Policy,
    /// Which of them are sent to the webhook.
    pub selectors: Selectors,
    /// Whether every namespace counts as opted in.
    pub as_if_enabled: bool,
    /// Whether the changes are wanted line by line.
    pub with_diff: bool,
}

/// What is known of a namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Home {
    /// Its labels; `None` where nobody knows them: then it counts as opted in.
    pub labels: Option<Labels>,
    /// Its annotations.
    pub annotations: Map<String, Value>,
}

/// What would become of a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assessment {
    /// Whether it gets the proxy.
    pub verdict: Verdict,
    /// What changes in it, in a few words each.
    pub changes: Vec<String>,
    /// The same line by line, where that is wanted.
    pub diff: Vec<String>,
    /// Its own settings that are ignored; those of its namespace are not among them.
    pub mistakes: Vec<SettingError>,
    /// What its proxy requests of the node, where it is injected and requests anything.
    pub requests: Option<Requests>,
    /// What a look-up costs, where the proxy changes that.
    pub cost: Option<Cost>,
}

/// Whether a pod gets the proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It does, when it is created.
    Injected,
    /// It has it.
    Already,
    /// It does not.
    Not(Reason),
}

/// Why a pod does not get the proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// Nobody has asked for it.
    NotOptedIn,
    /// The webhook's configuration leaves its namespace out.
    NamespaceExcluded,
    /// The webhook leaves it alone.
    Skipped(Skip),
    /// It has a shape that no pod has; the webhook allows it as it is.
    Malformed,
}

/// What the webhook would do to `pod`, of the namespace `name`. The first line that fits holds:
///
/// | the pod | the verdict |
/// |---|---|
/// | has the proxy | already |
/// | is not sent to the webhook | not, with the reason of the selectors |
/// | is injected by [`mutate`] | injected |
/// | is left alone by it | not, with its reason |
pub fn assess(pod: &Value, name: &str, home: &Home, context: &Context) -> Assessment {
    let namespace = Namespace { name: name.to_owned(), annotations: home.annotations.clone() };
    let mutation = mutate(pod, &namespace, &context.cluster, &context.policy).ok();
    let verdict = verdict(pod, name, home, context, mutation.as_ref());
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
        mistakes: mistakes(pod, home, context, mutation.as_ref()),
        requests: injected.and_then(|mutation| Requests::of(&mutation.pod["spec"]["initContainers"][0])),
        cost,
    }
}

fn verdict(pod: &Value, name: &str, home: &Home, context: &Context, mutation: Option<&Mutation>) -> Verdict {
    let outcome = mutation.map(|mutation| mutation.outcome);
    let has_it = |outcome: Outcome| {
        outcome == Outcome::Skipped(Skip::AlreadyInjected)
            || !matches!(outcome, Outcome::Injected | Outcome::Skipped(_))
    };
    if outcome.is_some_and(has_it) {
        return Verdict::Already;
    }
    let mut of_namespace = home.labels.clone().unwrap_or_default();
    if context.as_if_enabled || home.labels.is_none() {
        of_namespace.insert(INJECT_LABEL.to_owned(), INJECT_ENABLED.to_owned());
    }
    match context.selectors.selection(name, &of_namespace, &selectors::labels(&pod["metadata"])) {
        Selection::Sent => {}
        Selection::NotOptedIn => return Verdict::Not(Reason::NotOptedIn),
        Selection::OptedOut => return Verdict::Not(Reason::Skipped(Skip::OptedOut)),
        Selection::NamespaceExcluded => return Verdict::Not(Reason::NamespaceExcluded),
    }
    match outcome {
        Some(Outcome::Skipped(skip)) => Verdict::Not(Reason::Skipped(skip)),
        Some(_) => Verdict::Injected,
        None => Verdict::Not(Reason::Malformed),
    }
}

/// What people look for first. That dnsPolicy becomes `None` and the pod asks its own proxy is the same for
/// every pod.
fn changes(pod: &Value, name: &str, mutation: &Mutation, context: &Context) -> Vec<String> {
    let mut changes = Vec::new();
    match mutation.outcome {
        Outcome::Injected => changes.push(format!("+ {CONTAINER_NAME}")),
        Outcome::Moved => changes.push("the sidecar moves to the front".to_owned()),
        Outcome::Corrected => changes.push("the sidecar gets the changed dnsConfig".to_owned()),
        // Where it runs it stays so; here the cluster domain may be a guess.
        Outcome::Restored | Outcome::Skipped(_) => return changes,
    }
    if mutation.outcome == Outcome::Injected {
        let before =
            dns::expansion_without_proxy(base(pod), &pod["spec"]["dnsConfig"], name, &context.cluster);
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
        if !told(mutation).shared_tier.is_empty() {
            changes.push("uses the shared tier".to_owned());
        }
        changes.extend(mutation.note().map(|note| format!("warning: {note}")));
    }
    changes
}

fn cost(pod: &Value, name: &str, mutation: &Mutation, context: &Context) -> Cost {
    let before = dns::expansion_without_proxy(base(pod), &pod["spec"]["dnsConfig"], name, &context.cluster);
    estimate::cost(&before, &told(mutation))
}

fn told(mutation: &Mutation) -> podlocal_settings::Settings {
    again::told(&mutation.pod["spec"]["initContainers"][0])
}

/// Whose DNS an injected pod had; [`decide`] has refused every other.
fn base(pod: &Value) -> Base {
    if pod["spec"]["dnsPolicy"] == "None" { Base::Own } else { Base::Cluster }
}

/// What is wrong with the pod's own settings, whatever becomes of it.
fn mistakes(pod: &Value, home: &Home, context: &Context, mutation: Option<&Mutation>) -> Vec<SettingError> {
    let domain = &context.cluster.domain;
    let mut mistakes = match mutation {
        Some(mutation) if mutation.outcome == Outcome::Injected => mutation.ignored.clone(),
        _ => {
            let of_pod = pod["metadata"]["annotations"].as_object();
            let read = annotations::read(of_pod, Some(&home.annotations), &context.policy.defaults, domain);
            decide::label_error(pod).into_iter().chain(read.mistakes).collect()
        }
    };
    let of_namespace = of_namespace(home, domain);
    mistakes.retain(|mistake| !of_namespace.contains(mistake));
    mistakes
}

/// What is wrong with the annotations and the label of a namespace, in a cluster of that domain.
pub fn of_namespace(home: &Home, domain: &str) -> Vec<SettingError> {
    let mut mistakes = annotations::read(None, Some(&home.annotations), &Vec::new(), domain).mistakes;
    let label = home.labels.as_ref().and_then(|labels| labels.get(INJECT_LABEL));
    if let Some(value) = label.filter(|value| ![INJECT_ENABLED, INJECT_DISABLED].contains(&value.as_str())) {
        let expected = format!("{INJECT_ENABLED}; any other value does not opt in");
        mistakes.push(SettingError::new(format!("the namespace's label {INJECT_LABEL}"), value, expected));
    }
    mistakes
}

#[cfg(test)]
mod tests;
