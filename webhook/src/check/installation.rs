//! Reads whether the webhook is installed and healthy, and what the decisions about pods must know of it.

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};

use k8s_openapi::api::core::v1::Service;
use podlocal_settings::names::{SHARED_TIER, SHARED_TIER_LABEL};
use podlocal_settings::table;
use serde_json::Value;

use super::api::{Resource, Seen, Unseen, get, list, sentence};
use super::finding::Finding;
use super::selectors::Selectors;
use super::webhook_settings;
use crate::cluster::tier::{self, Found};
use crate::config::Common;
use crate::review::cluster_state::Version;
use crate::review::dns;

/// The namespace and Service of `manifests/base`, used if the configuration names none.
const USUAL: (&str, &str) = ("podlocal-dns", "podlocal-dns-webhook");

/// The Deployment that manages the webhook's certificate, in the webhook's namespace; cert-manager can
/// replace it.
const CERT_CONTROLLER: &str = "podlocal-dns-cert-controller";

/// The label of the pods of the shared tier in the manifests.
const TIER_LABEL: &str = "app.kubernetes.io/component=shared-tier";

/// An installation, as far as the user may read it.
#[derive(Debug)]
pub(crate) struct Installation {
    /// The state of each item.
    pub(crate) findings: Vec<Finding>,
    /// The version of the API server.
    pub(crate) version: Version,
    /// The selectors of the webhook configuration.
    pub(crate) selectors: Option<Selectors>,
    /// The settings of the installed webhook.
    pub(crate) settings: Option<Box<Common>>,
    /// The addresses of the Service of cluster DNS.
    pub(crate) cluster_dns: Vec<SocketAddr>,
    /// Whether cluster DNS is kube-dns, which answers NXDOMAIN for existing namespaces.
    pub(crate) is_kube_dns: bool,
    /// The address of the shared tier.
    pub(crate) tier: Option<SocketAddr>,
}

/// Reads and evaluates each item, in the order of their dependencies:
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
///
/// # Errors
/// If the API server does not tell its version, which every user may read.
pub(crate) async fn read(client: &kube::Client, name: &str) -> Result<Installation, String> {
    let info = client.apiserver_version().await.map_err(|error| sentence(&error))?;
    let version = Version::parse(&info.major, &info.minor)
        .ok_or_else(|| format!("invalid version {:?} of the API server", info.git_version))?;
    let mut findings = vec![of_version(version)];
    findings.extend(old_nodes(client).await);
    let resource =
        Resource::object("admissionregistration.k8s.io", "mutatingwebhookconfigurations", None, name);
    let configuration = get(client, resource).await;
    findings.extend(of_configuration(name, &configuration));
    let called = |configuration: &Value| configuration["webhooks"][0]["clientConfig"]["service"].clone();
    let called = configuration.as_ref().map(called).unwrap_or_default();
    let namespace = called["namespace"].as_str().unwrap_or(USUAL.0);
    let service = called["name"].as_str().unwrap_or(USUAL.1);
    let settings = webhook_settings::read(client, namespace, service).await;
    if configuration.is_ok() {
        findings.extend(cert_controller(client, namespace).await);
        findings.push(webhook(client, namespace, service).await);
        findings.push(webhook_settings::finding(&settings));
    }
    let (cluster_dns, finding) = cluster_dns(client).await;
    findings.push(finding);
    let is_kube_dns = is_kube_dns(client).await;
    findings.extend(is_kube_dns.then(|| {
        Finding::ok(
            "cluster DNS is kube-dns, which answers NXDOMAIN for existing namespaces: sidecars conclude nothing from that \
             (local-nxdomain impossible)",
        )
    }));
    let (tier, finding) = tier(client, namespace, cluster_dns.first().map(SocketAddr::ip)).await;
    findings.push(finding);
    Ok(Installation {
        findings,
        version,
        selectors: configuration.ok().as_ref().and_then(Selectors::of),
        settings: settings.ok(),
        cluster_dns,
        is_kube_dns,
        tier,
    })
}

