//! Measures the shared tier between the sidecars of pods and cluster DNS: the real program in both roles, on
//! the loopback. `cargo run --release --bin shared-tier` prints a row for each promise.
//!
//! ```text
//!   gang      a cold start: many sidecars send the same queries at the same time
//!   outage    a tier that is killed, hangs or fails, and a slow cluster DNS
//!   rolling   replaces the replicas of a tier, one after the other
//!     service   a model of the Service in front of the replicas
//!   hot       hits in the tier's cache, and their CPU time
//!   hostile   one source floods the tier with misses next to a well-behaved source
//!     flood     the flooding source
//!   memory    the memory of the tier
//!     burst     many clients that send each query once, at the same time
//!     steady    lookups at a steady rate
//! ```
//!
//! All traffic uses 127.0.0.0/8, where each source can have a separate address.

mod burst;
mod flood;
mod gang;
mod hostile;
mod hot;
mod memory;
mod outage;
mod rolling;
mod service;
mod steady;

use std::path::Path;

use self::outage::End;
use crate::promises::{Row, no_such_row};
use podlocal_harness::failure::Failure;

/// The names of all rows, in the order in which they run.
pub const NAMES: [&str; 18] = [
    "gang-100",
    "gang-2000",
    "gang-10000",
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
        "gang-2000" => gang::of_simulated_sidecars("gang-2000", program, 2000).await,
        "gang-10000" => gang::of_simulated_sidecars("gang-10000", program, 10_000).await,
        "killed" => outage::run_outage("killed", program, seed, End::Killed, 1).await,
        "killed-20" => outage::run_outage("killed-20", program, seed, End::Killed, 20).await,
        "stopped" => outage::run_outage("stopped", program, seed, End::Stopped, 1).await,
        "stopped-20" => outage::run_outage("stopped-20", program, seed, End::Stopped, 20).await,
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
