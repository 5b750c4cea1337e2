//! Evaluates whether the webhook is installed and healthy. Pure.

use std::net::SocketAddr;

use podlocal_settings::table;
use serde_json::Value;

use super::api::{Seen, Unseen};
use super::finding::Finding;
use super::selectors::Selectors;
use crate::cluster::tier::Found;
use crate::config::Common;
use crate::review::cluster_state::Version;
use crate::review::dns;

/// The Deployment that manages the webhook's certificate, in the webhook's namespace; cert-manager can
/// replace it.
pub(crate) const CERT_CONTROLLER: &str = "podlocal-dns-cert-controller";

/// The label of the pods of the shared tier in the manifests.
const TIER_LABEL: &str = "app.kubernetes.io/component=shared-tier";

/// The facts that were read from a cluster.
#[derive(Debug)]
pub(crate) struct Facts {
    /// The version of the API server.
    pub(crate) version: Seen<Version>,
    /// The name of the MutatingWebhookConfiguration, and its content.
    pub(crate) configuration: (String, Seen<Value>),
    /// The Service of the webhook as `namespace/name`, and the number of its ready endpoints.
    pub(crate) endpoints: (String, Seen<u64>),
    /// The settings of the installed webhook.
    pub(crate) settings: Seen<Box<Common>>,
    /// The number of ready replicas of the cert-controller; absent if cert-manager manages the certificate.
    pub(crate) cert_controller: Seen<u64>,
    /// The addresses of the Service of cluster DNS.
    pub(crate) cluster_dns: Seen<Vec<SocketAddr>>,
    /// Whether cluster DNS is kube-dns, which answers NXDOMAIN for existing namespaces.
    pub(crate) is_kube_dns: bool,
    /// The names and versions of the nodes whose kubelets do not support native sidecars.
    pub(crate) old_nodes: Vec<(String, String)>,
    /// The Services of the shared tier.
    pub(crate) tier: Seen<Found>,
    /// The number of ready endpoints of the shared tier that is used.
    pub(crate) tier_endpoints: Seen<u64>,
}

/// Evaluates each item, in the order of their dependencies:
///
/// | item | problem |
/// |---|---|
/// | version | older than 1.29 |
/// | nodes | a kubelet older than 1.29 |
/// | webhook configuration | absent; a webhook without `caBundle`; custom match conditions |
/// | the cert-controller, if there is one | it is not ready |
/// | the Service of the webhook | no endpoint is ready |
/// | the webhook's own arguments and settings file | they are invalid |
/// | the Service of cluster DNS | |
/// | shared tier | Services with its label, but none that can be used; no endpoint is ready |
pub(crate) fn judge(facts: &Facts) -> Vec<Finding> {
    let mut findings = vec![version(&facts.version)];
    findings.extend(old_nodes(&facts.old_nodes));
    let (name, configuration) = &facts.configuration;
    findings.extend(self::configuration(name, configuration));
    if configuration.is_ok() {
        findings.extend(cert_controller(&facts.endpoints.0, &facts.cert_controller));
        findings.push(endpoints(&facts.endpoints.0, &facts.endpoints.1));
        findings.push(settings(&facts.settings));
    }
    findings.push(cluster_dns(&facts.cluster_dns));
    if facts.is_kube_dns {
        findings.push(Finding::ok(
            "cluster DNS is kube-dns, which answers NXDOMAIN for existing namespaces: sidecars conclude nothing from that \
             (local-nxdomain impossible)",
        ));
    }
    findings.push(tier(&facts.tier, &facts.tier_endpoints));
    findings
}

fn version(seen: &Seen<Version>) -> Finding {
    match seen {
        Ok(version) if *version < Version::NATIVE_SIDECARS => Finding::problem(
            format!("Kubernetes {version}: native sidecars need {}", Version::NATIVE_SIDECARS),
            "upgrade the cluster",
        ),
        Ok(version) => Finding::ok(format!("Kubernetes {version}")),
        Err(unseen) => Finding::unseen("the version of Kubernetes", unseen),
    }
}

fn old_nodes(nodes: &[(String, String)]) -> Option<Finding> {
    let (name, version) = nodes.first()?;
    Some(Finding::problem(
        format!(
            "{} nodes have a kubelet older than {}, for example {name} ({version}): an injected pod does not start there",
            nodes.len(),
            Version::NATIVE_SIDECARS
        ),
        "upgrade them, or keep the pods of opted-in namespaces away from them with a node selector",
    ))
}

