//! Runs whole programs the way a cluster runs them, on one machine and without one.
//!
//! ```text
//!   node          the process moves into namespaces of its own: a "node" with a bridge for pods
//!   pod           one pod on it, as the kubelet runs one: resolv.conf, sysctls, sidecars, hooks, containers
//!   cluster_dns   a cluster DNS with CoreDNS's zone semantics, which counts what it is asked
//!   cluster_tier  the shared tier, between the sidecars and the cluster DNS
//!   admission     the API server's part: defaults, the review over HTTPS, the patch applied
//!   cluster       these together, for one test or one arm of an experiment
//!   comparison    the same pods here and on a real node, compared by tests/cluster/models.rs
//!   bench         how fast and how small the sidecar is, beside an echo and other forwarders, measured
//!   documents     the commands and links of the Markdown files
//!   faults        what the sidecar does when things go wrong, measured
//!   framing       messages over TCP
//!   gang          the experiment: a Job's pods, with and without injection
//!   load          one source that asks as fast as it is answered
//!   monitoring    the dashboard, the alerts, and the metrics that they ask for
//!   plot          line and bar charts as SVG and PNG
//!   resolvers     what real resolvers get in pods, and what they ask for it
//!   reviews       how long the webhook takes, and what it takes for that, measured
//!   simulation    the same experiment in virtual time, for large gangs
//!   shared_tier   what the tier between sidecars and cluster DNS does, measured
//!   soak          mixed load and faults for as long as one likes
//!   testbed       runs integration tests on a node
//!   promises      programs that measure rows and compare them with goals
//!   process       what the kernel says of a process
//!   programs      where the programs under test come from
//! ```
//!
//! Nothing here links the sidecar or the webhook: they are run as programs, and spoken to
//! in DNS, HTTP and JSON. The settings crate gives the names that both sides need.

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
