//! A cluster DNS for experiments: CoreDNS's semantics for the cluster's names, a table for the rest of the
//! world, and a count of everything that it is asked.
//!
//! It exists because tests and the embedded `gang` need no cluster, count every question by its name, and have faults on
//! request. Left out: CoreDNS's cache, its CPU and its probes: of overload there is only a [`Capacity`]. `tests/cluster/models.rs`
//! compares results and the number of queries with a real CoreDNS, and `gang --cluster` shows a real one that is overloaded.
//!
//! ```text
//!   world     what there is: namespaces, Services, endpoints, names outside; plain data with a builder
//!   answer    (world, query) -> response; pure. In the cluster's zone by services, elsewhere by outside
//!   server    UDP and TCP; fails on request
//!   capacity  a service rate and a bounded queue; pure
//!   counts    what it was asked, in all and over time
//! ```
//!
//! It works on any address, with or without a node: `ClusterDns::start(world, "127.0.0.1:0".parse()?)`.

mod answer;
mod capacity;
mod counts;
mod outside;
mod server;
mod services;
mod world;

pub use answer::{answer, truncate};
pub use capacity::{Capacity, ServiceQueue};
pub use counts::{Counts, STEP, Step, waiting};
pub(crate) use server::bind;
pub use server::{ClusterDns, Faults, Transport};
pub use world::{Endpoint, PodRecords, Port, Service, World};