fn configuration(name: &str, seen: &Seen<Value>) -> Vec<Finding> {
    let what = format!("MutatingWebhookConfiguration {name}");
    let configuration = match seen {
        Ok(configuration) => configuration,
        Err(Unseen::Absent) => {
            let next = "kubectl apply -k manifests/base; if it has another name, set --webhook-configuration";
            return vec![Finding::problem(format!("{what} not found: no pod is injected"), next)];
        }
        Err(unseen) => return vec![Finding::unseen(&what, unseen)],
    };
    let mut findings = Vec::new();
    let entries = configuration["webhooks"].as_array().map(Vec::as_slice).unwrap_or_default();
    let has_ca =
        |entry: &Value| entry["clientConfig"]["caBundle"].as_str().is_some_and(|text| !text.is_empty());
    findings.push(if entries.is_empty() {
        Finding::problem(format!("{what} has no webhooks"), "kubectl apply -k manifests/base")
    } else if entries.iter().all(has_ca) {
        Finding::ok(format!("{what} with its caBundle"))
    } else {
        Finding::problem(
            format!(
                "{what} has no caBundle: the API server does not trust the webhook, so no pod is injected"
            ),
            "the cert-controller writes it; see its log: kubectl --namespace podlocal-dns logs \
             deployment/podlocal-dns-cert-controller",
        )
    });
    match Selectors::of(configuration) {
        Some(selectors) if selectors.has_our_conditions() => {}
        Some(_) => findings.push(Finding::unknown(
            format!(
                "{what} has custom match conditions, which are not evaluated: this report may count too many pods"
            ),
            "compare it with manifests/base/mutatingwebhookconfiguration.yaml",
        )),
        None => findings.push(Finding::unknown(
            format!("{what} has selectors that cannot be read: this report uses those of manifests/base"),
            "kubectl apply -k manifests/base",
        )),
    }
    findings
}

/// A finding only if it is not ready: then nothing renews the certificate or writes the CA.
fn cert_controller(service: &str, seen: &Seen<u64>) -> Option<Finding> {
    let namespace = service.split('/').next().unwrap_or_default();
    let is_down = matches!(seen, Ok(0));
    is_down.then(|| {
        Finding::problem(
            format!("Deployment {namespace}/{CERT_CONTROLLER} is not ready: nothing renews the webhook's certificate"),
            format!("kubectl --namespace {namespace} logs deployment/{CERT_CONTROLLER}"),
        )
    })
}

fn endpoints(service: &str, seen: &Seen<u64>) -> Finding {
    let what = format!("Service {service}");
    match seen {
        Ok(0) | Err(Unseen::Absent) => {
            let namespace = service.split('/').next().unwrap_or_default();
            Finding::problem(
                format!("{what}: no endpoint is ready, so no pod is injected"),
                format!("kubectl --namespace {namespace} get pods; /readyz of a pod lists what it waits for"),
            )
        }
        Ok(ready) => Finding::ok(format!("{what}: {ready} ready")),
        Err(unseen) => Finding::unseen(&what, unseen),
    }
}

fn settings(seen: &Seen<Box<Common>>) -> Finding {
    match seen {
        Ok(common) => {
            let defaults: Vec<_> = common
                .defaults
                .iter()
                .map(|(setting, given)| format!("{}={}", setting.name, given.text))
                .collect();
            let defaults = if defaults.is_empty() { "none".to_owned() } else { defaults.join(", ") };
            Finding::ok(format!(
                "the webhook's settings: image {}, cluster-wide defaults: {defaults}",
                common.image
            ))
        }
        Err(Unseen::Failed(why)) => Finding::problem(
            format!("the webhook's settings: {why}"),
            "correct them; this report uses the settings of the command line instead",
        ),
        Err(Unseen::Absent) => Finding::unknown(
            "the webhook's settings: no Deployment has the name of the Service",
            "pass the flags of serve to this command",
        ),
        Err(unseen @ Unseen::Forbidden(_)) => Finding::unseen("the webhook's settings", unseen),
    }
}

fn cluster_dns(seen: &Seen<Vec<SocketAddr>>) -> Finding {
    match seen {
        Ok(addresses) if !addresses.is_empty() => {
            Finding::ok(format!("cluster DNS: {}", dns::addresses(addresses)))
        }
        Ok(_) | Err(Unseen::Absent) => Finding::unknown(
            "cluster DNS: no Service in kube-system has the label k8s-app=kube-dns",
            "set --cluster-dns; the webhook itself reads the address from its resolv.conf",
        ),
        Err(unseen) => Finding::unseen("cluster DNS", unseen),
    }
}

/// A missing tier is fine; a Service with its label that cannot be a tier is a problem.
fn tier(seen: &Seen<Found>, endpoints: &Seen<u64>) -> Finding {
    match seen {
        Ok(Found { used: Some((name, address)), .. }) => {
            let what = format!("the shared tier: Service {name}, {address}");
            match endpoints {
                Ok(0) => Finding::problem(
                    format!("{what}: no endpoint is ready, so every sidecar queries cluster DNS directly"),
                    format!("kubectl get pods --all-namespaces --selector {TIER_LABEL}"),
                ),
                Ok(ready) => Finding::ok(format!("{what}: {ready} ready")),
                _ => Finding::ok(what),
            }
        }
        Ok(Found { used: None, unused }) if !unused.is_empty() => Finding::problem(
            format!(
                "the shared tier: Services {} have its label, but none has a cluster IP and a port for UDP and TCP",
                unused.join(", ")
            ),
            format!("kubectl apply -k manifests/base, or set --{} of the webhook", table::SHARED_TIER.name),
        ),
        Ok(_) | Err(Unseen::Absent) => {
            Finding::ok("the shared tier: none, so each sidecar queries cluster DNS directly")
        }
        Err(unseen) => Finding::unseen("the shared tier", unseen),
    }
}
