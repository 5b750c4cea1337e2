//! The caching DNS proxy that runs inside a pod.
//!
//! `ARCHITECTURE.md` has the path of a query. Imports go one way: `main -> app -> worker -> server -> sources,
//! resolver -> cache, flight, upstream`. The message format, keys and rules are in `podlocal_dns`.

pub mod admin;
pub mod app;
pub mod cache;
pub mod cli;
pub mod connections;
pub mod datagrams;
pub mod flight;
pub mod forward;
pub mod gate;
pub mod handover;
pub mod limits;
pub mod listen;
pub mod metrics;
pub mod parent;
pub mod query;
pub mod reply;
pub mod resolver;
pub mod server;
pub mod shutdown;
pub mod sources;
pub mod supervise;
pub mod top_names;
pub mod upstream;
pub mod worker;
