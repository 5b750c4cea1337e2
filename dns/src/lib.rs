//! The DNS logic that several programs share. Pure: no I/O, no clock, no runtime; the time is an argument.
//!
//! ```text
//!   wire       the message format, by offset
//!   key        the identity of a question: name, type, class, and the flags that change the answer
//!   search     what the search list and the cluster domain say about a name
//!   expansion  the names that a C library queries for a name, and the result that a program gets
//!   resolv_conf  search list, `ndots` and nameservers of a pod
//!   report     the documents about the proxy: what it did for a query, and what it has done so far
//!   upstream   how to query servers: retransmission, backoff, order, health, and when an expired answer may be served
//! ```
//!
//! Imports go one way: `search -> key, expansion -> wire`, and `report -> wire`.

pub mod expansion;
pub mod key;
pub mod report;
pub mod resolv_conf;
pub mod search;
pub mod upstream;
pub mod wire;
