//! The DNS logic that several programs share. Pure: no I/O, no clock, no runtime; the time is an argument.
//!
//! ```text
//!   wire       the message format, by offset
//!   key        the identity of a question: name, type, class, and the flags that change the answer
//!   search     what the search list and the cluster domain say about a name
//!   upstream   how to query servers: retransmission, backoff, order, health, and when an expired answer may be served
//! ```
//!
//! Imports go one way: `search -> key -> wire`.

pub mod key;
pub mod search;
pub mod upstream;
pub mod wire;
