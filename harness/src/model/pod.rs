//! A model of the kubelet, which runs a pod.
//!
//! With it, `cargo test` and `gang` run without root and without a cluster. A pod has separate network,
//! mount, process, IPC and host name namespaces, a link to the node's bridge, and the resolv.conf and hosts
//! files that the kubelet would write. It also has its sysctls, and the sidecar next to the application. Each
//! container runs as the user in its manifest.
//!
//! The model does not have images (containers run programs of the machine and see its files), cgroups,
//! probes, restarts, graceful termination, volumes, ephemeral containers, and pods in the node's network.
//! These are tested on a real node (`tests/cluster`). `tests/cluster/models.rs` runs the same pods on the
//! model and on a real node, and compares the stored pods, resolv.conf, hosts, the results of lookups and the
//! number of queries to cluster DNS.
//!
//! ```text
//!   node.run(spec) -> Running          wait_for(..), execute(..), ...; dropping it kills the pod
//!                        | its status
//!                     a thread         in the namespaces of the pod (sandbox); order of containers (kubelet)
//!                        |
//!                     containers       a manifest, its commands and users (container); processes (process)
//! ```

mod container;
mod kubelet;
mod process;
mod resolv_conf;
mod running;
mod sandbox;
mod status;

pub use resolv_conf::ClusterNames;
pub use running::Running;
pub use status::{ContainerStatus, Status};

use std::collections::BTreeMap;
use std::path::PathBuf;

use podlocal_settings::names;
use serde_json::Value;

use crate::failure::Failure;
use crate::model::node::Node;
use crate::programs::Programs;
use sandbox::Sandbox;

/// The specification of a pod to run.
#[derive(Debug, Clone)]
pub struct PodSpec {
    /// The admitted pod.
    pub pod: Value,
    /// The admission warnings, which kubectl would print.
    pub warnings: Vec<String>,
    /// Its namespace.
    pub namespace: String,
    /// The DNS settings of the kubelet.
    pub cluster: ClusterNames,
    /// Additional environment variables for every container.
    pub environment: BTreeMap<String, String>,
}

impl Node {
    /// Starts a pod. The returned value shows its status; dropping the value ends the pod.
    pub fn run(&self, spec: PodSpec, programs: &Programs) -> Result<Running, Failure> {
        if spec.pod["spec"]["hostNetwork"] == true {
            return Err(Failure::new(
                "the pod has hostNetwork: true, which the model of a node does not support",
            ));
        }
        let (number, address) = self.next_pod();
        let link = format!("pod-{number}");
        let directory = self.directory(&link)?;
        let programs = programs_by_name(programs);
        Running::start(Sandbox { spec, address, link, programs, directory })
    }
}

/// The programs that containers can run in addition to those of the machine, by name.
fn programs_by_name(programs: &Programs) -> BTreeMap<String, PathBuf> {
    BTreeMap::from([
        (names::SIDECAR_PATH.to_owned(), programs.sidecar.clone()),
        ("lookup".to_owned(), programs.lookup.clone()),
    ])
}
