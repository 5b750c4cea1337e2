//! The notices that go with the programs: complete, exact, and the same wherever it is written.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

fn notices(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_notices")).args(arguments).output().expect("runs")
}

/// The SBOM and the licences of a package.
fn written(package: &str) -> (String, String) {
    let folder = TempDir::new().expect("a folder");
    let output = notices(&[package, folder.path().to_str().expect("UTF-8")]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = |name: &str| fs::read_to_string(folder.path().join(name)).expect("a file");
    (text("sbom.cdx.json"), text("licenses.txt"))
}

/// The components with their names and versions.
fn components(sbom: &Value) -> Vec<(String, String, &Value)> {
    let components = sbom["components"].as_array().expect("components");
    let text = |of: &'_ Value, key: &str| of[key].as_str().expect("a text").to_owned();
    components.iter().map(|of| (text(of, "name"), text(of, "version"), of)).collect()
}

#[test]
fn every_crate_of_the_sbom_has_its_licence_in_the_text_and_its_checksum() {
    for package in ["podlocal-sidecar", "podlocal-inspect", "podlocal-webhook"] {
        let (sbom, licenses) = written(package);
        let sbom: Value = serde_json::from_str(&sbom).expect("JSON");
        // A crate is in the list and above the text of its licence.
        for (name, version, component) in components(&sbom) {
            let purl = component["purl"].as_str().unwrap_or_default();
            assert!(component["licenses"][0]["expression"].is_string(), "{name}");
            if purl.starts_with("pkg:cargo/") {
                let digest = component["hashes"][0]["content"].as_str().unwrap_or_default();
                assert_eq!(digest.len(), 64, "{name}");
                assert!(licenses.contains(&format!("\n{name} {version}: ")), "{name}");
                assert!(licenses.contains(&format!("\n{name} {version}\n")), "{name}: no text");
            }
        }
        for text in ["GNU LESSER GENERAL PUBLIC LICENSE", "Apache License", "the Rust standard library"] {
            assert!(licenses.contains(text), "{package}: {text}");
        }
    }
}

/// Features are resolved for the program alone: with those of the workspace, the sidecar would have HTTP/2
/// and TLS.
#[test]
fn sbom_lists_exactly_the_contents_of_the_program() {
    let (sbom, _) = written("podlocal-sidecar");
    let sbom: Value = serde_json::from_str(&sbom).expect("JSON");
    let names: BTreeSet<_> = components(&sbom).into_iter().map(|(name, ..)| name).collect();
    let has = |name: &str| names.iter().any(|other| other == name);
    for inside in ["hickory-proto", "tokio", "podlocal-settings", "rust-std", "glibc"] {
        assert!(has(inside), "{inside} is missing");
    }
    for outside in ["ring", "h2", "kube", "proptest", "thiserror-impl", "syn", "podlocal-sidecar"] {
        assert!(!has(outside), "{outside} is not in the sidecar");
    }
    let references: BTreeSet<_> = sbom["components"]
        .as_array()
        .into_iter()
        .flatten()
        .chain([&sbom["metadata"]["component"]])
        .map(|component| &component["bom-ref"])
        .map(Value::to_string)
        .collect();
    let dependencies = sbom["dependencies"].as_array().expect("dependencies");
    assert!(dependencies.len() > 50);
    for dependency in dependencies {
        let ends = dependency["dependsOn"].as_array().into_iter().flatten().chain([&dependency["ref"]]);
        ends.for_each(|end| assert!(references.contains(&end.to_string()), "{end} is no component"));
    }
}

#[test]
fn output_is_reproducible_and_contains_no_local_path() {
    let (first, second) = (written("podlocal-webhook"), written("podlocal-webhook"));
    assert_eq!(first, second);
    let workspace =
        Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").display().to_string();
    for text in [&first.0, &first.1] {
        assert!(!text.contains(&workspace) && !text.contains("/registry/src/"));
    }
}

#[test]
fn a_crate_that_was_compiled_and_is_not_listed_is_a_failure() {
    let folder = TempDir::new().expect("a folder");
    let messages = folder.path().join("messages.json");
    let target = Command::new("rustc").args(["--print", "host-tuple"]).output().expect("rustc");
    let target = String::from_utf8_lossy(&target.stdout).trim().to_owned();
    let artifact = |name: &str, place: &str| {
        format!(
            "{{\"reason\":\"compiler-artifact\",\"package_id\":\"registry+https://example.com/index#{name}@9.9.9\",\
             \"filenames\":[\"/build/{place}/image/deps/lib{name}.rlib\"]}}\n"
        )
    };
    let run = |text: String| {
        fs::write(&messages, text).expect("writes");
        let path = |path: &Path| path.to_str().expect("UTF-8").to_owned();
        notices(&["podlocal-sidecar", &path(folder.path()), &path(&messages)])
    };
    // A procedural macro is compiled for the build machine.
    assert!(run(artifact("macro", "release")).status.success());
    let refused = run(artifact("smuggled", &target));
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("smuggled 9.9.9"));
}

#[test]
fn invalid_usage_and_unknown_packages_are_reported() {
    assert_eq!(notices(&[]).status.code(), Some(64));
    let unknown = notices(&["no-such-package", "/nowhere"]);
    assert_eq!(unknown.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&unknown.stderr).contains("no-such-package"));
}
