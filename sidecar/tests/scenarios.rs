//! Every file of `scenarios/` is one promise, checked against an upstream in memory with a paused clock.

mod scenario;

use std::fs;
use std::path::Path;

/// One runtime for each scenario, so that each has its own clock.
#[test]
fn every_scenario_holds() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios");
    let mut files: Vec<_> =
        fs::read_dir(&folder).expect("a folder").map(|file| file.expect("a file").path()).collect();
    files.sort();
    assert!(files.len() > 10, "the scenarios are gone");
    let mut failures = Vec::new();
    for file in &files {
        let script = fs::read_to_string(file).expect("text");
        let promise = script.lines().next().unwrap_or_default().to_owned();
        assert!(
            promise.starts_with("# ") && promise.ends_with('.'),
            "{}: line 1 says the promise",
            file.display()
        );
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        if let Err(error) = runtime.expect("a runtime").block_on(scenario::run(&script)) {
            failures.push(format!("{}\n  {promise}\n  {error}", file.display()));
        }
    }
    assert!(failures.is_empty(), "{} of {}:\n{}", failures.len(), files.len(), failures.join("\n"));
}
