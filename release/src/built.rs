//! Compares the crates that cargo has compiled for a program with the list of its contents.

use serde::Deserialize;

use crate::contents::Contents;

/// A line of `cargo build --message-format json` about a compiled target.
#[derive(Deserialize)]
struct Artifact {
    package_id: String,
    filenames: Vec<String>,
}

/// The crates of registries that were compiled for the target of `contents`, and are not in it;
/// `name version` each. `messages` are the lines of `cargo build --message-format json`. The crates that are
/// compiled for this machine, procedural macros and build scripts, lie in a folder that is not named after
/// the target.
pub(crate) fn unlisted(messages: &str, contents: &Contents) -> Vec<String> {
    let place = format!("/{}/", contents.target);
    let artifacts = messages.lines().filter_map(|line| serde_json::from_str::<Artifact>(line).ok());
    let of_target = artifacts.filter(|artifact| artifact.filenames.iter().any(|file| file.contains(&place)));
    let mut unlisted: Vec<_> = of_target
        .filter_map(|artifact| {
            // `registry+https://...#name@version`; those of the workspace are `path+file://...`.
            let (registry, crate_) = artifact.package_id.rsplit_once('#')?;
            let (name, version) = crate_.split_once('@')?;
            let is_listed = contents.crates.contains_key(&(name.to_owned(), version.to_owned()));
            (!registry.starts_with("path+") && !is_listed).then(|| format!("{name} {version}"))
        })
        .collect();
    unlisted.sort();
    unlisted.dedup();
    unlisted
}