fn of_version(version: Version) -> Finding {
    if version < Version::NATIVE_SIDECARS {
        let what = format!("Kubernetes {version}: native sidecars need {}", Version::NATIVE_SIDECARS);
        return Finding::problem(what, "upgrade the cluster");
    }
    Finding::ok(format!("Kubernetes {version}"))
}

/// A finding if the user may read nodes, and some have kubelets that do not support native sidecars.
async fn old_nodes(client: &kube::Client) -> Option<Finding> {
    let mut old = Vec::new();
    let each = |page: Vec<Value>, _| {
        old.extend(page.iter().filter_map(|node| {
            let text = node["status"]["nodeInfo"]["kubeletVersion"].as_str()?;
            let (major, minor) = text.strip_prefix('v').unwrap_or(text).split_once('.')?;
            let is_old = Version::parse(major, minor)? < Version::NATIVE_SIDECARS;
            is_old
                .then(|| (node["metadata"]["name"].as_str().unwrap_or_default().to_owned(), text.to_owned()))
        }));
    };
    // Without the permission, no node is known to be old.
    let _ = list(client, Resource::list("", "nodes", None), None, each).await;
    let (name, version) = old.first()?;
    Some(Finding::problem(
        format!(
            "{} nodes have a kubelet older than {}, for example {name} ({version}): an injected pod does not start there",
            old.len(),
            Version::NATIVE_SIDECARS
        ),
        "upgrade them, or keep the pods of opted-in namespaces away from them with a node selector",
    ))
}

