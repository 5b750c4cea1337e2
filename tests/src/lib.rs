//! Runs whole programs as a cluster runs them, on one machine and without a cluster.
//!
//! ```text
//!   node          a model of a node: the process moves into new namespaces with a bridge for pods
//!   pod           a model of the kubelet: resolv.conf, sysctls, sidecars, hooks, containers of a pod
//!   cluster_dns   a model of cluster DNS with CoreDNS's zone semantics, which counts its queries
//!   cluster_tier  the shared tier between the sidecars and cluster DNS
//!   admission     a model of the API server: defaults, the review over HTTPS, applying the patch
//!   cluster       all of these together, for one test or one arm of an experiment
//!   comparison    the same pods on the model and on a real node, compared by tests/cluster/models.rs
//!   bench         measures speed and size of the sidecar, an echo and other forwarders
//!   documents     checks the commands and links of the Markdown files
//!   faults        measures how the sidecar behaves during faults
//!   framing       DNS messages over TCP
//!   gang          the gang experiment: the pods of a Job, with and without injection
//!   load          a load generator for DNS queries
//!   monitoring    the dashboard, the alerts, and the metrics that they use
//!   plot          line and bar charts as SVG and PNG
//!   resolvers     the answers and queries of real resolvers in pods
//!   reviews       measures latency, CPU time and memory of the webhook
//!   simulation    the gang experiment in virtual time, for large gangs
//!   shared_tier   measures the shared tier between sidecars and cluster DNS
//!   soak          mixed load and faults for a chosen time
//!   testbed       runs integration tests on a node
//!   promises      programs that measure rows and compare them with goals
//!   process       CPU time and memory of a process, from the kernel
//!   programs      finds and builds the programs under test
//! ```
//!
//! This crate does not link the sidecar or the webhook: it runs them as programs, and talks to them in DNS,
//! HTTP and JSON. The settings crate has the names that both sides need.

pub mod admission;
pub mod bench;
pub mod cluster;
pub mod cluster_dns;
pub mod cluster_tier;
pub mod comparison;
pub mod documents;
pub mod faults;
mod framing;
pub mod gang;
mod load;
pub mod monitoring;
pub mod network;
pub mod node;
pub mod plot;
pub mod pod;
pub mod process;
pub mod programs;
pub mod promises;
pub mod resolvers;
pub mod reviews;
pub mod shared_tier;
pub mod simulation;
pub mod soak;
pub mod testbed;

pub use podlocal_harness::failure;
