//! The Markdown files: every command says where it is run, and is; every link leads somewhere. What blocks marked `sh` do
//! when they are run is `documented_commands.rs`.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Output, Stdio};

use podlocal_tests::documents::{Document, Kind, command, root};

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

/// The page says "line by line": what the webhook puts into a pod, key by key, stands in code somewhere on it.
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
    let is_missing = |line: &&String| !page.spans.iter().any(|(_, code)| code.contains(line.as_str()));
    none(&lines.iter().filter(is_missing).cloned().collect::<Vec<_>>());
}

/// So that the words "CI runs it" are true: the step begins with the command that the document shows.
#[test]
fn what_ci_is_said_to_run_it_runs() {
    let ci = fs::read_to_string(root().join(".ci/run")).expect("a script");
    let mut mistakes = Vec::new();
    for document in all() {
        for block in &document.blocks {
            let Ok(Kind::Ci(steps)) = &block.kind else { continue };
            let mut used = BTreeSet::new();
            for line in command::lines(&block.text) {
                let step =
                    steps.iter().find(|step| step_of(&ci, step).iter().any(|words| words.starts_with(&line)));
                match step {
                    Some(step) => drop(used.insert(step)),
                    None => mistakes.push(format!(
                        "{}:{}: none of the steps {} of .ci/run gives: {}",
                        document.path,
                        block.line,
                        steps.join(", "),
                        line.join(" ")
                    )),
                }
            }
            let unused = steps.iter().filter(|step| !used.contains(step));
            mistakes.extend(
                unused.map(|step| format!("{}:{}: {step} runs none of it", document.path, block.line)),
            );
        }
    }
    none(&mistakes);
}

/// The commands of one step; `--locked` is CI's own care.
fn step_of(ci: &str, step: &str) -> Vec<Vec<String>> {
    let body = ci.split_once(&format!("\nstep_{step}() ")).map_or("", |(_, rest)| rest);
    let body = body.split_once('\n').map_or("", |(_, rest)| rest);
    let body = body.split("\n}").next().unwrap_or_default().split("\n)").next().unwrap_or_default();
    let mut lines = command::lines(body);
    for words in &mut lines {
        words.retain(|word| word != "--locked");
    }
    lines
}

