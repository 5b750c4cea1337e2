//! The pages of `lookup` and `stats`: each `tests/pages/*.json` is a document, and the `.txt` beside it is its page.
//! A document of `lookup` is also shown with its trace; of several of `stats`, the page shows the last one.
//!
//! `UPDATE=1 cargo test -p podlocal-inspect --test pages` rewrites the pages; review the diff.

use std::fmt::Debug;
use std::fs;
use std::path::Path;

use anstream::adapter::strip_str;
use podlocal_dns::report::stats::Stats;
use podlocal_inspect::lookup::Document;
use podlocal_inspect::{lookup, stats};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

#[test]
fn every_document_has_the_page_beside_it() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/pages");
    let files = fs::read_dir(folder).expect("the folder").map(|file| file.expect("an entry").path());
    let files: Vec<_> = files.filter(|file| file.extension().is_some_and(|kind| kind == "json")).collect();
    assert!(!files.is_empty());
    for file in files {
        let name = file.file_stem().expect("a name").to_string_lossy();
        let text = fs::read_to_string(&file).expect("reads");
        let page = if name.starts_with("lookup") { lookup_page(&text) } else { stats_page(&text) };
        let expected = file.with_extension("txt");
        if std::env::var_os("UPDATE").is_some() {
            fs::write(expected, page).expect("writes");
        } else {
            assert_eq!(page, fs::read_to_string(expected).expect("a page"), "{name}");
        }
    }
}

fn lookup_page(text: &str) -> String {
    let document: Document = parsed(text);
    let [page, traced] =
        [false, true].map(|trace| strip_str(&lookup::text::page(&document, trace)).to_string());
    if page == traced { page } else { format!("{page}\n--trace:\n\n{traced}") }
}

fn stats_page(text: &str) -> String {
    let documents: Vec<Stats> = parsed(text);
    let (last, previous) = documents.split_last().expect("a document");
    strip_str(&stats::text::page(last, previous.last())).to_string()
}

/// Parses the text, and asserts that the document is written as it was: nothing is lost, and nothing is added.
fn parsed<T: Serialize + DeserializeOwned + Debug>(text: &str) -> T {
    let document = serde_json::from_str(text).expect("a document");
    let value: Value = serde_json::from_str(text).expect("JSON");
    assert_eq!(serde_json::to_value(&document).expect("writes"), value, "{document:?}");
    document
}
