//! `podlocal-inspect`, for people: shows how the running proxy of a pod resolves a name, and what the proxy has
//! done so far. It is in the image of the proxy, and a process of its own, so the proxy's program stays small.
//!
//! ```text
//!   arguments   the commands and flags (clap)
//!   admin       requests to the admin port of the proxy
//!   lookup      the search expansion of this pod, with the report of the proxy about each query
//!   stats       one page with the counters and the state of the proxy
//!   paint       colours
//! ```
//!
//! The documents of the proxy are in [`podlocal_dns::report`], the rules of the search expansion in
//! [`podlocal_dns::expansion`].

pub mod admin;
pub mod arguments;
pub mod lookup;
mod paint;
pub mod stats;
