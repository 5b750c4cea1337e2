//! The caching DNS proxy that runs inside a pod.
//!
//! The way of a query:
//!
//! ```text
//!   server     datagram or frame; the time is read once
//!   sources    who asks, and how much of that one is under way
//!   connections  which TCP connection makes room for another
//!   query      bytes -> Query, or silence, FORMERR, NOTIMP, BADVERS
//!   cache      hit -> entry copies the stored bytes; puts id, flags, the client's own spelling; ages the TTLs
//!   forward    miss -> whose servers: those of a forward zone, or cluster DNS
//!   flight     miss -> join or lead the one exchange for this key
//!   upstream   transmissions as the policy of `podlocal_dns::upstream` says, over UDP and TCP
//!   lifetime   what is it, how long may it live
//!   entry      every waiter with its own id, flags, name and size limit
//! ```
//!
//! Imports go one way: `main -> app -> worker -> server -> sources, resolver -> cache, flight, upstream`.
//! The message format, keys and rules are in `podlocal_dns`.

pub mod admin;
pub mod app;
pub mod cache;
pub mod cli;
pub mod client;
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
