//! What several programs must know about DNS. Pure: no I/O, no clock, no runtime; the time is an argument.
//!
//! ```text
//!   upstream   how servers are asked: retransmission, backoff, order, health, when an expired answer will do
//! ```

pub mod upstream;
