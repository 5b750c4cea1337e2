//! The program `faults` itself: a row is measured, and says what it promises. Its figures are for people.

use podlocal_tests::faults::rows;
use podlocal_tests::programs::Programs;
use podlocal_tests::promises::table;

#[tokio::test]
async fn two_hundred_identical_cold_queries_are_one_at_the_upstream() {
    let programs = Programs::build().expect("the sidecar is built");
    let row = rows::measure("coalescing", &programs.sidecar, 1).await.expect("measured");
    let (holds, text) = (row.holds, table(&[row]));
    assert_eq!(holds, Some(true), "{text}");
}

#[tokio::test]
async fn a_row_that_does_not_exist_is_refused_with_those_that_do() {
    let refused = rows::measure("colaescing", std::path::Path::new("/nowhere"), 1).await;
    let sentence = refused.expect_err("there is no such row").to_string();
    assert!(sentence.contains("colaescing") && sentence.contains("coalescing"), "{sentence}");
}
