//! Runs the product on a real cluster, for tests and experiments.
//!
//! ```text
//!   cluster      the cluster of KUBECONFIG: connect, create, read, patch, kubectl
//!         namespace  a separate namespace for each test: objects, waits, diagnostics
//!     pods       pods, their logs, and commands in their containers
//!     client     pods that resolve names with glibc or musl, and their output
//!     coredns    cluster DNS: its CPU limit, its restarts, and the queries that it has received
//!     dns        a separate CoreDNS for one test, which the test may break
//!     inventory  every object of the cluster, to compare before and after
//!     load       a steady load of lookups in a pod, and its results
//!     metrics    metrics of pods, through the API server
//!     node       a node's CPU time
//!     product    installing and removing the product
//!     tier       a separate shared tier for one test
//!   failure      the only error type: the failed operation, and the cause
//!   metrics      reads pages in Prometheus' text format
//!   repository   where the repository is
//!   table        rows with aligned columns; percentiles
//!   time         the wall clock
//! ```
//!
//! This crate does not link the sidecar or the webhook: the cluster runs their images.

pub mod cluster;
pub mod failure;
pub mod metrics;
pub mod repository;
pub mod table;
pub mod time;
