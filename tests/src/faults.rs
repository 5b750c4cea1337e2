//! Measures how the sidecar behaves during faults: the real program on the loopback, in front of an upstream
//! that drops queries, delays answers, stops and returns. `cargo run --release --bin faults` prints a row for
//! each promise.
//!
//! ```text
//!   rows        the promises: each prepares the programs, measures, and compares the result with its goal
//!   upstream    a DNS server with injected faults, which counts its queries
//!   proxy       the sidecar as a process: its addresses, metrics and memory
//!   client      one query and the time until its response
//!   hostile     hostile packets and connections
//! ```

pub mod client;
pub mod hostile;
pub mod proxy;
pub mod rows;
pub mod upstream;
