//! `check` of a cluster: checks the installation and the pods.

use std::collections::BTreeMap;

use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError};
use podlocal_settings::Settings;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::api::{Resource, Seen, Unseen, get, list, sentence};
use super::assess::{ASSUMED_DNS, Context, NamespaceMetadata};
use super::finding::Finding;
use super::installation::{self, Installation};
use super::ledger::Ledger;
use super::progress::Progress;
use super::report::{Error, Report, Source};
use super::selectors::{self, Selectors};
use super::tier_usage::TierUsage;
use super::workload::{Pods, workload_of};
use crate::config::{Check, Common, OWN_IMAGE};
use crate::review::cluster_state::{Cluster, Tier};
use crate::review::dns;
use crate::review::limits::Limits;
use crate::review::namespace;

/// Reads the cluster, and checks its installation and its pods.
pub(crate) async fn run(settings: &Check) -> Result<Report, Error> {
    let (client, server) = client(settings).await?;
    let installed = installation::read(&client, &settings.webhook_configuration).await;
    let mut installed = installed.map_err(|why| {
        let next = "test with kubectl version; another cluster: KUBECONFIG, --kubeconfig or --context; documents: -f FILE";
        Error { what: format!("{server}: {why}"), next: next.to_owned() }
    })?;
    let mut installation = std::mem::take(&mut installed.findings);
    let mut notes = Vec::new();
    let mut context = context(settings, installed, &mut notes);
    let (limits, unseen_limits) = limits(&client, settings.namespace.as_deref()).await;
    context.cluster.limits = limits;
    installation.extend(unseen_limits);

    let (namespaces_metadata, unseen) = namespaces(&client, settings.namespace.as_deref()).await;
    // If all namespaces were read, an unknown one was created since, and counts as not opted in.
    let unknown = NamespaceMetadata {
        labels: unseen.is_none().then(selectors::Labels::default),
        ..NamespaceMetadata::default()
    };
    installation.extend(unseen);
    let mut ledger = Ledger::default();
    let tier = context.cluster.tier_for_new_pods().first().copied();
    let mut tier_usage = TierUsage::default();
    let pods = pods(&client, settings.namespace.as_deref(), |pod| {
        let workload = workload_of(&pod.metadata);
        let namespace_metadata = namespaces_metadata.get(&workload.namespace).unwrap_or(&unknown).clone();
        let count = Pods::Count(u64::from(!pod.is_over()));
        if let (Some(tier), false) = (tier, pod.is_over()) {
            tier_usage.add(&pod.spec, tier);
        }
        ledger.add(
            workload,
            count,
            &json!({"metadata": pod.metadata, "spec": pod.spec}),
            &namespace_metadata,
            &context,
        );
    });
    let pods = pods.await;
    installation.extend(pods.as_ref().err().map(|unseen| Finding::unseen("the pods", unseen)));
    installation.extend(tier_usage.finding());

    let zone = Settings::defaults().cluster_domain;
    if settings.common.cluster().domain.is_none() && context.cluster.domain == zone {
        notes.push(format!("assuming the cluster domain {zone}; set another one with --cluster-domain"));
    }
    let has_tier = !context.cluster.tier_for_new_pods().is_empty();
    Ok(Report {
        source: Source::Cluster { server, namespace: settings.namespace.clone() },
        installation,
        notes,
        cluster_dns: dns::addresses(&context.cluster.dns),
        cluster_domain: context.cluster.domain,
        refused: Vec::new(),
        namespaces_metadata,
        ledger,
        is_whole: pods.is_ok(),
        has_tier,
        as_if_enabled: settings.as_if_enabled,
    })
}

/// The inputs of the installed webhook; flags of the command line take precedence, one by one.
fn context(settings: &Check, installed: Installation, notes: &mut Vec<String>) -> Context {
    let ours = &settings.common;
    let theirs = installed.settings.as_deref();
    let mut flags = ours.cluster();
    let their_flags = theirs.map(Common::cluster).unwrap_or_default();
    if flags.shared_tier.is_empty() {
        flags.shared_tier = their_flags.shared_tier;
    }
    // The resolv.conf of this machine is not used for another cluster; one that is set explicitly is.
    let mut resolv_conf = String::new();
    if ours.resolv_conf.is_some() {
        resolv_conf = ours.resolv_conf().unwrap_or_else(|why| {
            notes.push(why);
            String::new()
        });
    } else {
        if flags.dns.is_empty() {
            flags.dns = their_flags.dns;
        }
        if flags.extra_search.is_empty() {
            flags.extra_search = their_flags.extra_search;
        }
        flags.domain = flags.domain.or(their_flags.domain);
    }
    let mut cluster = Cluster::new(&flags, &resolv_conf);
    if cluster.dns.is_empty() {
        cluster.dns = installed.cluster_dns;
    }
    if cluster.dns.is_empty() {
        cluster.dns.push(ASSUMED_DNS);
    }
    if cluster.shared_tier.addresses.is_empty() {
        cluster.shared_tier = Tier::at(Vec::from_iter(installed.tier));
    }
    cluster.version = Some(installed.version);
    // The installed webhook itself checks cluster DNS.
    cluster.admits_namespaces = !installed.is_kube_dns;
    let mut policy = ours.policy();
    if let Some(theirs) = theirs {
        if ours.image == OWN_IMAGE {
            policy.image.clone_from(&theirs.image);
        }
        if ours.defaults.is_empty() {
            policy.defaults.clone_from(&theirs.defaults);
        }
    }
    Context {
        cluster,
        policy,
        selectors: installed.selectors.unwrap_or_else(Selectors::installed),
        as_if_enabled: settings.as_if_enabled,
        with_diff: settings.verbose,
    }
}

