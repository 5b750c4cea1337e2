//! The meaning of a name in the cluster domain, and its targets: plugin/kubernetes of CoreDNS, without
//! records and messages.

use std::net::IpAddr;

use super::world::{Endpoint, Port, Service, World};

/// `recordRequest` of plugin/kubernetes/parse.go: the meaning of a name in the cluster domain.
pub(super) enum Request<'a> {
    /// The apex, `svc`, `pod`, and namespaces below them, which are checked by `find` and `pod`.
    Exists,
    Invalid,
    Pod {
        namespace: &'a str,
        name: Option<&'a str>,
    },
    Service {
        namespace: &'a str,
        name: Option<&'a str>,
        part: Part<'a>,
    },
}

/// The labels to the left of the Service's name.
pub(super) enum Part<'a> {
    Whole,
    Endpoint(&'a str),
    Port { name: &'a str, protocol: &'a str },
}

/// Underscores of port and protocol are optional: `stripUnderscore`.
pub(super) fn parse<'a>(left: &[&'a str]) -> Request<'a> {
    let bare = |label: &'a str| label.strip_prefix('_').unwrap_or(label);
    match *left {
        [] | ["svc" | "pod"] => Request::Exists,
        [namespace, "svc"] => Request::Service { namespace, name: None, part: Part::Whole },
        [name, namespace, "svc"] => Request::Service { namespace, name: Some(name), part: Part::Whole },
        [endpoint, name, namespace, "svc"] => {
            Request::Service { namespace, name: Some(name), part: Part::Endpoint(endpoint) }
        }
        [port, protocol, name, namespace, "svc"] => {
            let part = Part::Port { name: bare(port), protocol: bare(protocol) };
            Request::Service { namespace, name: Some(name), part }
        }
        [namespace, "pod"] => Request::Pod { namespace, name: None },
        // Up to two labels to the left of a pod's name are ignored, as by `findPods`.
        [name, namespace, "pod"] | [_, name, namespace, "pod"] | [_, _, name, namespace, "pod"] => {
            Request::Pod { namespace, name: Some(name) }
        }
        _ => Request::Invalid,
    }
}

/// `findPods` with `pods insecure`: the address is taken from the name if the namespace exists.
///
/// A namespace alone exists, and has no address: `Some(None)`.
#[expect(clippy::option_option, reason = "does it exist, and if so, which address: CoreDNS's two answers")]
pub(super) fn pod(world: &World, namespace: &str, name: Option<&str>) -> Option<Option<IpAddr>> {
    if !world.namespaces.contains(namespace) {
        return None;
    }
    let Some(name) = name else { return Some(None) };
    let is_v4 = name.matches('-').count() == 3 && !name.contains("--");
    name.replace('-', if is_v4 { "." } else { ":" }).parse().ok().map(Some)
}

/// A target of a Service's name.
pub(super) enum Target<'a> {
    Address { ip: IpAddr, port: Option<&'a Port>, owner: Vec<String> },
    Alias(&'a str),
}

/// `findServices`: no match means that the name does not exist, but an existing namespace alone is an empty
/// result.
pub(super) fn find<'a>(
    world: &'a World,
    namespace: &str,
    name: Option<&str>,
    part: &Part<'_>,
) -> Option<Vec<Target<'a>>> {
    if !world.namespaces.contains(namespace) {
        return None;
    }
    let Some(name) = name else { return Some(Vec::new()) };
    let service =
        world.services.iter().find(|service| service.name == name && service.namespace == namespace)?;
    if let Some(target) = &service.external_name {
        // An ExternalName has no endpoints, and no names to the left of it.
        return matches!(part, Part::Whole).then(|| vec![Target::Alias(target)]);
    }
    let targets = match part {
        Part::Endpoint(label) => {
            endpoints(service, |endpoint| endpoint.label().eq_ignore_ascii_case(label), None)
        }
        Part::Whole if service.cluster_ips.is_empty() => endpoints(service, |_| true, None),
        Part::Port { .. } if service.cluster_ips.is_empty() => endpoints(service, |_| true, Some(part)),
        Part::Whole | Part::Port { .. } => cluster_ips(service, part),
    };
    (!targets.is_empty()).then_some(targets)
}

fn cluster_ips<'a>(service: &'a Service, part: &Part<'_>) -> Vec<Target<'a>> {
    let ports = service.ports.iter().filter(|port| matches(part, port)).map(Some);
    let address = |port, &ip| Target::Address { ip, port, owner: service.labels() };
    ports.flat_map(|port| service.cluster_ips.iter().map(move |ip| address(port, ip))).collect()
}

fn endpoints<'a>(
    service: &'a Service,
    wanted: impl Fn(&Endpoint) -> bool,
    part: Option<&Part<'_>>,
) -> Vec<Target<'a>> {
    let mut targets = Vec::new();
    for endpoint in service.endpoints.iter().filter(|endpoint| wanted(endpoint)) {
        let owner = [vec![endpoint.label()], service.labels()].concat();
        // CoreDNS treats an endpoint without ports as one with an unnamed port of number -1.
        let mut ports: Vec<Option<&Port>> = service.ports.iter().map(Some).collect();
        if ports.is_empty() && part.is_none() {
            ports.push(None);
        }
        for port in ports {
            if part.is_none_or(|part| port.is_some_and(|port| matches(part, port))) {
                targets.push(Target::Address { ip: endpoint.address, port, owner: owner.clone() });
            }
        }
    }
    targets
}

/// `matchPortAndProtocol`: an empty value matches everything.
fn matches(part: &Part<'_>, port: &Port) -> bool {
    let same = |wanted: &str, is: &str| wanted.is_empty() || wanted.eq_ignore_ascii_case(is);
    match part {
        Part::Port { name, protocol } => same(name, &port.name) && same(protocol, &port.protocol),
        Part::Whole | Part::Endpoint(_) => true,
    }
}

/// The names of an address: `serviceRecordForIP` of plugin/kubernetes/reverse.go. A cluster IP has priority
/// over endpoints.
pub(super) fn owners_of(world: &World, ip: IpAddr) -> Vec<Vec<String>> {
    if let Some(service) = world.services.iter().find(|service| service.cluster_ips.contains(&ip)) {
        return vec![service.labels()];
    }
    let is_it = |endpoint: &Endpoint| endpoint.address == ip;
    let targets = world.services.iter().flat_map(|service| endpoints(service, is_it, None));
    let owner = |target| match target {
        Target::Address { owner, .. } => Some(owner),
        Target::Alias(_) => None,
    };
    targets.filter_map(owner).collect()
}
