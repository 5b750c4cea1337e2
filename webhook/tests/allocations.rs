//! The memory for answering any review stays within its budget. This test has a process of its own, because
//! the allocator is shared by the whole process.

mod common;

use common::bodies::bodies;
use common::{pod, review_of};
use podlocal_webhook::review::admission;
use podlocal_webhook::review::cluster_state::{Cluster, ClusterFlags};
use podlocal_webhook::review::mutate::Policy;
use podlocal_webhook::review::outcome::{Outcome, ReviewOutcome};
use podlocal_webhook::server::LARGEST_REVIEW;
use serde_json::Map;

#[test]
fn review_stays_within_its_memory_budget() {
    for length in [500, 5_000, 20_000, 100_000, 1_000_000, LARGEST_REVIEW] {
        for (what, body) in bodies(length) {
            let (_, peak) = reviewed(&body);
            let most = admission::memory(body.len());
            assert!(peak <= most, "{what} of {} bytes: {peak} of {most}", body.len());
        }
    }
}

#[test]
fn typical_review_uses_little_memory() {
    let mut body = review_of(&pod());
    body["request"]["object"]["spec"]["containers"][0]["env"] = (0..100).map(|_| pod()).collect();
    let body = body.to_string();
    let (outcome, peak) = reviewed(body.as_bytes());
    assert_eq!(outcome, ReviewOutcome::Done(Outcome::Injected));
    assert!(peak <= 100_000, "{} bytes take {peak}", body.len());
}

/// The outcome about the review, and the peak of allocated bytes.
fn reviewed(body: &[u8]) -> (ReviewOutcome, usize) {
    let flags = ClusterFlags { dns: vec![([10, 96, 0, 10], 53).into()], ..ClusterFlags::default() };
    let cluster = Cluster::new(&flags, "");
    let policy = Policy { image: "sidecar:test".to_owned(), defaults: Vec::new() };
    let mut outcome = None;
    let allocations = allocation_counter::measure(|| {
        outcome = Some(admission::review(body, |_| Map::new(), &cluster, &policy).outcome);
    });
    (outcome.expect("reviewed"), usize::try_from(allocations.bytes_max).expect("few"))
}
