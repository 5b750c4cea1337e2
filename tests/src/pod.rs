//! A pod, run as the kubelet runs one.
//!
//! It has network, mount, process, IPC and host name namespaces of its own, a link to the node's bridge, the
//! resolv.conf and hosts files that the kubelet would write, and its sysctls. There are no images: a container
//! runs programs of the machine, as the user and with the rights that its manifest says.
//!
//! ```text
//!   node.run(spec) -> Running          wait_for(..), execute(..), signal(..), delete(), finished()
//!                        | lines of JSON (protocol)
//!                     pod-sandbox      namespaces, files, sysctls (sandbox); order of containers (kubelet)
//!                        |
//!                     containers       user, rights, root directory (launch)
//! ```

mod container;
mod kubelet;
mod launch;
mod protocol;
mod resolv_conf;
mod running;
mod sandbox;
mod sysctls;

pub use protocol::{Executed, Exit};
pub use resolv_conf::{ClusterNames, hostname, hosts, resolv_conf};
pub use running::{ContainerStatus, Running, Status};
pub use sandbox::main as sandbox_main;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use podlocal_settings::names;
use serde_json::Value;

use crate::failure::Failure;
use crate::node::Node;
use crate::programs::Programs;
use protocol::Sandbox;

/// The kubelet's pause before the second restart of a container.
const BACK_OFF: Duration = Duration::from_secs(10);

/// A pod that is to be run, and what the node has to know besides.
#[derive(Debug, Clone)]
pub struct PodSpec {
    /// The pod, after admission.
    pub pod: Value,
    /// Its namespace.
    pub namespace: String,
    /// What the kubelet knows about DNS.
    pub cluster: ClusterNames,
    /// Variables that every container gets besides its own.
    pub environment: BTreeMap<String, String>,
    /// The containers that get an empty root directory: nothing in it but their program, nothing writable.
    ///
    /// It is what a container of a `FROM scratch` image with a read-only root sees; a program that is not
    /// static cannot start there.
    pub empty_roots: BTreeSet<String>,
    /// The pause before the second restart of a container; the first is at once, each later one doubles it.
    pub back_off: Duration,
}

impl PodSpec {
    /// A pod with nothing special about it.
    pub fn new(pod: Value, namespace: &str, cluster: ClusterNames) -> Self {
        Self {
            pod,
            namespace: namespace.to_owned(),
            cluster,
            environment: BTreeMap::new(),
            empty_roots: BTreeSet::new(),
            back_off: BACK_OFF,
        }
    }

    /// Gives a container an empty root directory.
    #[must_use]
    pub fn with_empty_root(mut self, container: &str) -> Self {
        self.empty_roots.insert(container.to_owned());
        self
    }
}

impl Node {
    /// Starts a pod. What becomes of it is seen in what this returns; dropping that ends the pod.
    pub fn run(&self, spec: PodSpec, programs: &Programs) -> Result<Running, Failure> {
        let (number, address) = self.next_pod();
        let name = format!("pod-{number}");
        let directory = self.directory(&name)?;
        let sandbox = Sandbox {
            address,
            link: name,
            programs: programs_by_name(programs),
            entry_points: entry_points(),
            directory: directory.clone(),
            pod: spec.pod,
            namespace: spec.namespace,
            cluster: spec.cluster,
            environment: spec.environment,
            empty_roots: spec.empty_roots,
            back_off: spec.back_off,
        };
        Running::start(&sandbox, &programs.sandbox, directory)
    }
}

/// The names by which containers ask for programs that are not the machine's.
fn programs_by_name(programs: &Programs) -> BTreeMap<String, PathBuf> {
    BTreeMap::from([
        (names::SIDECAR_PATH.to_owned(), programs.sidecar.clone()),
        (WEBHOOK_PATH.to_owned(), programs.webhook.clone()),
        ("lookup".to_owned(), programs.lookup.clone()),
    ])
}

/// The webhook's program inside its image.
const WEBHOOK_PATH: &str = "/podlocal-webhook";

/// The sidecar's image has its program as entry point; no other image is known here.
fn entry_points() -> BTreeMap<String, Vec<String>> {
    BTreeMap::from([(names::CONTAINER_NAME.to_owned(), vec![names::SIDECAR_PATH.to_owned()])])
}