/// Says yes to everything, but looks whether the files and folders that it is given are there; where kubectl itself is
/// installed, it also renders the folders.
const STUB: &str = r#"#!/usr/bin/env bash
echo "$(basename "$0") $*" >>"$LOG"
if [ "$(basename "$0")" != kubectl ]; then exit 0; fi
case "$*" in "get namespace my-jobs "*) echo "${EXISTING:-}" ;; esac
case "$*" in "${FAILING:-no command}"*) echo 'the cluster says no' >&2; exit 1 ;; esac
while [ $# != 0 ]; do
    case $1 in
    -k) test -e "$2/kustomization.yaml" || { echo "there is no $2" >&2; exit 1; }
        if [ -n "${KUBECTL:-}" ]; then "$KUBECTL" kustomize "$2" >/dev/null || exit 1; fi ;;
    -f | --filename) test "$2" = - || test -e "$2" || [[ $2 == https://* ]] || { echo "there is no $2" >&2; exit 1; } ;;
    esac
    shift
done
"#;

/// What blocks for a cluster may call, apart from the tools of any system.
const STUBBED: [&str; 7] =
    ["kubectl", "podlocal-webhook", "podlocal-sidecar", "curl", "docker", "cosign", "skopeo"];

/// `tests/cluster/run --docs` against a cluster that says yes to everything but what begins as the variable `FAILING` says;
/// and what it was asked.
fn run_against_a_stub(variable: &str, value: &str) -> (Output, String) {
    let folder = tempfile::tempdir().expect("a folder");
    for name in STUBBED {
        let stub = folder.path().join(name);
        fs::write(&stub, STUB).expect("writes");
        fs::set_permissions(&stub, fs::Permissions::from_mode(0o755)).expect("sets");
    }
    let path = std::env::var("PATH").unwrap_or_default();
    let mut command = Command::new(root().join("tests/cluster/run"));
    command.arg("--docs").env("PATH", format!("{}:{path}", folder.path().display()));
    command.env("LOG", folder.path().join("log")).env("KUBECONFIG", "/dev/null").stdin(Stdio::null());
    command.env(variable, value);
    let installed =
        std::env::split_paths(&path).map(|folder| folder.join("kubectl")).find(|file| file.exists());
    if let Some(kubectl) = installed {
        command.env("KUBECTL", kubectl);
    }
    let output = command.output().expect("runs");
    (output, fs::read_to_string(folder.path().join("log")).unwrap_or_default())
}

/// The rows of the report, by what they begin with.
fn rows(output: &Output, verdict: &str) -> Vec<String> {
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let rows = text.lines().filter_map(|line| line.strip_prefix(verdict));
    rows.filter_map(|row| row.split_whitespace().next()).map(str::to_owned).collect()
}

#[test]
fn every_block_for_a_cluster_is_run_in_the_order_of_the_index_and_everything_is_removed() {
    let (output, log) = run_against_a_stub("FAILING", "no command");
    let said =
        format!("{}\n{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{said}");
    let run = rows(&output, "ok ");
    let all = all();
    let expected: BTreeSet<_> = all
        .iter()
        .flat_map(|document| {
            let blocks = document.blocks_of(|kind| *kind == Kind::Cluster);
            blocks.map(|block| format!("{}:{}", document.path, block.line))
        })
        .collect();
    assert_eq!(run.iter().cloned().collect::<BTreeSet<_>>(), expected, "{said}");
    assert_eq!(run.len(), expected.len(), "{said}");
    let place = |page: &str| run.iter().position(|row| row.starts_with(&format!("{page}:")));
    assert!(place("README.md") < place("docs/opt-in.md"), "{run:?}");
    assert_eq!(
        place("docs/upgrade.md").map(|at| run[at..].iter().all(|row| row.starts_with("docs/upgrade.md:"))),
        Some(true),
        "it removes what the others need: {run:?}"
    );
    let last: Vec<_> = log.lines().rev().take(8).collect();
    for removed in ["delete namespace my-jobs", "delete -k manifests/base"] {
        assert!(last.iter().any(|line| line.contains(removed)), "{removed} is not at the end of\n{log}");
    }
}

#[test]
fn a_block_that_fails_is_named_and_the_others_are_run_all_the_same() {
    let (output, log) = run_against_a_stub("FAILING", "label namespace my-jobs");
    assert_eq!(output.status.code(), Some(1));
    let failed = rows(&output, "FAILED ");
    assert!(failed.iter().any(|row| row.starts_with("README.md:")), "{failed:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("the cluster says no"));
    assert!(rows(&output, "ok ").iter().any(|row| row.starts_with("docs/upgrade.md:")));
    assert!(log.contains("delete namespace my-jobs"), "{log}");
}

#[test]
fn a_namespace_of_somebody_else_is_never_removed() {
    let (output, log) = run_against_a_stub("EXISTING", "namespace/my-jobs");
    assert_eq!(output.status.code(), Some(64));
    assert!(String::from_utf8_lossy(&output.stderr).contains("namespace/my-jobs"));
    assert!(!log.contains("delete") && !log.contains("apply"), "{log}");
}

#[test]
fn blocks_for_a_cluster_are_a_shells() {
    let mut mistakes = Vec::new();
    for document in all() {
        for block in document.blocks_of(|kind| *kind == Kind::Cluster) {
            let checked = Command::new("sh").args(["-n", "-c", &block.text]).output().expect("a shell");
            if !checked.status.success() {
                let said = String::from_utf8_lossy(&checked.stderr).into_owned();
                mistakes.push(format!("{}:{}: {said}", document.path, block.line));
            }
        }
    }
    none(&mistakes);
}

#[test]
fn a_step_of_ci_is_read_to_its_end_and_no_further() {
    let ci = "\nstep_one() {\n    # a\n    cargo test --workspace --locked 2>&1 |\\\n        tee x\n}\n\nstep_two() (\n    b c\n)\n";
    assert_eq!(step_of(ci, "one"), [vec!["cargo", "test", "--workspace", "2>&1", "|", "tee", "x"]]);
    assert_eq!(step_of(ci, "two"), [vec!["b", "c"]]);
    assert!(step_of(ci, "three").is_empty());
}
