//! Turns a plan into edits of the pod. Pure.

use podlocal_settings::names::{
    ADMIN_PORT_NAME, CONTAINER_NAME, PORT_SYSCTL, SIDECAR_PATH, SIDECAR_USER, STATUS_ANNOTATION,
};
use podlocal_settings::read::{Read, SettingError};
use podlocal_settings::table::{self, Setting};
use podlocal_settings::{Settings, value, write};
use serde_json::{Value, json};

use super::decide::{self, Plan};
use super::patch::{Builder, Error};
use super::{dns, reinvocation};

/// The value of [`STATUS_ANNOTATION`] if no setting was ignored.
const STATUS: &str = "injected";

/// The value of the sysctl: no port needs a privilege. "53" would take away the ports below it if the default
/// of the runtime is 0, as in containerd 2.
const NO_PRIVILEGED_PORTS: &str = "0";

/// Records the edits that inject the sidecar. `image` is its image, unless the plan names another one.
pub(crate) fn inject(pod: &mut Builder, plan: &Plan, image: &str) -> Result<(), Error> {
    let container = container(plan, image, plan.resources.clone());
    pod.set(&["metadata", "annotations", STATUS_ANNOTATION], json!(status(plan)))?;
    // In front of all others, so that DNS answers before any other container starts.
    pod.prepend(&["spec", "initContainers"], container)?;
    configure(pod, plan)
}

/// Sets what the pod needs besides the sidecar: port 53 without a privilege, and a resolv.conf that points to
/// it.
fn configure(pod: &mut Builder, plan: &Plan) -> Result<(), Error> {
    if decide::port_sysctl(&pod.document()["spec"]).is_none() {
        let sysctl = json!({"name": PORT_SYSCTL, "value": NO_PRIVILEGED_PORTS});
        pod.append(&["spec", "securityContext", "sysctls"], sysctl)?;
    }
    pod.set(&["spec", "dnsPolicy"], json!("None"))?;
    pod.set(&["spec", "dnsConfig"], plan.dns.config.clone())
}

