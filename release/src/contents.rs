//! The contents of a program: the crates that are linked into it, the standard library, the C library.
//!
//! The crates come from `cargo tree`, which resolves features for one package, as `cargo build --package`
//! does. `cargo metadata` resolves features only for the whole workspace, and would add the webhook's TLS to
//! the sidecar. Procedural macros and build scripts run on the build machine and are not in the program.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs, io};

use serde::Deserialize;

/// The name and version of a crate.
pub(crate) type Id = (String, String);

#[derive(Debug)]
pub(crate) struct Contents {
    /// The program's own package.
    pub(crate) root: Id,
    /// All crates, including the program's own.
    pub(crate) crates: BTreeMap<Id, Crate>,
    /// The dependencies of each crate.
    pub(crate) needs: BTreeMap<Id, BTreeSet<Id>>,
    /// The target triple: `x86_64-unknown-linux-gnu`.
    pub(crate) target: String,
    pub(crate) rust: String,
    /// The version of the GNU C library, which is linked statically.
    pub(crate) glibc: String,
    pub(crate) workspace: PathBuf,
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Crate {
    name: String,
    version: String,
    /// The SPDX expression of the license.
    pub(crate) license: Option<String>,
    /// A license file, relative to the folder of the crate.
    pub(crate) license_file: Option<PathBuf>,
    pub(crate) description: Option<String>,
    pub(crate) repository: Option<String>,
    /// The registry; `None` for crates of this workspace.
    pub(crate) source: Option<String>,
    manifest_path: PathBuf,
    /// The SHA-256 of the crate file in the registry, from Cargo.lock.
    #[serde(skip)]
    pub(crate) checksum: Option<String>,
}

impl Contents {
    /// The contents of the program of that package, built for this machine.
    pub(crate) fn of(package: &str) -> Result<Self, String> {
        let rustc = output(Command::new(env::var_os("RUSTC").unwrap_or("rustc".into())).arg("-vV"))?;
        let [target, rust] = ["host: ", "release: "].map(|field| line_of(&rustc, field).to_owned());
        let tree = output(cargo().args(["tree", "--locked", "--edges", "normal,no-proc-macro"]).args([
            "--prefix",
            "depth",
            "--format",
            "{p}",
            "--package",
            package,
            "--target",
            &target,
        ]))?;
        let metadata = output(
            cargo()
                .args(["metadata", "--locked", "--format-version", "1"])
                .args(["--filter-platform", &target]),
        )?;
        let metadata: Metadata =
            serde_json::from_str(&metadata).map_err(|error| format!("cargo metadata: {error}"))?;
        let lock = metadata.workspace_root.join("Cargo.lock");
        let checksums = checksums_of(&fs::read_to_string(&lock).map_err(about(&lock))?);
        let (root, needs) = edges(&tree);
        let mut known: BTreeMap<Id, Crate> =
            metadata.packages.into_iter().map(|package| (package.id(), package)).collect();
        let mut crates = BTreeMap::new();
        for id in needs.keys() {
            let mut found = known.remove(id).ok_or_else(|| {
                format!("cargo metadata does not know {} {}, which cargo tree names", id.0, id.1)
            })?;
            found.checksum = checksums.get(id).cloned();
            crates.insert(id.clone(), found);
        }
        let glibc = output(Command::new("getconf").arg("GNU_LIBC_VERSION"))?;
        Ok(Self {
            root,
            crates,
            needs,
            target,
            rust,
            glibc: line_of(&glibc, "glibc ").to_owned(),
            workspace: metadata.workspace_root,
        })
    }

    pub(crate) fn third_party(&self) -> impl Iterator<Item = (&Id, &Crate)> {
        self.crates.iter().filter(|(_, of)| of.source.is_some())
    }
}

impl Crate {
    fn id(&self) -> Id {
        (self.name.clone(), self.version.clone())
    }

