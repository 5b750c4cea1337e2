//! Checks the Markdown files: every command says where it runs, every link has a target, and every figure is
//! that of `docs/results.yaml`.
//! `documented_commands.rs` runs the blocks marked `sh`.

use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::process::Command;

use podlocal_harness::repository::root;
use podlocal_tests::documents::results::Results;
use podlocal_tests::documents::{Document, Kind};

fn all() -> Vec<Document> {
    Document::all().unwrap_or_else(|failure| panic!("{failure}"))
}

fn none(mistakes: &[String]) {
    assert!(mistakes.is_empty(), "{} mistakes:\n{}", mistakes.len(), mistakes.join("\n"));
}

#[test]
fn every_block_says_where_its_commands_are_run() {
    none(&all().iter().flat_map(Document::mistakes).collect::<Vec<_>>());
}

#[test]
fn every_link_and_its_heading_is_there() {
    let all = all();
    none(&all.iter().flat_map(|document| document.dead_links(&all)).collect::<Vec<_>>());
}

/// The changelog says what was measured in the past, and the page of settings is generated.
const WITHOUT_RESULTS: [&str; 2] = ["CHANGELOG.md", "docs/settings.md"];

/// `UPDATE=1` writes the values of the file into the pages.
#[test]
fn every_figure_is_that_of_the_results_file() {
    let results = Results::read().unwrap_or_else(|failure| panic!("{failure}"));
    let read = |document: Document| {
        let file = root().join(&document.path);
        let page = fs::read_to_string(&file).expect("a page");
        if env::var_os("UPDATE").is_none() {
            return (document.path, page);
        }
        let updated = results.update(&page);
        if updated != page {
            fs::write(&file, &updated).expect("a page");
        }
        (document.path, updated)
    };
    let documents = all().into_iter().filter(|document| !WITHOUT_RESULTS.contains(&document.path.as_str()));
    let pages: Vec<_> = documents.map(read).collect();
    let mut mistakes = results.mistakes(&pages);
    mistakes.extend(pages.iter().flat_map(|(path, page)| results.mistakes_of(path, page)));
    none(&mistakes);
}

#[test]
fn the_index_has_every_page() {
    let all = all();
    let index = all.iter().find(|document| document.path == "docs/README.md").expect("an index");
    let listed: BTreeSet<_> = index.links.iter().map(|(_, link)| format!("docs/{link}")).collect();
    let pages =
        all.iter().filter(|document| document.path.starts_with("docs/") && document.path != index.path);
    let missing: Vec<_> =
        pages.filter(|page| !listed.contains(&page.path)).map(|page| page.path.clone()).collect();
    none(&missing);
}

/// The page explains the injected lines one by one, so every key that the webhook adds must occur as code on
/// it.
#[test]
fn every_injected_line_is_explained() {
    let all = all();
    let page = all.iter().find(|document| document.path == "docs/injected.md").expect("the page");
    let output = page.blocks_of(|kind| *kind == Kind::Output).next().expect("an injected pod");
    let pod: serde_json::Value = serde_saphyr::from_str(&output.text).expect("YAML");
    let keys = |value: &serde_json::Value| -> Vec<String> {
        value.as_object().expect("a map").keys().cloned().collect()
    };
    let container = &pod["spec"]["initContainers"][0];
    let mut lines = vec!["initContainers".to_owned(), "dnsPolicy".to_owned()];
    for part in
        [container, &container["securityContext"], &pod["spec"]["dnsConfig"], &pod["metadata"]["annotations"]]
    {
        lines.extend(keys(part));
    }
    for named in [&container["env"], &pod["spec"]["securityContext"]["sysctls"]] {
        let names = named.as_array().expect("a list").iter().filter_map(|one| one["name"].as_str());
        lines.extend(names.map(str::to_owned));
    }
    assert!(lines.len() > 20, "{lines:?}");
    let is_missing = |line: &&String| !page.spans.iter().any(|code| code.contains(line.as_str()));
    none(&lines.iter().filter(is_missing).cloned().collect::<Vec<_>>());
}

#[test]
fn ci_runs_the_commands_that_documents_attribute_to_it() {
    let ci = fs::read_to_string(root().join(".ci/run")).expect("a script").replace(" --locked", "");
    let mut mistakes = Vec::new();
    for document in all() {
        for block in document.blocks_of(|kind| *kind == Kind::Ci) {
            let lines = commands(&block.text).into_iter().map(|words| words.join(" "));
            let missing = lines.filter(|line| !ci.contains(line));
            mistakes.extend(
                missing.map(|line| {
                    format!("{}:{}: .ci/run does not contain: {line}", document.path, block.line)
                }),
            );
        }
    }
    none(&mistakes);
}