/// Moves the sidecar from index `from` back to the front, and corrects its variables.
pub(crate) fn correct(
    pod: &mut Builder,
    from: usize,
    corrections: &[(&'static Setting, String)],
) -> Result<(), Error> {
    if from > 0 {
        pod.move_to_front(&["spec", "initContainers"], from)?;
    }
    if corrections.is_empty() {
        return Ok(());
    }
    let variables = reinvocation::corrected_env(&pod.document()["spec"]["initContainers"][0], corrections);
    pod.set(&["spec", "initContainers", "0", "env"], variables)
}

/// Replaces the sidecar at index `from` with a new one, moves it to the front, and sets its DNS
/// configuration. The other containers are moved and not written: only a part of their fields may be known
/// here.
pub(crate) fn replace(pod: &mut Builder, from: usize, plan: &Plan, image: &str) -> Result<(), Error> {
    let container = container(plan, image, plan.resources.clone());
    pod.set(&["metadata", "annotations", STATUS_ANNOTATION], json!(status(plan)))?;
    pod.set(&["spec", "initContainers", &from.to_string()], container)?;
    if from > 0 {
        pod.move_to_front(&["spec", "initContainers"], from)?;
    }
    configure(pod, plan)
}

/// The errors in all ignored settings of the pod.
pub(crate) fn ignored(plan: &Plan) -> impl Iterator<Item = &SettingError> {
    plan.read.errors.iter().chain(&plan.dns.errors)
}

fn status(plan: &Plan) -> String {
    let ignored: Vec<_> = ignored(plan).map(ToString::to_string).collect();
    if ignored.is_empty() { STATUS.to_owned() } else { format!("{STATUS}; ignored: {}", ignored.join("; ")) }
}

/// The container of the sidecar.
///
/// A native sidecar is an init container with restartPolicy `Always`: the kubelet creates the next container
/// only after the process of this one runs. It has no volumes: an `emptyDir` would keep the autoscaler from
/// removing nodes.
fn container(plan: &Plan, image: &str, resources: Option<Value>) -> Value {
    let settings = &plan.read.settings;
    let mut container = json!({
        "name": CONTAINER_NAME,
        "image": settings.image.as_deref().unwrap_or(image),
        "imagePullPolicy": "IfNotPresent",
        "restartPolicy": "Always",
        "args": ["supervise"],
        "env": environment(plan),
    });
    // 0 means any free port, which no manifest can name.
    if settings.admin_port != 0 {
        container["ports"] =
            json!([{"name": ADMIN_PORT_NAME, "containerPort": settings.admin_port, "protocol": "TCP"}]);
    }
    match gate(&plan.read, plan.may_starve) {
        Gate::None => {}
        Gate::StartupProbe => {
            container["startupProbe"] = json!({
                "tcpSocket": {"port": settings.admin_port},
                "periodSeconds": 1,
                "failureThreshold": STARTUP_PERIODS,
            });
        }
        Gate::Hook => {
            // The next container starts when the command returns; the command limits its own waiting time.
            container["lifecycle"] = json!({"postStart": {"exec": {"command": [SIDECAR_PATH, "await"]}}});
        }
    }
    if let Some(resources) = resources {
        container["resources"] = resources;
    }
    // What Pod Security "restricted" requires, set here because the pod's own securityContext may not set it.
    container["securityContext"] = json!({
        "runAsNonRoot": true,
        "runAsUser": SIDECAR_USER,
        "runAsGroup": SIDECAR_USER,
        "readOnlyRootFilesystem": true,
        "allowPrivilegeEscalation": false,
        "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    });
    if let Some(context) = container["securityContext"].as_object_mut()
        && plan.is_user_assigned
    {
        context.retain(|key, _| key != "runAsUser" && key != "runAsGroup");
    }
    container["terminationMessagePolicy"] = json!("FallbackToLogsOnError");
    container
}

/// What the kubelet waits for, after it has started the process of the sidecar, before it starts the next
/// container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Gate {
    /// Nothing. The sockets are bound long before the kubelet has created the next container.
    None,
    /// A connection to the admin port, which is bound after those for DNS. It costs no CPU, but a second: the
    /// kubelet probes once a second.
    StartupProbe,
    /// `podlocal-sidecar await`, which costs the node more than the container does.
    Hook,
}

/// How many seconds the sidecar may take to bind its sockets before the kubelet restarts it. It needs 2 ms of
/// CPU.
const STARTUP_PERIODS: u32 = 600;

/// | `ready-timeout` | `prefetch-names` | admin port | may starve ([`super::qos::may_starve`]) | the gate |
/// |---|---|---|---|---|
/// | 0 | any | any | any | none: the owner of the pod disables it |
/// | set, above 0 | any | any | any | hook: the owner of the pod requests it |
/// | default | some | any | any | hook, which waits for the answers |
/// | default | none | known | yes | startup probe |
/// | default | none | any free one | yes | none: there is no port to probe |
/// | default | none | any | no | none |
fn gate(read: &Read, may_starve: bool) -> Gate {
    let is_asked_for = read.accepted.iter().any(|(setting, _)| *setting == &table::READY_TIMEOUT);
    let settings = &read.settings;
    if settings.ready_timeout.is_zero() {
        Gate::None
    } else if is_asked_for || !settings.prefetch_names.is_empty() {
        Gate::Hook
    } else if may_starve && settings.admin_port != 0 {
        Gate::StartupProbe
    } else {
        Gate::None
    }
}

/// The variables of the sidecar: the given settings, overridden by those that were decided for this pod.
fn environment(plan: &Plan) -> Value {
    let mut read: Read = plan.read.clone();
    for (setting, text) in decided(plan) {
        read.accepted.retain(|(other, _)| *other != setting);
        read.accepted.push((setting, text));
    }
    let variables = write::variables(&read);
    variables.into_iter().map(|(name, value)| json!({"name": name, "value": value})).collect()
}

/// The settings that follow from the pod: the upstream servers, the shared tier if there is one, and the
/// search expansion. The search list is written only if it does not follow from the namespace. Which names
/// the sidecar may answer itself follows from the checks of cluster DNS, unless it is set explicitly.
///
/// Every value is valid for the sidecar: it does not start with an invalid value, and then the pod has no
/// DNS. An invalid namespace can only come from a document on disk; such a pod is never created.
fn decided(plan: &Plan) -> Vec<(&'static Setting, String)> {
    let mut decided = vec![
        (&table::NDOTS, plan.dns.expansion.ndots.to_string()),
        (&table::ORIGINAL_NDOTS, plan.dns.original_ndots.to_string()),
        (&table::UPSTREAM, dns::addresses(&plan.dns.upstream)),
        (&table::BACKUP_UPSTREAM, dns::addresses(&plan.dns.backup_upstream)),
        (&table::SHARED_TIER, dns::addresses(&plan.dns.shared_tier)),
        (&table::CLUSTER_DOMAIN, plan.zone.to_string()),
    ];
    let is_chosen = plan.read.accepted.iter().any(|(setting, _)| *setting == &table::LOCAL_NXDOMAIN);
    if !is_chosen {
        decided.push((&table::LOCAL_NXDOMAIN, plan.local_nxdomain.name().to_owned()));
    }
    if let Some(wait_timeout) = plan.dns.wait_timeout {
        decided.push((&table::WAIT_TIMEOUT, format!("{}ms", wait_timeout.as_millis())));
    }
    let namespace = value::namespace(&plan.namespace).ok();
    decided.extend(namespace.clone().map(|namespace| (&table::NAMESPACE, namespace)));
    let mut told = Settings { namespace, cluster_domain: plan.zone.clone(), ..Settings::defaults() };
    if plan.dns.expansion.search != told.search_list() {
        decided.push((&table::SEARCH, write::search_list(&plan.dns.expansion.search)));
    }
    told.search = Some(plan.dns.expansion.search.clone());
    let tried = told.completion_list();
    let mut asked_for = plan.dns.own_search.clone();
    asked_for.retain(|domain| !tried.contains(domain));
    if !asked_for.is_empty() {
        decided.push((&table::COMPLETION_DOMAINS, write::search_list(&asked_for)));
    }
    decided
}

#[cfg(test)]
mod tests {
    use super::*;
    use podlocal_settings::read::{Given, read};

    #[test]
    fn the_gate_follows_the_settings_and_the_cpu_requests() {
        let settings = |given: &[(&str, &str)]| {
            read(|setting| {
                let given = given.iter().filter(|(name, _)| *name == setting.name);
                given.map(|(name, text)| Given { origin: (*name).into(), text: (*text).into() }).collect()
            })
        };
        for (given, may_starve, expected) in [
            (&[][..], true, Gate::StartupProbe),
            (&[], false, Gate::None),
            (&[("admin-port", "0")], true, Gate::None),
            (&[("ready-timeout", "5s")], false, Gate::Hook),
            (&[("ready-timeout", "0s")], true, Gate::None),
            (&[("prefetch-names", "db")], true, Gate::Hook),
            (&[("prefetch-names", "db"), ("ready-timeout", "0s")], true, Gate::None),
        ] {
            assert_eq!(gate(&settings(given), may_starve), expected, "{given:?} {may_starve}");
        }
    }
}
