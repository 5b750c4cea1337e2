//! A model of a cluster on one machine, without root: a node, its kubelet, the API server, cluster DNS and the
//! Job controller. `tests/cluster/models.rs` compares it with a real cluster.
//!
//! ```text
//!   node          a model of a node: the process moves into new namespaces with a bridge for pods
//!   pod           a model of the kubelet: resolv.conf, sysctls, sidecars, hooks, containers of a pod
//!   cluster_dns   a model of cluster DNS with CoreDNS's zone semantics, which counts its queries
//!   admission     a model of the API server: defaults, the review over HTTPS, applying the patch
//!   job           a Job manifest -> the pods that the Job controller would make; pure
//!   lookup        the output of the program `lookup`, the application in pods
//!   cluster       all of these together, perhaps with a shared tier, for one test or one arm of an experiment
//!   testbed       runs integration tests on a node
//!   network       links, bridges and addresses of the node
//! ```

pub mod admission;
pub mod cluster;
pub mod cluster_dns;
pub mod job;
pub mod lookup;
pub mod network;
pub mod node;
pub mod pod;
pub mod testbed;