/// The namespaces, or the requested one, and a finding if they could not be read.
async fn namespaces(
    client: &kube::Client,
    only: Option<&str>,
) -> (BTreeMap<String, NamespaceMetadata>, Option<Finding>) {
    let mut namespaces_metadata = BTreeMap::new();
    let seen = if let Some(name) = only {
        let found = get(client, Resource::object("", "namespaces", None, name)).await;
        found.map(|namespace| namespaces_metadata.extend(namespace_metadata(&namespace["metadata"])))
    } else {
        let progress = Progress::of("namespaces");
        let each = |page: Vec<Namespace>, still: Option<u64>| {
            progress.page(page.len() as u64, still);
            let page = page.iter().filter_map(|namespace| namespace_metadata(&namespace.metadata));
            namespaces_metadata.extend(page);
        };
        list(client, Resource::list("", "namespaces", None), None, each).await
    };
    let finding = seen.err().map(|unseen| match (&unseen, only) {
        (Unseen::Absent, Some(name)) => Finding::absent_namespace(name),
        _ => Finding::unseen("the labels of namespaces (assuming that all are opted in)", &unseen),
    });
    (namespaces_metadata, finding)
}

/// The LimitRanges, and a finding if they could not be read.
async fn limits(client: &kube::Client, only: Option<&str>) -> (Limits, Option<Finding>) {
    let mut ranges: Vec<Value> = Vec::new();
    let resource = Resource::list("", "limitranges", only);
    let seen = list(client, resource, None, |page: Vec<Value>, _| ranges.extend(page)).await;
    let what = "the LimitRanges (assuming that there are none)";
    (Limits::of(&ranges), seen.err().map(|unseen| Finding::unseen(what, &unseen)))
}

/// The relevant metadata of a namespace: a cluster may have ten thousand.
fn namespace_metadata(metadata: &Value) -> Option<(String, NamespaceMetadata)> {
    let annotations = metadata["annotations"].as_object().into_iter().flatten();
    let annotations: Map<_, _> = annotations
        .filter(|(key, _)| namespace::concerns_us(key))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    Some((
        metadata["name"].as_str()?.to_owned(),
        NamespaceMetadata { labels: Some(selectors::labels(metadata)), annotations },
    ))
}

#[derive(Deserialize)]
struct Namespace {
    metadata: Value,
}

/// The fields of a pod that are read: of its large status, only the phase.
#[derive(Deserialize)]
struct Pod {
    metadata: Value,
    spec: Value,
    #[serde(default)]
    status: Status,
}

#[derive(Default, Deserialize)]
struct Status {
    #[serde(default)]
    phase: String,
}

impl Pod {
    /// Whether the pod has ended and only its object remains.
    fn is_over(&self) -> bool {
        ["Succeeded", "Failed"].contains(&self.status.phase.as_str())
    }
}

async fn pods(client: &kube::Client, namespace: Option<&str>, mut each: impl FnMut(Pod)) -> Seen<()> {
    let progress = Progress::of("pods");
    list(client, Resource::list("", "pods", namespace), None, |page: Vec<Pod>, still| {
        progress.page(page.len() as u64, still);
        page.into_iter().for_each(&mut each);
    })
    .await
}

/// A client with the same configuration as kubectl, and the URL of the API server.
async fn client(settings: &Check) -> Result<(kube::Client, String), Error> {
    let options = KubeConfigOptions { context: settings.context.clone(), ..KubeConfigOptions::default() };
    let kubeconfig = match &settings.kubeconfig {
        Some(file) => Kubeconfig::read_from(file),
        None => Kubeconfig::read(),
    };
    let is_pod = std::env::var_os("KUBERNETES_SERVICE_HOST").is_some();
    let config = match kubeconfig {
        // In a pod, kubectl falls back to the service account, too.
        Err(_) if settings.kubeconfig.is_none() && is_pod => {
            kube::Config::incluster().map_err(|error| sentence(&error))
        }
        // The message of the library has nested quotes around the path.
        Err(KubeconfigError::ReadConfig(why, path)) => Err(format!("{}: {why}", path.display())),
        Err(error) => Err(sentence(&error)),
        Ok(kubeconfig) => {
            kube::Config::from_custom_kubeconfig(kubeconfig, &options).await.map_err(|error| sentence(&error))
        }
    };
    let connected = config.and_then(|config| {
        let server = config.cluster_url.to_string();
        kube::Client::try_from(config).map(|client| (client, server)).map_err(|error| sentence(&error))
    });
    connected.map_err(|why| Error {
        what: format!("cannot connect to a cluster: {why}"),
        next: "set KUBECONFIG, --kubeconfig FILE or --context NAME; to check documents, use -f FILE"
            .to_owned(),
    })
}
