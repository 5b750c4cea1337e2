//! What the sidecar does when things go wrong, measured: the real program on a loopback, in front of an upstream that
//! loses, delays, dies and returns. `cargo run --release --bin faults` prints a row for each promise.
//!
//! ```text
//!   rows        the promises: each sets the stage, measures, and compares with its goal
//!   upstream    a DNS server that misbehaves as told, and counts
//!   proxy       the sidecar as a process: its addresses, metrics and memory
//!   client      one question and how long it took
//!   hostile     packets and connections that mean harm
//! ```

pub mod client;
pub mod hostile;
pub mod proxy;
pub mod rows;
pub mod upstream;
