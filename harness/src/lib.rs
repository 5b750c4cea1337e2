//! Runs the product as a cluster runs it, for tests and experiments: in a model of a cluster on this machine, as
//! processes on the loopback, and on a real cluster.
//!
//! ```text
//!   model        a node, its kubelet, the API server and cluster DNS, without root
//!   loopback     the sidecar as a process, in front of an upstream with faults
//!   cluster      the cluster of KUBECONFIG: objects, pods, lookups, CoreDNS, installations
//!   command      runs programs of the machine
//!   programs     finds and builds the programs under test
//!   process      CPU time and memory of a process, from the kernel
//!   framing      DNS messages over TCP
//!   failure      the only error type: the failed operation, and the cause
//!   metrics      reads pages in Prometheus' text format
//!   repository   where the repository is
//!   table        rows with aligned columns; percentiles
//!   time         the wall clock
//! ```
//!
//! This crate does not link the sidecar or the webhook: it runs them as programs or images, and talks to them
//! in DNS, HTTP and JSON. The settings crate has the names that both sides need.

pub mod cluster;
pub mod command;
pub mod failure;
pub mod framing;
pub mod loopback;
pub mod metrics;
pub mod model;
pub mod process;
pub mod programs;
pub mod repository;
pub mod table;
pub mod time;
