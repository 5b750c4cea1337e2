//! Finds and builds the programs: those under test, and the tools of the tests.

use std::env;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::repository::root;

use crate::failure::{Failure, WithContext};

/// The environment variable with the path of a `podlocal-sidecar` to use instead of that of the workspace.
pub const SIDECAR_VARIABLE: &str = "SIDECAR_UNDER_TEST";

/// The environment variable with the path of a `podlocal-webhook` to use instead of that of the workspace.
pub const WEBHOOK_VARIABLE: &str = "WEBHOOK_UNDER_TEST";

/// The program that shows people what the sidecar does.
const INSPECT: &str = "podlocal-inspect";

/// The program that runs pods on the model of a node, for the comparison with a real one.
const MODEL_NODE: &str = "model-node";

/// The paths of the programs that an experiment starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Programs {
    /// `podlocal-sidecar`
    pub sidecar: PathBuf,
    /// `podlocal-webhook`
    pub webhook: PathBuf,
    /// `lookup`, the application of the experiment.
    pub lookup: PathBuf,
    /// `pod-sandbox`, the process of a pod.
    pub sandbox: PathBuf,
}

impl Programs {
    /// Builds with cargo the programs that the variables [`SIDECAR_VARIABLE`] and [`WEBHOOK_VARIABLE`] do not
    /// name, in the profile and the target directory of this program. Cargo shows its progress.
    ///
    /// Call it before the process enters a node, which has neither network nor DNS. The process inside builds
    /// nothing: see [`Self::built`].
    pub fn build() -> Result<Self, Failure> {
        Self::build_and(&[])
    }

    /// Builds the same and `model-node`, and returns the path of `model-node`.
    pub fn build_model_node() -> Result<PathBuf, Failure> {
        Self::build_and(&[MODEL_NODE])?;
        existing(&own_directory()?.join(MODEL_NODE))
    }

    fn build_and(others: &[&str]) -> Result<Self, Failure> {
        let given = |variable: &str| env::var_os(variable).is_some();
        let mut names = [&["cluster-dns", "lookup", "pod-sandbox"], others].concat();
        names.extend((!given(SIDECAR_VARIABLE)).then_some("podlocal-sidecar"));
        names.extend((!given(WEBHOOK_VARIABLE)).then_some("podlocal-webhook"));
        run_cargo(&own_directory()?, &names)?;
        Self::built()
    }

    /// Builds only the sidecar, unless [`SIDECAR_VARIABLE`] names one.
    pub fn build_sidecar() -> Result<PathBuf, Failure> {
        let directory = own_directory()?;
        if env::var_os(SIDECAR_VARIABLE).is_none() {
            run_cargo(&directory, &["podlocal-sidecar"])?;
        }
        program(&directory, SIDECAR_VARIABLE, "podlocal-sidecar")
    }

    /// Builds only the webhook, unless [`WEBHOOK_VARIABLE`] names one.
    pub fn build_webhook() -> Result<PathBuf, Failure> {
        let directory = own_directory()?;
        if env::var_os(WEBHOOK_VARIABLE).is_none() {
            run_cargo(&directory, &["podlocal-webhook"])?;
        }
        program(&directory, WEBHOOK_VARIABLE, "podlocal-webhook")
    }

    /// Builds only the program for people.
    pub fn build_inspect() -> Result<PathBuf, Failure> {
        run_cargo(&own_directory()?, &[INSPECT])?;
        Self::built_inspect()
    }

    /// The program that [`Self::build_inspect`] has built.
    pub fn built_inspect() -> Result<PathBuf, Failure> {
        existing(&own_directory()?.join(INSPECT))
    }

    /// Builds only the program `attacks`.
    pub fn build_attacks() -> Result<PathBuf, Failure> {
        let directory = own_directory()?;
        run_cargo(&directory, &["attacks"])?;
        existing(&directory.join("attacks"))
    }

