//! The programs themselves: they measure, print what they measured, and refuse unknown rows. Their figures are
//! not asserted.

use std::process::{Command, Output};
use std::time::Duration;

use podlocal_experiments::promises::reviews::{Load, measure};
use podlocal_experiments::promises::soak;
use podlocal_harness::programs::Programs;

fn promises(arguments: &[&str]) -> (Output, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_promises")).args(arguments).output().expect("it runs");
    let text = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    (output, text.concat())
}

#[test]
fn two_hundred_identical_cold_queries_become_one_upstream_query() {
    let (output, text) = promises(&["--only", "coalescing"]);
    assert!(output.status.success(), "{text}");
    assert!(text.contains("200 answered, 1 query to the upstream: holds"), "{text}");
}

#[test]
fn an_unknown_row_is_refused_with_the_list_of_rows() {
    let (output, text) = promises(&["--only", "colaescing"]);
    assert!(!output.status.success(), "{text}");
    for word in ["colaescing", "coalescing", "tier-killed", "soak", "reviews"] {
        assert!(text.contains(word), "{word} is not in {text}");
    }
}

#[tokio::test]
async fn a_soak_samples_memory_descriptors_and_look_ups() {
    let program = Programs::build().expect("the sidecar is built").sidecar;
    let samples = soak::run(&program, Duration::from_secs(3), 1).await.expect("measured");
    assert!(samples.len() >= 3, "{samples:?}");
    assert!(samples.iter().all(|sample| sample.mebibytes > 1.0 && sample.descriptors > 5), "{samples:?}");
    assert!(samples.iter().map(|sample| sample.answered).sum::<u64>() > 100, "{samples:?}");
}

#[tokio::test]
async fn every_review_over_many_connections_is_answered_with_a_patch() {
    let webhook = Programs::build().expect("the webhook is built").webhook;
    for rate in [None, Some(400.0)] {
        let load = Load { concurrent: 20, reviews: 200, rate };
        let figures = measure(&webhook, load).await.expect("measured");
        assert_eq!((figures.answered, figures.failed.len()), (200, 0), "{figures:?}");
        assert!(figures.mebibytes.iter().all(|mebibytes| *mebibytes > 1.0), "{figures:?}");
    }
}
