//! Decides whether a pod is injected, and with which settings. Pure.

use podlocal_settings::Settings;
use podlocal_settings::names::{CONTAINER_NAME, INJECT_DISABLED, INJECT_ENABLED, INJECT_LABEL, PORT_SYSCTL};
use podlocal_settings::read::{Read, SettingError};
use podlocal_settings::table::{self, Setting};
use podlocal_settings::value::DomainName;
use podlocal_settings::value::LocalNxdomain;
use serde_json::Value;

use super::annotations::{self, Defaults};
use super::cluster_state::{Cluster, Version};
use super::dns::{self, Base, Dns};
use super::namespace::{Namespace, UID_RANGE};
use super::reinvocation;
use super::skip::Skip;
use super::{qos, restored};

mod windows;

pub(crate) use windows::{OS_LABELS, REQUIRED_AFFINITY, WINDOWS_BUILD_LABEL};

/// The treatment of a pod.
#[derive(Debug)]
pub(crate) enum Decision {
    /// Inject the sidecar, as planned.
    Inject(Box<Plan>),
    /// The pod has the sidecar, but another webhook has changed something since.
    Correct {
        /// The index of the sidecar among the init containers; it is moved back to the front.
        from: usize,
        /// The settings of the sidecar that no longer fit.
        corrections: Vec<(&'static Setting, String)>,
    },
    /// The pod has a sidecar from another namespace or cluster.
    Replace {
        /// The index of that sidecar among the init containers.
        from: usize,
        /// The pod without it, about which to decide again.
        without: Box<Value>,
    },
    /// Leave the pod unchanged.
    Skip(Skip),
}

/// Everything that [`super::inject`] needs besides the pod.
#[derive(Debug)]
pub(crate) struct Plan {
    /// The pod's settings, and the errors in the ignored ones.
    pub(crate) read: Read,
    pub(crate) dns: Dns,
    pub(crate) zone: DomainName,
    pub(crate) namespace: String,
    /// Which names the sidecar may answer itself, if the pod does not set it.
    pub(crate) local_nxdomain: LocalNxdomain,
    /// The resources of the sidecar; `None` if it has none.
    pub(crate) resources: Option<Value>,
    /// Whether another container may run before the sidecar does, although it was started later.
    pub(crate) may_starve: bool,
    /// Whether the platform assigns the user of the container.
    pub(crate) is_user_assigned: bool,
}

/// Decides about one pod. The first matching line applies:
///
/// | the pod | the decision |
/// |---|---|
/// | has no `spec` with containers | skip `no_containers` |
/// | label `inject: disabled` | skip `opted_out` |
/// | annotation of mirror pods | skip `mirror_pod` |
/// | `os.name`, node selector, required affinity or options of Windows ([`windows`]) | skip `windows_pod` |
/// | the sidecar, for another namespace, cluster domain or cluster DNS ([`restored`]) | replace it, if the pod without it is injected |
/// | the sidecar, first of the init containers, with settings that match the dnsConfig | skip `already_injected` |
/// | the sidecar, not first | move it to the front; correct its settings if necessary |
/// | the sidecar, first, with settings that do not match the dnsConfig | correct its settings |
/// | another container with the name of the sidecar | skip `container_name_taken` |
/// | `hostNetwork` | skip `host_network` |
/// | the API server is older than 1.29 | skip `kubernetes_too_old` |
/// | dnsPolicy `Default` | skip `dns_policy_default` |
/// | dnsPolicy `None`, label not `inject: enabled` | skip `dns_policy_none` |
/// | an unknown dnsPolicy | skip `dns_policy_unknown` |
/// | a container declares port 53 | skip `dns_port_taken` |
/// | a container declares the sidecar's admin port | use the default port if the chosen one is taken and the default is free; else skip `admin_port_taken` |
/// | a sysctl reserves port 53 for privileged processes | skip `privileged_port_sysctl` |
/// | no upstream server, or a dnsConfig that the API server would reject | skip, with that reason |
/// | a LimitRange of the namespace would reject it with the sidecar | skip `limit_range_conflict` |
/// | dnsPolicy `None`, label `inject: enabled` | inject, with its own servers as upstream |
/// | `ClusterFirst`, `ClusterFirstWithHostNet` or no dnsPolicy | inject |
///
/// The selectors of the webhook configuration ensure that the pod is opted in at all. A label with any other
/// value has no effect: the label of the namespace decides.
pub(crate) fn decide(pod: &Value, namespace: &Namespace, cluster: &Cluster, defaults: &Defaults) -> Decision {
    examine(pod, namespace, cluster, defaults).unwrap_or_else(Decision::Skip)
}

fn examine(
    pod: &Value,
    namespace: &Namespace,
    cluster: &Cluster,
    defaults: &Defaults,
) -> Result<Decision, Skip> {
    let (metadata, spec) = (&pod["metadata"], &pod["spec"]);
    let label = metadata["labels"][INJECT_LABEL].as_str();
    if !spec["containers"].is_array() {
        return Err(Skip::NoContainers);
    }
    if label == Some(INJECT_DISABLED) {
        return Err(Skip::OptedOut);
    }
    if !metadata["annotations"]["kubernetes.io/config.mirror"].is_null() {
        return Err(Skip::MirrorPod);
    }
    if windows::is_windows(spec) {
        return Err(Skip::WindowsPod);
    }
    let mut read = annotations::read(
        metadata["annotations"].as_object(),
        Some(&namespace.annotations),
        defaults,
        &cluster.domain,
    );
    if let Some(at) = find_sidecar(spec)? {
        let container = &spec["initContainers"][at];
        let sidecar = reinvocation::sidecar_settings(container);
        let has_upstream = !read.settings.upstream.is_empty();
        if restored::is_from_elsewhere(spec, &sidecar, namespace, cluster, has_upstream) {
            let without = Box::new(restored::without_sidecar(pod, at, &sidecar));
            return Ok(Decision::Replace { from: at, without });
        }
        let corrections = reinvocation::corrections(spec, container);
        if at == 0 && corrections.is_empty() {
            return Err(Skip::AlreadyInjected);
        }
        return Ok(Decision::Correct { from: at, corrections });
    }
    if spec["hostNetwork"] == true {
        return Err(Skip::HostNetwork);
    }
    if cluster.version.is_some_and(|version| version < Version::NATIVE_SIDECARS) {
        return Err(Skip::KubernetesTooOld);
    }
    let base = dns_base(&spec["dnsPolicy"], label)?;

    if declares_port(spec, 53) {
        return Err(Skip::DnsPortTaken);
    }
    free_admin_port(&mut read, spec)?;
    if port_sysctl(spec).is_some_and(|start| start > 53) {
        return Err(Skip::PrivilegedPortSysctl);
    }
    let dns = dns::configure(base, &spec["dnsConfig"], &namespace.name, cluster, &read)?;
    let resources = qos::sidecar_resources(spec, &read.settings);
    let resources = cluster.limits.fit(&namespace.name, resources, spec, &read.settings);
    let resources = resources.map_err(|_exceeded| Skip::LimitRangeConflict)?;
    Ok(Decision::Inject(Box::new(Plan {
        read,
        local_nxdomain: cluster.local_nxdomain(base == Base::Own, dns.upstream.first()),
        dns,
        zone: cluster.domain.clone(),
        namespace: namespace.name.clone(),
        resources,
        may_starve: qos::may_starve(spec),
        is_user_assigned: is_user_assigned(spec, namespace),
    })))
}

/// Whether the sidecar names no user, because the platform assigns one. On OpenShift the SCC `restricted-v2`
/// rejects users outside the range of the namespace, and assigns one to a container that names none. If the
/// pod runs its containers as root, the sidecar must name its own user; an SCC that allows root allows this
/// user, too.
fn is_user_assigned(spec: &Value, namespace: &Namespace) -> bool {
    namespace.annotations.contains_key(UID_RANGE) && spec["securityContext"]["runAsUser"] != 0
}

/// The index of the sidecar among the init containers; `None` if there is none.
///
/// It is recognized by its name and as an init container with restartPolicy `Always`.
fn find_sidecar(spec: &Value) -> Result<Option<usize>, Skip> {
    let has_our_name = |container: &Value| container["name"] == CONTAINER_NAME;
    if spec["containers"].as_array().into_iter().flatten().any(has_our_name) {
        return Err(Skip::ContainerNameTaken);
    }
    let init_containers = spec["initContainers"].as_array().map(Vec::as_slice).unwrap_or_default();
    match init_containers.iter().position(has_our_name) {
        Some(index) if init_containers[index]["restartPolicy"] != "Always" => Err(Skip::ContainerNameTaken),
        found => Ok(found),
    }
}

/// The DNS servers that the pod uses without the sidecar. The API server defaults an absent policy to
/// `ClusterFirst`, and `ClusterFirstWithHostNet` without host network is the same.
fn dns_base(policy: &Value, label: Option<&str>) -> Result<Base, Skip> {
    match policy.as_str() {
        None | Some("ClusterFirst" | "ClusterFirstWithHostNet") => Ok(Base::Cluster),
        Some("None") if label == Some(INJECT_ENABLED) => Ok(Base::Own),
        Some("None") => Err(Skip::DnsPolicyNone),
        Some("Default") => Err(Skip::DnsPolicyDefault),
        Some(_) => Err(Skip::DnsPolicyUnknown),
    }
}

/// Falls back to the default admin port if a container declares the chosen one: an annotation of the
/// namespace must not keep the sidecar out of its pods.
fn free_admin_port(read: &mut Read, spec: &Value) -> Result<(), Skip> {
    let is_taken = |port: u16| port != 0 && declares_port(spec, port);
    if !is_taken(read.settings.admin_port) {
        return Ok(());
    }
    let default = Settings::defaults().admin_port;
    let chosen = read.accepted.iter().position(|(setting, _)| *setting == &table::ADMIN_PORT);
    let Some(chosen) = chosen.filter(|_| !is_taken(default)) else { return Err(Skip::AdminPortTaken) };
    let (setting, text) = read.accepted.remove(chosen);
    let expected = "a port that no container of the pod declares";
    read.errors.push(SettingError::new(format!("annotation {}", setting.annotation()), &text, expected));
    read.settings.admin_port = default;
    Ok(())
}

fn declares_port(spec: &Value, wanted: u16) -> bool {
    let containers = |kind: &str| spec[kind].as_array().into_iter().flatten();
    let mut ports = containers("initContainers")
        .chain(containers("containers"))
        .flat_map(|container| container["ports"].as_array().into_iter().flatten());
    ports.any(|port| port["containerPort"] == wanted)
}

/// The first port that needs no privilege according to the pod's sysctls: the larger one, if both spellings
/// are set.
///
/// Both spellings are valid and the API server does not see that they are the same
/// (`kubernetes/pkg/apis/core/validation`, `validateSysctls`). The API server rejects a value that is not a
/// number; here it counts as 0.
pub(crate) fn port_sysctl(spec: &Value) -> Option<i64> {
    let sysctls = spec["securityContext"]["sysctls"].as_array().into_iter().flatten();
    let ours = sysctls
        .filter(|sysctl| sysctl["name"].as_str().is_some_and(|name| name.replace('/', ".") == PORT_SYSCTL));
    ours.map(|sysctl| sysctl["value"].as_str().and_then(|text| text.trim().parse().ok()).unwrap_or(0)).max()
}

/// The error in a pod's label, if its value is neither enabled nor disabled.
pub(crate) fn label_error(pod: &Value) -> Option<SettingError> {
    let value = pod["metadata"]["labels"].get(INJECT_LABEL)?.as_str()?;
    if [INJECT_ENABLED, INJECT_DISABLED].contains(&value) {
        return None;
    }
    let expected = format!("{INJECT_ENABLED} or {INJECT_DISABLED}; the namespace decides");
    Some(SettingError::new(format!("label {INJECT_LABEL}"), value, expected))
}
