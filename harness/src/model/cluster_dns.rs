//! A model of cluster DNS for experiments: CoreDNS's semantics for names of the cluster, a table for outside
//! names, and a count of all queries.
//!
//! With it, tests and the embedded `gang` need no cluster, can count every query by name, and can delay
//! answers. The model does not have CoreDNS's cache, its CPU time and its probes; overload is only a
//! [`Capacity`]. `tests/cluster/models.rs` compares results and the number of queries with a real CoreDNS,
//! and `gang --cluster` measures a real one under overload.
//!
//! ```text
//!   world     the existing names: namespaces, Services, endpoints, outside names; plain data with a builder
//!   answer    (world, query) -> response; pure. `services` for the cluster domain, `outside` for other names
//!   server    UDP and TCP
//!   capacity  a service rate and a bounded queue; pure
//!   counts    the received queries, in total and over time
//! ```
//!
//! It serves any address, with or without a node: `ClusterDns::start(world, "127.0.0.1:0".parse()?)`.

mod answer;
mod capacity;
mod counts;
mod outside;
mod server;
mod services;
mod world;

pub use crate::framing::Transport;
pub use answer::answer;
pub use capacity::Capacity;
pub use counts::{Counts, STEP, Step, waiting};
pub use server::ClusterDns;
pub use world::{Service, World};
