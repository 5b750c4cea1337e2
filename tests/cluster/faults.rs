//! Faults under a steady load of lookups. Each test prints how the lookups fared while the fault lasted, and asserts what the
//! product promises:
//!
//! ```text
//!   NAME: lookups N, failed N, slowest N ms
//! ```
//!
//! | module | what fails | why it runs beside others |
//! |---|---|---|
//! | `dns` | cluster DNS | it breaks a CoreDNS of its own |
//! | `tier` | the shared tier | it breaks a tier of its own |
//! | `sidecar` | one sidecar, one pod | it breaks its own pod |
//! | `webhook` | the webhook | nobody notices; what pods do without it, `install/overlays.rs` shows before it removes it |
//! | `node` | containerd | it runs alone |

mod dns;
mod node;
mod sidecar;
mod tier;
pub(crate) mod webhook;

use podlocal_harness::cluster::load::Summary;
use serde_json::{Value, json};

use crate::runner::Test;

/// Names of the cluster and of the outside, which every load resolves in turn.
pub(crate) const NAMES: [&str; 4] =
    ["kubernetes.default", "kube-dns.kube-system", "www.example.com", "example.org"];

pub(crate) fn tests() -> Vec<Test> {
    let tests = [dns::tests(), tier::tests(), sidecar::tests(), webhook::tests(), node::tests()];
    tests.into_iter().flatten().collect()
}

/// A pod whose sidecar keeps nothing for longer than a second and never gives an expired answer, so that most lookups reach
/// the upstream.
pub(crate) fn that_asks_upstream(mut pod: Value) -> Value {
    annotate(&mut pod, "max-ttl", "1s");
    annotate(&mut pod, "serve-stale", "0s");
    pod
}

/// Gives a pod a setting.
fn annotate(pod: &mut Value, setting: &str, value: &str) {
    pod["metadata"]["annotations"][format!("podlocal-dns.io/{setting}")] = json!(value);
}

/// Prints how the lookups fared, and fails when one of them failed.
pub(crate) fn assert_none_failed(fault: &str, summary: Summary) {
    eprintln!("{fault}: {summary}");
    assert_eq!(summary.failed, 0, "{fault}: {summary}");
}
