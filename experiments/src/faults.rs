//! Measures how the sidecar behaves during faults: the real program on the loopback, in front of an upstream
//! that drops queries, delays answers, stops and returns. `cargo run --release --bin faults` prints a row for
//! each promise.
//!
//! ```text
//!   rows        the promises: each prepares the programs, measures, and compares the result with its goal
//! ```

pub mod rows;
