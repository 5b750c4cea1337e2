//! The programs themselves: they measure, print what they measured, and refuse unknown rows. Their figures are
//! not asserted.

use std::path::Path;
use std::time::Duration;

use indicatif::ProgressBar;
use podlocal_experiments::reviews::{Load, measure, table};
use podlocal_experiments::{faults, promises, shared_tier, soak};
use podlocal_harness::model::job::DEFAULT_MANIFEST;
use podlocal_harness::programs::Programs;

#[tokio::test]
async fn two_hundred_identical_cold_queries_become_one_upstream_query() {
    let programs = Programs::build().expect("the sidecar is built");
    let row = faults::rows::measure("coalescing", &programs.sidecar, 1).await.expect("measured");
    let (holds, text) = (row.holds, promises::table(&[row]));
    assert_eq!(holds, Some(true), "{text}");
}

#[tokio::test]
async fn an_unknown_row_is_refused_with_the_list_of_rows() {
    let refused = faults::rows::measure("colaescing", Path::new("/nowhere"), 1).await;
    let sentence = refused.expect_err("the row is unknown").to_string();
    assert!(sentence.contains("colaescing") && sentence.contains("coalescing"), "{sentence}");
    let refused = shared_tier::measure("gang-5", Path::new("/nowhere"), 1).await;
    let sentence = refused.expect_err("the row is unknown").to_string();
    let names = shared_tier::NAMES;
    assert!(sentence.contains("gang-5") && names.iter().all(|name| sentence.contains(name)), "{sentence}");
}

#[tokio::test]
async fn a_soak_samples_memory_descriptors_and_look_ups() {
    let program = Programs::build().expect("the sidecar is built").sidecar;
    let samples =
        soak::run(&program, Duration::from_secs(3), 1, &ProgressBar::hidden()).await.expect("measured");
    assert!(samples.len() >= 3, "{samples:?}");
    assert!(samples.iter().all(|sample| sample.mebibytes > 1.0 && sample.descriptors > 5), "{samples:?}");
    assert!(samples.iter().map(|sample| sample.answered).sum::<u64>() > 100, "{samples:?}");
}

#[tokio::test]
async fn every_review_over_many_connections_is_answered_with_a_patch() {
    let webhook = Programs::build().expect("the webhook is built").webhook;
    for rate in [None, Some(400.0)] {
        let load = Load { concurrent: 20, reviews: 200, rate };
        let figures =
            measure(&webhook, DEFAULT_MANIFEST, load, &ProgressBar::hidden()).await.expect("measured");
        let text = table(std::slice::from_ref(&figures));
        assert_eq!((figures.answered, figures.failed), (200, 0), "{text}");
        assert!(figures.mebibytes.iter().all(|mebibytes| *mebibytes > 1.0), "{text}");
    }
}