/// The words of each command, without comments; continued lines are joined.
fn commands(text: &str) -> Vec<Vec<String>> {
    let text = text.replace("\\\n", " ");
    let words = |line: &str| -> Vec<String> {
        line.split_whitespace().take_while(|word| !word.starts_with('#')).map(str::to_owned).collect()
    };
    text.lines().map(words).filter(|words| !words.is_empty()).collect()
}

/// The commands of a page that is not in the index would never run.
#[test]
fn cluster_blocks_are_on_indexed_pages_only() {
    let is_for_cluster =
        |document: &&Document| document.blocks_of(|kind| *kind == Kind::Cluster).next().is_some();
    let run: Vec<_> = Document::in_reading_order(all()).into_iter().map(|document| document.path).collect();
    let all = all();
    let missing = all.iter().filter(is_for_cluster).filter(|document| !run.contains(&document.path));
    none(&missing.map(|document| document.path.clone()).collect::<Vec<_>>());
    let place = |page: &str| run.iter().position(|path| path == page);
    assert!(place("README.md") < place("docs/opt-in.md"), "{run:?}");
    let last =
        run.iter().rposition(|path| all.iter().filter(is_for_cluster).any(|document| document.path == *path));
    assert_eq!(
        last,
        place("docs/upgrade.md"),
        "docs/upgrade.md must be last, because it removes the installation: {run:?}"
    );
}

/// Nothing runs these blocks in `cargo test`. So a typing error, or a file that was moved, would stay.
#[test]
fn blocks_that_are_not_run_are_valid_shell_and_name_existing_files() {
    let listed = Command::new("git").arg("ls-files").current_dir(root()).output().expect("git");
    let listed = String::from_utf8(listed.stdout).expect("text");
    let is_target = |name: &str| {
        listed.contains(&format!("/{name}.rs\n")) || listed.contains(&format!("/{name}/main.rs\n"))
    };
    let mut mistakes = Vec::new();
    for document in all() {
        for block in document.blocks_of(|kind| matches!(kind, Kind::Cluster | Kind::NotRun)) {
            let mut mistake = |what: &str| mistakes.push(format!("{}:{}: {what}", document.path, block.line));
            let checked = Command::new("sh").args(["-n", "-c", &block.text]).output().expect("a shell");
            if !checked.status.success() {
                mistake(&String::from_utf8_lossy(&checked.stderr));
            }
            for words in commands(&block.text) {
                for word in &words {
                    let is_ours = ["manifests/", ".ci/"].iter().any(|folder| word.starts_with(folder));
                    if is_ours && !root().join(word).exists() {
                        mistake(&format!("there is no {word}"));
                    }
                }
                for (flag, name) in words.iter().zip(words.iter().skip(1)) {
                    let names_target = ["--bin", "--test", "--bench", "--example"].contains(&flag.as_str());
                    if names_target && !name.starts_with("podlocal-") && !is_target(name) {
                        mistake(&format!("there is no {flag} {name}"));
                    }
                }
            }
        }
    }
    none(&mistakes);
}

/// The table of threats names the tests and attacks that prove its claims. A row without one must say that
/// nothing prevents the threat.
#[test]
fn every_test_that_the_threats_name_is_there() {
    let page = fs::read_to_string(root().join("docs/security.md")).expect("a page");
    let (_, section) = page.split_once("\n## Threats\n").expect("the section");
    let table = section.split("\n### ").next().unwrap_or_default();
    let rows = table.lines().filter(|line| line.starts_with("| ")).skip(1);
    let rows: Vec<Vec<&str>> = rows.map(|row| row.trim_matches('|').split(" | ").collect()).collect();
    let rows: Vec<_> = rows.into_iter().take_while(|row| row.len() == 5).collect();
    assert!(rows.len() > 10, "{} threats", rows.len());
    let sources = ["sidecar", "webhook", "dns", "settings", "tests", "release"].map(|folder| {
        let arguments = ["grep", "-hoE", "fn [a-z0-9_]+\\(", "--", folder];
        let found = Command::new("git").args(arguments).current_dir(root()).output().expect("git");
        String::from_utf8(found.stdout).expect("text")
    });
    let attacks = fs::read_to_string(root().join("experiments/src/attacks/attack.rs")).expect("a source");
    let attacks = attacks.replace("Self::", "").to_lowercase();
    let mut mistakes = Vec::new();
    for row in rows {
        let names: Vec<_> = row[4].split('`').skip(1).step_by(2).collect();
        if names.is_empty() && !row[3].trim_start().starts_with("nothing:") {
            mistakes.push(format!("no test proves this claim: {}", row[3]));
        }
        for name in names {
            let is_scenario = root().join(format!("sidecar/tests/scenarios/{name}.txt")).exists();
            let is_test = is_scenario || sources.iter().any(|source| source.contains(&format!("fn {name}(")));
            let is_attack = name.contains('-') && attacks.contains(&format!("{},", name.replace('-', "")));
            if !is_test && !is_attack {
                mistakes.push(format!("there is neither a test nor an attack {name}"));
            }
        }
    }
    none(&mistakes);
}
