//! Reads the facts that [`super::installation`] evaluates.

use std::collections::{BTreeMap, HashSet};
use std::ffi::OsString;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::Service;
use podlocal_settings::names::{SHARED_TIER, SHARED_TIER_LABEL};
use serde_json::Value;

use super::api::{Resource, Seen, Unseen, get, list};
use super::installation::{CERT_CONTROLLER, Facts};
use crate::cluster::tier;
use crate::config::{self, Command, Common};
use crate::review::cluster_state::Version;

/// The namespace and Service of `manifests/base`, used if the configuration names none.
const USUAL: (&str, &str) = ("podlocal-dns", "podlocal-dns-webhook");

/// Reads all facts. The caller detects an unreachable API server by the version.
pub(crate) async fn read(client: &kube::Client, configuration: &str) -> Facts {
    let version = version(client).await;
    let resource = Resource::object(
        "admissionregistration.k8s.io",
        "mutatingwebhookconfigurations",
        None,
        configuration,
    );
    let found = get(client, resource).await;
    let service = found
        .as_ref()
        .map(|found| found["webhooks"][0]["clientConfig"]["service"].clone())
        .unwrap_or_default();
    let namespace = service["namespace"].as_str().unwrap_or(USUAL.0);
    let name = service["name"].as_str().unwrap_or(USUAL.1);
    let cluster_dns = cluster_dns(client).await;
    let family = cluster_dns.as_ref().ok().and_then(|addresses| addresses.first()).map(SocketAddr::ip);
    let tier = tier(client, namespace, family).await;
    let tier_endpoints = match &tier {
        Ok(tier::Found { used: Some((service, _)), .. }) => endpoints(client, namespace, service).await,
        _ => Err(Unseen::Absent),
    };
    Facts {
        version,
        endpoints: (format!("{namespace}/{name}"), endpoints(client, namespace, name).await),
        settings: settings(client, namespace, name).await,
        cert_controller: ready_replicas(client, namespace, CERT_CONTROLLER).await,
        tier,
        tier_endpoints,
        configuration: (configuration.to_owned(), found),
        cluster_dns,
        is_kube_dns: is_kube_dns(client).await,
        old_nodes: old_nodes(client).await,
    }
}

/// The version of the API server, which every user may read.
pub(crate) async fn version(client: &kube::Client) -> Seen<Version> {
    let info = client.apiserver_version().await;
    let info = info.map_err(|error| Unseen::Failed(super::api::sentence(&error)))?;
    let unknown = || Unseen::Failed(format!("invalid version {:?} of the API server", info.git_version));
    Version::parse(&info.major, &info.minor).ok_or_else(unknown)
}

async fn endpoints(client: &kube::Client, namespace: &str, service: &str) -> Seen<u64> {
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

async fn ready_replicas(client: &kube::Client, namespace: &str, name: &str) -> Seen<u64> {
    // An absent value means 0 (`DeploymentStatus` in `k8s.io/api/apps/v1`).
    let found = get(client, deployment(namespace, name)).await;
    found.map(|found| found["status"]["readyReplicas"].as_u64().unwrap_or(0))
}

async fn cluster_dns(client: &kube::Client) -> Seen<Vec<SocketAddr>> {
    let mut services = Vec::new();
    let each = |page: Vec<Value>, _| services.extend(page);
    list(client, services_of("kube-system"), Some("k8s-app=kube-dns"), each).await?;
    services.sort_by_key(|service| service["metadata"]["name"] != "kube-dns");
    let ips = services.first().and_then(|service| service["spec"]["clusterIPs"].as_array());
    let ips = ips.into_iter().flatten().filter_map(|ip| ip.as_str()?.parse::<IpAddr>().ok());
    Ok(ips.map(|ip| SocketAddr::new(ip, 53)).collect())
}

/// Whether cluster DNS is kube-dns, if the user may read its Deployment: it has a container `kubedns`
/// (`cluster/addons/dns/kube-dns` of Kubernetes).
async fn is_kube_dns(client: &kube::Client) -> bool {
    let found = get(client, deployment("kube-system", "kube-dns")).await.unwrap_or_default();
    let containers = found["spec"]["template"]["spec"]["containers"].as_array();
    containers.into_iter().flatten().any(|container| container["name"] == "kubedns")
}

/// The nodes whose kubelets do not support native sidecars, if the user may read nodes: the name and version
/// of each.
async fn old_nodes(client: &kube::Client) -> Vec<(String, String)> {
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
    old
}

async fn tier(client: &kube::Client, namespace: &str, dns: Option<IpAddr>) -> Seen<tier::Found> {
    let mut services: Vec<Service> = Vec::new();
    let labels = format!("{SHARED_TIER_LABEL}={SHARED_TIER}");
    let seen = list(client, services_of(namespace), Some(&labels), |page, _| services.extend(page));
    seen.await.map(|()| tier::choose(services.iter(), dns))
}

fn services_of(namespace: &str) -> Resource<'_> {
    Resource::list("", "services", Some(namespace))
}

