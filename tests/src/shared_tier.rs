//! What a tier between the pods' sidecars and cluster DNS does, measured: the real program in both roles, on a loopback.
//! `cargo run --release --bin shared-tier` prints a row for each promise.
//!
//! ```text
//!   stage     a tier, and sidecars before it
//!   gang      a cold start: many sidecars ask the same at the same instant
//!   outage    a tier that dies, hangs or fails, and a cluster DNS that is slow
//!   rolling   the replicas of a tier are replaced, one after the other
//!     service   what stands before them in a cluster
//!   hot       answers from the tier's cache, and what they cost
//!   hostile   one source asks for what nobody has, and others go on
//!     flood     that source
//!   memory    what the tier takes
//!     burst     many askers that ask once, together
//!     steady    look-ups at a steady rate
//! ```
//!
//! Everything travels over 127.0.0.0/8, where each source can have an address of its own.

mod burst;
mod flood;
mod gang;
mod hostile;
mod hot;
mod memory;
mod outage;
mod rolling;
mod service;
pub mod stage;
mod steady;

use std::path::Path;

use self::outage::End;
use crate::failure::Failure;
use crate::promises::{Row, no_such_row};

/// The rows that there are, in the order in which they are run.
pub const NAMES: [&str; 17] = [
    "gang-100",
    "gang-2000",
    "killed",
    "killed-20",
    "stopped",
    "stopped-20",
    "servfail",
    "refused",
    "slow-cluster-dns",
    "rolling",
    "hot-1",
    "hot-2",
    "hostile-10000",
    "hostile-50000",
    "hostile-cold",
    "memory-1",
    "memory-2",
];

/// Measures one row.
pub async fn measure(name: &str, program: &Path, seed: u64) -> Result<Row, Failure> {
    match name {
        "gang-100" => gang::of_sidecars(program).await,
        "gang-2000" => gang::of_simulated_sidecars(program).await,
        "killed" => outage::gone("killed", program, seed, End::Killed, 1).await,
        "killed-20" => outage::gone("killed-20", program, seed, End::Killed, 20).await,
        "stopped" => outage::gone("stopped", program, seed, End::Stopped, 1).await,
        "stopped-20" => outage::gone("stopped-20", program, seed, End::Stopped, 20).await,
        "servfail" => outage::refusing("servfail", program, seed, 2).await,
        "refused" => outage::refusing("refused", program, seed, 5).await,
        "slow-cluster-dns" => outage::slow_cluster_dns(program).await,
        "rolling" => rolling::replaced(program, seed).await,
        "hot-1" => hot::on_one_core(program, seed).await,
        "hot-2" => hot::on_two_cores(program, seed).await,
        "hostile-10000" => hostile::beside("hostile-10000", program, seed, 10_000).await,
        "hostile-50000" => hostile::beside("hostile-50000", program, seed, 50_000).await,
        "hostile-cold" => hostile::beside_cold(program, seed).await,
        "memory-1" => memory::of("memory-1", program, seed, 1).await,
        "memory-2" => memory::of("memory-2", program, seed, 2).await,
        _ => Err(no_such_row(name, &NAMES)),
    }
}