    /// The folder of its sources.
    pub(crate) fn folder(&self) -> &Path {
        self.manifest_path.parent().unwrap_or(Path::new("."))
    }
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Crate>,
    workspace_root: PathBuf,
}

/// The root and the dependencies of each crate, from lines such as `2http v1.5.0` that begin with their
/// depth. A crate that was printed before has no lines below it.
fn edges(tree: &str) -> (Id, BTreeMap<Id, BTreeSet<Id>>) {
    let mut needs: BTreeMap<Id, BTreeSet<Id>> = BTreeMap::new();
    let mut above: Vec<Id> = Vec::new();
    for line in tree.lines() {
        let name = line.trim_start_matches(|letter: char| letter.is_ascii_digit());
        let depth: usize = line[..line.len() - name.len()].parse().unwrap_or_default();
        let mut words = name.split_whitespace();
        let (Some(name), Some(version)) = (words.next(), words.next()) else { continue };
        let id = (name.to_owned(), version.trim_start_matches('v').to_owned());
        above.truncate(depth);
        if let Some(parent) = above.last() {
            needs.entry(parent.clone()).or_default().insert(id.clone());
        }
        needs.entry(id.clone()).or_default();
        above.push(id);
    }
    (above.into_iter().next().unwrap_or_default(), needs)
}

/// The checksums in the text of a Cargo.lock.
fn checksums_of(lock: &str) -> BTreeMap<Id, String> {
    let value = |package: &str, key: &str| {
        let line = package.lines().find_map(|line| line.strip_prefix(&format!("{key} = ")));
        line.map(|text| text.trim_matches('"').to_owned())
    };
    let packages = lock.split("[[package]]").filter_map(|package| {
        let id = (value(package, "name")?, value(package, "version")?);
        Some((id, value(package, "checksum")?))
    });
    packages.collect()
}

/// The text behind `field` in the line that begins with it.
fn line_of<'text>(text: &'text str, field: &str) -> &'text str {
    text.lines().find_map(|line| line.strip_prefix(field)).unwrap_or_default().trim()
}

fn cargo() -> Command {
    Command::new(env::var_os("CARGO").unwrap_or("cargo".into()))
}

/// The standard output of a program; an error if it fails or prints nothing.
fn output(command: &mut Command) -> Result<String, String> {
    let first = command.get_args().next().unwrap_or_default();
    let program = format!("{} {}", command.get_program().display(), first.display());
    let output = command.output().map_err(|error| format!("{program}: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() && !text.trim().is_empty() {
        return Ok(text);
    }
    Err(format!("{program}: {}\n{}", output.status, String::from_utf8_lossy(&output.stderr).trim_end()))
}

/// The message about an error of that file.
pub(crate) fn about(file: &Path) -> impl Fn(io::Error) -> String {
    move |error| format!("{}: {error}", file.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(name: &str) -> Id {
        (name.to_owned(), "1.0.0".to_owned())
    }

    #[test]
    fn cargo_tree_depths_become_dependency_edges() {
        let tree = "0a v1.0.0 (/somewhere)\n1b v1.0.0\n2c v1.0.0\n1c v1.0.0 (*)\n";
        let (root, needs) = edges(tree);
        assert_eq!(root, id("a"));
        let of = |names: &[&str]| names.iter().map(|name| id(name)).collect::<BTreeSet<_>>();
        let expected = [(id("a"), of(&["b", "c"])), (id("b"), of(&["c"])), (id("c"), of(&[]))];
        assert_eq!(needs, BTreeMap::from(expected));
    }

    #[test]
    fn a_checksum_belongs_to_its_version() {
        let lock = "version = 4\n\n[[package]]\nname = \"a\"\nversion = \"1.0.0\"\nchecksum = \"ab\"\n\n\
                    [[package]]\nname = \"a\"\nversion = \"2.0.0\"\n";
        assert_eq!(checksums_of(lock), BTreeMap::from([(id("a"), "ab".to_owned())]));
    }
}
