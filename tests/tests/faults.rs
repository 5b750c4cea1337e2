//! The program `faults` itself: a row is measured, and says what it promises. Its figures are.

use podlocal_tests::faults::rows;
use podlocal_tests::programs::Programs;
use podlocal_tests::promises::table;

#[tokio::test]
async fn two_hundred_identical_cold_queries_become_one_upstream_query() {
    let programs = Programs::build().expect("the sidecar is built");
    let row = rows::measure("coalescing", &programs.sidecar, 1).await.expect("measured");
    let (holds, text) = (row.holds, table(&[row]));
    assert_eq!(holds, Some(true), "{text}");
}

#[tokio::test]
async fn an_unknown_row_is_refused_with_the_list_of_rows() {
    let refused = rows::measure("colaescing", std::path::Path::new("/nowhere"), 1).await;
    let sentence = refused.expect_err("the row is unknown").to_string();
    assert!(sentence.contains("colaescing") && sentence.contains("coalescing"), "{sentence}");
}
