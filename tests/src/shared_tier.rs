//! What a tier between the pods' sidecars and cluster DNS does, measured: the real program in both roles, on a loopback.
//! `cargo run --release --bin shared-tier` prints a row for each promise.
//!
//! ```text
//!   stage     a tier, and sidecars before it
//!   gang      a cold start: many sidecars ask the same at the same instant
//!     burst     many askers that ask once, together
//!   hot       answers from the tier's cache, and what they cost
//! ```
//!
//! Everything travels over 127.0.0.0/8, where each source can have an address of its own.

mod burst;
mod gang;
mod hot;
mod stage;

use std::path::Path;

use crate::failure::Failure;
use crate::promises::{Row, no_such_row};

/// The rows that there are, in the order in which they are run.
pub const NAMES: [&str; 4] = ["gang-100", "gang-2000", "hot-1", "hot-2"];

/// Measures one row.
pub async fn measure(name: &str, program: &Path, seed: u64) -> Result<Row, Failure> {
    match name {
        "gang-100" => gang::of_sidecars(program).await,
        "gang-2000" => gang::of_simulated_sidecars(program).await,
        "hot-1" => hot::on_one_core(program, seed).await,
        "hot-2" => hot::on_two_cores(program, seed).await,
        _ => Err(no_such_row(name, &NAMES)),
    }
}
