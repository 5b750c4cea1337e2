//! Faults under a steady load of lookups. Each test prints the results of the lookups during the fault, and
//! asserts the promises of the product:
//!
//! ```text
//!   NAME: lookups N, failed N, slowest N ms
//! ```
//!
//! | module | fault | why it can run in parallel with others |
//! |---|---|---|
//! | `dns` | cluster DNS | it breaks a separate CoreDNS |
//! | `tier` | the shared tier | it breaks a separate tier |
//! | `sidecar` | one sidecar, one pod | it breaks its own pod |
//! | `webhook` | the webhook | no pod notices; `install/overlays.rs` tests pods without it, before it removes it |
//! | `node` | containerd | it runs alone |

pub(crate) mod dns;
pub(crate) mod node;
pub(crate) mod sidecar;
pub(crate) mod tier;
pub(crate) mod webhook;

use podlocal_harness::cluster::load::Summary;
use serde_json::{Value, json};

/// Names in the cluster and outside, which every load resolves in turn.
pub(crate) const NAMES: [&str; 4] =
    ["kubernetes.default", "kube-dns.kube-system", "www.example.com", "example.org"];

/// A pod whose sidecar caches answers for one second at most and never sends an expired answer, so that most
/// lookups reach the upstream.
pub(crate) fn with_short_cache_ttl(mut pod: Value) -> Value {
    annotate(&mut pod, "max-ttl", "1s");
    annotate(&mut pod, "serve-stale", "0s");
    pod
}

/// Gives a pod a setting.
fn annotate(pod: &mut Value, setting: &str, value: &str) {
    pod["metadata"]["annotations"][format!("podlocal-dns.io/{setting}")] = json!(value);
}

/// Prints the results of the lookups, and fails when one of them failed.
pub(crate) fn assert_none_failed(fault: &str, summary: Summary) {
    eprintln!("{fault}: {summary}");
    assert_eq!(summary.failed, 0, "{fault}: {summary}");
}