    /// Builds the sidecar as for the image: static and small; this takes longer.
    pub fn build_image_sidecar() -> Result<PathBuf, Failure> {
        let root = root();
        let target = target_directory()?;
        let built = target.join("images/podlocal-sidecar");
        let mut build = Command::new(root.join(".ci/static"));
        build.current_dir(&root).arg("podlocal-sidecar").arg(&built).env("CARGO_TARGET_DIR", &target);
        let status = build.status().with_context(|| "running .ci/static".to_owned())?;
        if !status.success() {
            return Err(Failure::new(".ci/static failed to build the sidecar; see its output"));
        }
        existing(&built.join("podlocal-sidecar"))
    }

    /// The directory with the programs of the workspace.
    pub fn directory() -> Result<PathBuf, Failure> {
        own_directory()
    }

    /// The programs that [`Self::build`] has built.
    pub fn built() -> Result<Self, Failure> {
        let directory = own_directory()?;
        Ok(Self {
            sidecar: program(&directory, SIDECAR_VARIABLE, "podlocal-sidecar")?,
            webhook: program(&directory, WEBHOOK_VARIABLE, "podlocal-webhook")?,
            lookup: existing(&directory.join("lookup"))?,
            sandbox: existing(&directory.join("pod-sandbox"))?,
        })
    }
}

/// The program that the variable names, otherwise the one with this name in the directory.
fn program(directory: &Path, variable: &str, name: &str) -> Result<PathBuf, Failure> {
    env::var_os(variable).map_or_else(|| existing(&directory.join(name)), |path| existing(Path::new(&path)))
}

/// The directory of cargo's programs: that of this program, or for a test the one above `deps`.
fn own_directory() -> Result<PathBuf, Failure> {
    let program = env::current_exe().with_context(|| "finding this program".to_owned())?;
    let directory = program.parent().unwrap_or(Path::new("/"));
    let is_test = directory.file_name() == Some(OsStr::new("deps"));
    Ok(if is_test { directory.parent().unwrap_or(directory) } else { directory }.to_owned())
}

/// Cargo's target directory of this program.
pub fn target_directory() -> Result<PathBuf, Failure> {
    let own = own_directory()?;
    Ok(own.parent().map_or_else(|| own.clone(), Path::to_owned))
}

/// Runs cargo for the whole workspace, like `cargo run` there: another selection would enable other features
/// of the dependencies, and rebuild them.
fn run_cargo(directory: &Path, names: &[&str]) -> Result<(), Failure> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut build = Command::new(cargo);
    // Removes the variables that `cargo run` and `cargo test` set for this program. A build script that
    // depends on one of them (ring's does) would run again, and half of the dependencies would be rebuilt.
    let ours = env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    for name in ours.filter(|name| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_")) {
        build.env_remove(name);
    }
    build.current_dir(root()).args(["build", "--workspace"]);
    build.args(names.iter().flat_map(|name| ["--bin", name]));
    build.args(["--profile", profile_of(directory)]);
    build.arg("--target-dir").arg(directory.parent().unwrap_or(directory));
    let status = build.status().with_context(|| {
        format!(
            "running cargo to build {}; set {SIDECAR_VARIABLE} and {WEBHOOK_VARIABLE} to use existing programs",
            names.join(", ")
        )
    })?;
    if status.success() {
        Ok(())
    } else {
        Err(Failure::new("cargo failed to build the programs; see its output"))
    }
}

/// Cargo's directory for the profile `dev` is named `debug`; other directories have the name of the profile.
fn profile_of(directory: &Path) -> &str {
    match directory.file_name().and_then(OsStr::to_str) {
        None | Some("debug") => "dev",
        Some(profile) => profile,
    }
}

/// The absolute path, because containers have other working directories.
fn existing(path: &Path) -> Result<PathBuf, Failure> {
    path.canonicalize().with_context(|| format!("looking for the program {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_profile_is_told_from_the_directory() {
        assert_eq!(profile_of(Path::new("/x/target/debug")), "dev");
        assert_eq!(profile_of(Path::new("/x/target/release")), "release");
        assert_eq!(profile_of(Path::new("/x/target/x86_64-unknown-linux-musl/bench")), "bench");
    }
}