fn of_configuration(name: &str, seen: &Seen<Value>) -> Vec<Finding> {
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

/// A finding only if it is not ready: then nothing renews the certificate or writes the CA. It is absent if
/// cert-manager manages the certificate.
async fn cert_controller(client: &kube::Client, namespace: &str) -> Option<Finding> {
    let found = get(client, deployment(namespace, CERT_CONTROLLER)).await.ok()?;
    // An absent value means 0 (`DeploymentStatus` in `k8s.io/api/apps/v1`).
    let is_down = found["status"]["readyReplicas"].as_u64().unwrap_or(0) == 0;
    is_down.then(|| {
        Finding::problem(
            format!("Deployment {namespace}/{CERT_CONTROLLER} is not ready: nothing renews the webhook's certificate"),
            format!("kubectl --namespace {namespace} logs deployment/{CERT_CONTROLLER}"),
        )
    })
}

async fn webhook(client: &kube::Client, namespace: &str, service: &str) -> Finding {
    let what = format!("Service {namespace}/{service}");
    match ready_endpoints(client, namespace, service).await {
        Ok(0) | Err(Unseen::Absent) => Finding::problem(
            format!("{what}: no endpoint is ready, so no pod is injected"),
            format!("kubectl --namespace {namespace} get pods; /readyz of a pod lists what it waits for"),
        ),
        Ok(ready) => Finding::ok(format!("{what}: {ready} ready")),
        Err(unseen) => Finding::unseen(&what, &unseen),
    }
}

async fn ready_endpoints(client: &kube::Client, namespace: &str, service: &str) -> Seen<u64> {
    let resource = Resource::list("discovery.k8s.io", "endpointslices", Some(namespace));
    // With two address families, each pod is in one slice of each family.
    let mut ready = HashSet::new();
    let labels = format!("kubernetes.io/service-name={service}");
    let seen = list(client, resource, Some(&labels), |slices: Vec<Value>, _| {
        let endpoints = slices.iter().flat_map(|slice| slice["endpoints"].as_array().into_iter().flatten());
        // An absent condition means ready (`EndpointConditions` in `k8s.io/api/discovery/v1`).
        let endpoints = endpoints.filter(|endpoint| endpoint["conditions"]["ready"] != false);
        ready.extend(endpoints.map(|endpoint| match &endpoint["targetRef"]["name"] {
            Value::String(pod) => pod.clone(),
            _ => endpoint["addresses"].to_string(),
        }));
    });
    seen.await.map(|()| ready.len() as u64)
}

/// The addresses of the Service of cluster DNS.
async fn cluster_dns(client: &kube::Client) -> (Vec<SocketAddr>, Finding) {
    let mut services = Vec::new();
    let each = |page: Vec<Value>, _| services.extend(page);
    let seen = list(client, services_of("kube-system"), Some("k8s-app=kube-dns"), each).await;
    services.sort_by_key(|service| service["metadata"]["name"] != "kube-dns");
    let ips = services.first().and_then(|service| service["spec"]["clusterIPs"].as_array());
    let ips = ips.into_iter().flatten().filter_map(|ip| ip.as_str()?.parse::<IpAddr>().ok());
    let addresses: Vec<_> = ips.map(|ip| SocketAddr::new(ip, 53)).collect();
    let finding = match seen {
        Ok(()) if !addresses.is_empty() => {
            Finding::ok(format!("cluster DNS: {}", dns::addresses(&addresses)))
        }
        Ok(()) | Err(Unseen::Absent) => Finding::unknown(
            "cluster DNS: no Service in kube-system has the label k8s-app=kube-dns",
            "set --cluster-dns; the webhook itself reads the address from its resolv.conf",
        ),
        Err(unseen) => Finding::unseen("cluster DNS", &unseen),
    };
    (addresses, finding)
}

/// Whether cluster DNS is kube-dns, if the user may read its Deployment: it has a container `kubedns`
/// (`cluster/addons/dns/kube-dns` of Kubernetes).
async fn is_kube_dns(client: &kube::Client) -> bool {
    let found = get(client, deployment("kube-system", "kube-dns")).await.unwrap_or_default();
    let containers = found["spec"]["template"]["spec"]["containers"].as_array();
    containers.into_iter().flatten().any(|container| container["name"] == "kubedns")
}

/// The address of the shared tier. A missing tier is fine; a Service with its label that cannot be a tier is a
/// problem.
async fn tier(client: &kube::Client, namespace: &str, dns: Option<IpAddr>) -> (Option<SocketAddr>, Finding) {
    let mut services: Vec<Service> = Vec::new();
    let labels = format!("{SHARED_TIER_LABEL}={SHARED_TIER}");
    let seen = list(client, services_of(namespace), Some(&labels), |page, _| services.extend(page)).await;
    let finding = match (seen, tier::choose(services.iter(), dns)) {
        (Err(Unseen::Absent), _) => Finding::ok(NO_TIER),
        (Err(unseen), _) => Finding::unseen("the shared tier", &unseen),
        (Ok(()), Found { used: Some((name, address)), .. }) => {
            let what = format!("the shared tier: Service {name}, {address}");
            let finding = match ready_endpoints(client, namespace, &name).await {
                Ok(0) => Finding::problem(
                    format!("{what}: no endpoint is ready, so every sidecar queries cluster DNS directly"),
                    format!("kubectl get pods --all-namespaces --selector {TIER_LABEL}"),
                ),
                Ok(ready) => Finding::ok(format!("{what}: {ready} ready")),
                Err(_) => Finding::ok(what),
            };
            return (Some(address), finding);
        }
        (Ok(()), Found { unused, .. }) if unused.is_empty() => Finding::ok(NO_TIER),
        (Ok(()), Found { unused, .. }) => Finding::problem(
            format!(
                "the shared tier: Services {} have its label, but none has a cluster IP and a port for UDP and TCP",
                unused.join(", ")
            ),
            format!("kubectl apply -k manifests/base, or set --{} of the webhook", table::SHARED_TIER.name),
        ),
    };
    (None, finding)
}

const NO_TIER: &str = "the shared tier: none, so each sidecar queries cluster DNS directly";

fn services_of(namespace: &str) -> Resource<'_> {
    Resource::list("", "services", Some(namespace))
}

fn deployment<'a>(namespace: &'a str, name: &'a str) -> Resource<'a> {
    Resource::object("apps", "deployments", Some(namespace), name)
}
