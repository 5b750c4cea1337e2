//! The program `reviews` itself: every review is answered with a patch. Its figures are.

use indicatif::ProgressBar;
use podlocal_tests::programs::Programs;
use podlocal_tests::reviews::{Load, measure, table};

const JOB: &str = include_str!("../manifests/gang-job.yaml");

#[tokio::test]
async fn every_review_over_many_connections_is_answered_with_a_patch() {
    let webhook = Programs::build().expect("the webhook is built").webhook;
    for rate in [None, Some(400.0)] {
        let load = Load { concurrent: 20, reviews: 200, rate };
        let figures = measure(&webhook, JOB, load, &ProgressBar::hidden()).await.expect("measured");
        let text = table(std::slice::from_ref(&figures));
        assert_eq!((figures.answered, figures.failed), (200, 0), "{text}");
        assert!(figures.mebibytes.iter().all(|mebibytes| *mebibytes > 1.0), "{text}");
    }
}