fn deployment<'a>(namespace: &'a str, name: &'a str) -> Resource<'a> {
    Resource::object("apps", "deployments", Some(namespace), name)
}

/// The settings of the installed webhook: the arguments of its Deployment, which has the name of its Service,
/// and the files of its ConfigMaps.
async fn settings(client: &kube::Client, namespace: &str, name: &str) -> Seen<Box<Common>> {
    let deployment = get(client, deployment(namespace, name)).await?;
    let pod = &deployment["spec"]["template"]["spec"];
    let mut containers = pod["containers"].as_array().into_iter().flatten();
    let container = containers.find(|container| container["args"].is_array());
    let container = container.ok_or_else(|| Unseen::Failed("its Deployment has no args".to_owned()))?;
    let mut files = BTreeMap::new();
    for (mount, map) in mounts(container, pod) {
        let found = get(client, Resource::object("", "configmaps", Some(namespace), map)).await;
        let found = found.map_err(|unseen| match unseen {
            Unseen::Absent => {
                Unseen::Failed(format!("ConfigMap {map}, which its Deployment mounts, not found"))
            }
            other => other,
        })?;
        files.extend(files_of(&found, mount));
    }
    parse(container, &files)
}

/// The mounts of ConfigMaps in a container, with the names of the ConfigMaps.
fn mounts<'a>(container: &'a Value, pod: &'a Value) -> impl Iterator<Item = (&'a Value, &'a str)> {
    let volumes = pod["volumes"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mounts = container["volumeMounts"].as_array().into_iter().flatten();
    mounts.filter_map(move |mount| {
        let volume = volumes.iter().find(|volume| volume["name"] == mount["name"])?;
        Some((mount, volume["configMap"]["name"].as_str()?))
    })
}

/// The files of a mounted ConfigMap: all files below its path, or one file at the path (`subPath`).
fn files_of(map: &Value, mount: &Value) -> Vec<(PathBuf, String)> {
    let path = Path::new(mount["mountPath"].as_str().unwrap_or_default());
    let texts = map["data"].as_object().into_iter().flatten();
    let texts = texts.filter_map(|(key, text)| Some((key, text.as_str()?.to_owned())));
    match mount["subPath"].as_str() {
        Some(wanted) => {
            texts.filter(|(key, _)| *key == wanted).map(|(_, text)| (path.to_owned(), text)).collect()
        }
        None => texts.map(|(key, text)| (path.join(key), text)).collect(),
    }
}

/// Parses the arguments of the container, as the webhook does.
fn parse(container: &Value, files: &BTreeMap<PathBuf, String>) -> Seen<Box<Common>> {
    let arguments = container["args"].as_array().into_iter().flatten();
    let arguments = arguments.map(|argument| OsString::from(argument.as_str().unwrap_or_default()));
    let read = |file: &Path| {
        let text = files.get(file).cloned();
        text.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "no mounted ConfigMap contains this file"))
    };
    match config::parse(arguments, read) {
        Ok(Command::Serve(serve)) => Ok(Box::new(serve.common)),
        Ok(_) => Err(Unseen::Failed("its Deployment does not run the command serve".to_owned())),
        Err(errors) => Err(Unseen::Failed(errors.to_string().replace('\n', " "))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_webhooks_settings_file_is_read_where_its_config_map_is_mounted() {
        let pod = json!({"volumes": [{"name": "s", "configMap": {"name": "settings"}}, {"name": "t", "secret": {}}]});
        let map = json!({"data": {"settings.yaml": "ndots: 3\n", "other": "x"}});
        let file = "/etc/podlocal/settings.yaml";
        for (mount, is_found) in [
            (json!({"name": "s", "mountPath": "/etc/podlocal"}), true),
            (json!({"name": "s", "mountPath": file, "subPath": "settings.yaml"}), true),
            (json!({"name": "s", "mountPath": file, "subPath": "other"}), false),
            (json!({"name": "s", "mountPath": "/etc/other"}), false),
            (json!({"name": "t", "mountPath": "/etc/podlocal"}), false),
        ] {
            let args = ["serve", "--sidecar-image=registry.example/sidecar:1", &format!("--settings={file}")];
            let container = json!({"args": args, "volumeMounts": [mount]});
            let files = mounts(&container, &pod).flat_map(|(mount, name)| {
                assert_eq!(name, "settings");
                files_of(&map, mount)
            });
            let parsed = parse(&container, &files.collect());
            assert_eq!(parsed.is_ok(), is_found, "{container}");
            if let Ok(common) = parsed {
                assert_eq!((common.image.as_str(), common.defaults.len()), ("registry.example/sidecar:1", 1));
            }
        }
    }
}
