//! Rules for the repository: dependencies that ARCHITECTURE.md excludes are absent, and files that must agree
//! do agree.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use podlocal_harness::repository::root;
use podlocal_settings::names::VARIABLE_PREFIX;
use podlocal_settings::table::TABLE;

#[path = "repository/imports.rs"]
mod imports;

fn text(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Every file with this ending under `folder`: its path from the root, and its text.
fn files(folder: &str, ending: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut folders = vec![PathBuf::from(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(root().join(&folder)).expect("a folder") {
            let entry = entry.expect("an entry");
            let path = folder.join(entry.file_name());
            if entry.file_type().expect("a type").is_dir() {
                folders.push(path);
            } else if path.to_string_lossy().ends_with(ending) {
                found.push((path.to_string_lossy().into_owned(), text(&path)));
            }
        }
    }
    assert!(!found.is_empty(), "no {ending} under {folder}");
    found.sort();
    found
}

/// The source files of a crate's library and programs, without their tests and without comments.
fn sources(folder: &str) -> Vec<(String, String)> {
    let without_tests = |text: &str| text.split("#[cfg(test)]").next().unwrap_or_default().to_owned();
    let is_comment = |line: &&str| line.trim_start().starts_with("//");
    files(&format!("{folder}/src"), ".rs")
        .into_iter()
        .filter(|(path, _)| !path.ends_with("/tests.rs"))
        .map(|(path, text)| {
            let code: Vec<_> =
                without_tests(&text).lines().filter(|line| !is_comment(line)).map(str::to_owned).collect();
            (path, code.join("\n"))
        })
        .collect()
}

/// Asserts that none of `words` occurs in the code of the files for which `concerns` is true.
fn absent(folder: &str, concerns: impl Fn(&str) -> bool, words: &[&str]) {
    let concerned: Vec<_> = sources(folder).into_iter().filter(|(path, _)| concerns(path)).collect();
    assert!(!concerned.is_empty(), "the rule concerns no file any more");
    for (path, code) in concerned {
        for word in words {
            assert!(!code.contains(word), "{path} contains {word:?}");
        }
    }
}

#[test]
fn only_wire_knows_packet_offsets() {
    for folder in ["dns", "sidecar"] {
        absent(
            folder,
            |path| !path.contains("/wire"),
            &["from_be_bytes", "get_u16", "get_u32", "HEADER_LENGTH + 1"],
        );
    }
    let indexed = |code: &str| {
        code.split('[').skip(1).any(|rest| {
            let index = rest.split([']', '.', ';']).next().unwrap_or_default();
            !index.is_empty()
                && index.bytes().all(|byte| byte.is_ascii_digit())
                && rest[index.len()..].starts_with(']')
        })
    };
    // The policy for the upstream sees no packets.
    let may_index = |path: &str| path.contains("/wire") || path.starts_with("dns/src/upstream");
    let sources = ["dns", "sidecar"].into_iter().flat_map(sources);
    for (path, code) in sources.filter(|(path, _)| !may_index(path)) {
        assert!(!indexed(&code), "{path} indexes with a number");
    }
}

#[test]
fn pure_modules_of_the_sidecar_read_no_clock() {
    let pure = [
        "cache.rs",
        "entry.rs",
        "lifetime.rs",
        "forward.rs",
        "query.rs",
        "reply.rs",
        "flight.rs",
        "pool.rs",
        "path.rs",
        "sources.rs",
        "top_names.rs",
    ];
    let concerns = |path: &str| pure.iter().any(|name| path.ends_with(&format!("/{name}")));
    absent("sidecar", concerns, &["Instant::now", "SystemTime", "sleep("]);
}

#[test]
fn the_dns_crate_reads_no_clock_and_knows_no_runtime() {
    absent("dns", |_| true, &["Instant::now", "SystemTime", "tokio", "std::net::UdpSocket", "std::thread"]);
}

/// A change of the wall clock must not affect the sidecar.
#[test]
fn the_sidecar_never_reads_the_wall_clock() {
    absent("sidecar", |_| true, &["SystemTime"]);
}

#[test]
fn flight_and_wire_depend_on_no_other_module() {
    absent("sidecar", |path| path.ends_with("flight.rs"), &["crate::", "hickory"]);
    absent("dns", |path| path.contains("/wire"), &["crate::", "hickory"]);
}

#[test]
fn an_outcome_is_counted_in_one_place() {
    absent("sidecar", |path| !path.ends_with("server.rs"), &[".outcomes"]);
}

#[test]
fn the_sidecar_knows_nothing_of_kubernetes_clients() {
    let manifest = text("sidecar/Cargo.toml");
    for dependency in ["kube", "k8s-openapi", "axum", "rustls", "reqwest"] {
        assert!(
            !manifest.lines().any(|line| line.starts_with(dependency)),
            "the sidecar depends on {dependency}"
        );
    }
}

/// What people need is not in the program of every pod.
#[test]
fn inspect_and_the_sidecar_do_not_depend_on_each_other() {
    for (folder, others) in [
        ("inspect", ["podlocal-sidecar", "podlocal-webhook", "tokio"].as_slice()),
        ("sidecar", &["podlocal-inspect", "podlocal-webhook", "clap"]),
    ] {
        let manifest = text(format!("{folder}/Cargo.toml"));
        for other in others {
            let is_other =
                |line: &str| line.strip_prefix(other).is_some_and(|rest| rest.starts_with(['.', ' ']));
            assert!(!manifest.lines().any(is_other), "{folder} depends on {other}");
        }
    }
}

#[test]
fn decide_inject_and_patch_are_functions_of_their_arguments() {
    let pure = [
        "assess.rs",
        "diff.rs",
        "estimate.rs",
        "ledger.rs",
        "reason.rs",
        "report.rs",
        "requests.rs",
        "templates.rs",
        "workload.rs",
    ];
    let concerns =
        |path: &str| path.contains("/review/") || pure.iter().any(|name| path.ends_with(&format!("/{name}")));
    absent(
        "webhook",
        concerns,
        &["tokio", "kube::", "Instant", "SystemTime", "std::fs", "std::net::Tcp", "async "],
    );
}

#[test]
fn the_failure_policy_is_defined_in_one_place() {
    absent(
        "webhook",
        |path| !path.ends_with("admission.rs"),
        &["allowed: true", "allowed: false", "\"allowed\""],
    );
}

#[test]
fn no_setting_is_spelled_outside_the_settings_crate() {
    for folder in ["dns", "inspect", "sidecar", "webhook"] {
        for (path, code) in sources(folder) {
            assert!(!code.contains(VARIABLE_PREFIX) || path.ends_with("cli.rs"), "{path} spells a variable");
            for setting in TABLE.iter().filter(|setting| setting.name.contains('-')) {
                assert!(!code.contains(&format!("\"{}\"", setting.name)), "{path} spells {}", setting.name);
                assert!(!code.contains(&setting.annotation()), "{path} spells {}", setting.annotation());
            }
        }
    }
}

#[test]
fn the_sources_have_no_todo_comments() {
    for folder in ["settings", "telemetry", "dns", "inspect", "sidecar", "webhook", "tests", "release"] {
        absent(folder, |_| true, &["todo!(", "unimplemented!(", "TODO", "FIXME"]);
    }
}

#[test]
fn both_dockerfiles_differ_only_in_what_they_build() {
    let generic = |name: &str, other: &str| {
        let text = text(format!("Dockerfile.{name}")).replace(name, "NAME");
        assert!(!text.contains(other));
        text.lines().filter(|line| !line.starts_with('#')).collect::<Vec<_>>().join("\n")
    };
    assert_eq!(generic("sidecar", "webhook"), generic("webhook", "sidecar"));
}

#[test]
fn the_toolchain_is_the_same_everywhere() {
    let toolchain = text("rust-toolchain.toml");
    let channel = toolchain.lines().find_map(|line| line.strip_prefix("channel = ")).expect("a channel");
    let version = channel.trim_matches('"');
    for name in ["sidecar", "webhook"] {
        assert!(
            text(format!("Dockerfile.{name}")).contains(&format!("rust:{version}-")),
            "Dockerfile.{name}"
        );
    }
    let minimum = text("Cargo.toml");
    let minimum = minimum.lines().find_map(|line| line.strip_prefix("rust-version = ")).expect("a minimum");
    assert!(version.starts_with(minimum.trim_matches('"')), "{version} and {minimum}");
}

/// The manifests of a commit must install the images of its version.
#[test]
fn every_image_of_ours_has_the_version_of_the_workspace() {
    const OURS: &str = "ghcr.io/podlocal-dns/";
    let version = env!("CARGO_PKG_VERSION");
    let mut found = 0;
    let documents = [files("manifests", ".yaml"), files("charts", "Chart.yaml"), files("docs", ".md")];
    for (path, text) in documents.into_iter().flatten() {
        // An image without a tag gets its tag from the kustomization in the same folder.
        let references = text.split(OURS).skip(1).map(|rest| rest.split(['\n', '}', ' ', '`', '|']).next());
        let tags = references.filter_map(|reference| Some(reference?.split_once(':')?.1));
        let tags = tags.filter(|tag| tag.starts_with(char::is_alphanumeric));
        let new_tags = text.lines().filter_map(|line| line.trim().strip_prefix("newTag: "));
        let of_chart = text
            .lines()
            .filter_map(|line| line.strip_prefix("version: ").or_else(|| line.strip_prefix("appVersion: ")));
        for tag in tags.chain(new_tags).chain(of_chart) {
            assert_eq!(tag.trim_matches('"'), version, "{path}");
            found += 1;
        }
    }
    // The base names both images, each variant of the shared tier one.
    assert!(found >= 4, "{found}");
}

#[test]
fn a_kustomization_lists_every_manifest_beside_it() {
    for (path, kustomization) in files("manifests", "kustomization.yaml") {
        let folder = Path::new(&path).parent().expect("a folder");
        let listed: BTreeSet<_> =
            kustomization.lines().filter_map(|line| line.trim().strip_prefix("- ")).map(str::trim).collect();
        for entry in fs::read_dir(root().join(folder)).expect("a folder") {
            let name = entry.expect("an entry").file_name().to_string_lossy().into_owned();
            if Path::new(&name).extension().is_some_and(|ending| ending == "yaml")
                && name != "kustomization.yaml"
            {
                assert!(listed.contains(name.as_str()), "{path} does not list {name}");
            }
        }
    }
}
