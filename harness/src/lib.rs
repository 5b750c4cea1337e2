//! Runs the product on a real cluster, for tests and experiments.
//!
//! ```text
//!   cluster      the cluster of KUBECONFIG: connect, create, read, patch, kubectl
//!     namespace  one namespace of its own for each test: objects, waits, diagnostics
//!     pods       pods, their logs, and commands in their containers
//!     client     pods that resolve names with glibc or musl, and what they print
//!     coredns    the cluster's DNS: its CPU limit, restarts, the queries that it has received
//!     dns        a CoreDNS of a test's own, which it may break
//!     inventory  every object of the cluster, to compare before and after
//!     load       a steady load of lookups in a pod, and how it fared
//!     metrics    metrics of pods, through the API server
//!     node       a node's CPU time
//!     product    installing and removing the product
//!     tier       a shared tier of a test's own
//!   failure      the one error: what was tried, and why it did not work
//!   metrics      pages in Prometheus' text format, read
//!   repository   where the repository is
//!   table        rows with aligned columns; percentiles
//!   time         the wall clock
//! ```
//!
//! Nothing here links the sidecar or the webhook: the cluster runs their images.

pub mod cluster;
pub mod failure;
pub mod metrics;
pub mod repository;
pub mod table;
pub mod time;
