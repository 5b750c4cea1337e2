//! The home-made kubelet: a pod, run as the kubelet runs one.
//!
//! It exists so that `cargo test` and `gang` run without root and without a cluster. A pod has network, mount, process, IPC
//! and host name namespaces of its own, a link to the node's bridge, the resolv.conf and hosts files that the kubelet would
//! write, its sysctls, the sidecar beside the application, and each container the user that its manifest names.
//!
//! Left out: images (containers run programs of the machine and see its files), cgroups, probes, restarts, graceful
//! termination, volumes, ephemeral containers, and pods in the node's network. Those are tested on a real node
//! (`tests/cluster`). `tests/cluster/models.rs` runs the same pods here and there and compares what is stored, resolv.conf,
//! the results of lookups and the number of queries at cluster DNS.
//!
//! ```text
//!   node.run(spec) -> Running          wait_for(..), execute(..), finished(); dropping it kills the pod
//!                        | lines of JSON (protocol)
//!                     pod-sandbox      namespaces, files, sysctls (sandbox); order of containers (kubelet)
//!                        |
//!                     containers       a process (container), and its user (launch)
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

use std::collections::BTreeMap;
use std::path::PathBuf;

use podlocal_settings::names;
use serde_json::Value;

use crate::failure::Failure;
use crate::node::Node;
use crate::programs::Programs;
use protocol::Sandbox;

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
}

impl PodSpec {
    /// A pod with nothing special about it.
    pub fn new(pod: Value, namespace: &str, cluster: ClusterNames) -> Self {
        Self { pod, namespace: namespace.to_owned(), cluster, environment: BTreeMap::new() }
    }
}

impl Node {
    /// Starts a pod. What becomes of it is seen in what this returns; dropping that ends the pod.
    pub fn run(&self, spec: PodSpec, programs: &Programs) -> Result<Running, Failure> {
        if spec.pod["spec"]["hostNetwork"] == true {
            return Err(Failure::new(
                "the pod has hostNetwork: true, which the model of a node does not support",
            ));
        }
        let (number, address) = self.next_pod();
        let name = format!("pod-{number}");
        let directory = self.directory(&name)?;
        let sandbox = Sandbox {
            address,
            link: name,
            programs: programs_by_name(programs),
            directory: directory.clone(),
            pod: spec.pod,
            namespace: spec.namespace,
            cluster: spec.cluster,
            environment: spec.environment,
        };
        Running::start(&sandbox, &programs.sandbox, directory)
    }
}

/// The names by which containers ask for programs that are not the machine's.
fn programs_by_name(programs: &Programs) -> BTreeMap<String, PathBuf> {
    BTreeMap::from([
        (names::SIDECAR_PATH.to_owned(), programs.sidecar.clone()),
        ("lookup".to_owned(), programs.lookup.clone()),
    ])
}
