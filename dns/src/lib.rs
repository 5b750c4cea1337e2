//! The DNS logic that several programs share. Pure: no I/O, no clock, no runtime; the time is an argument.
//!
//! ```text
//!   upstream   how to query servers: retransmission, backoff, order, health, and when an expired answer may be served
//! ```

pub mod upstream;
