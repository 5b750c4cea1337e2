//! Where the programs come from: those under test, and our own tools.

use std::env;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use podlocal_harness::repository::root;

use crate::failure::{Failure, Tried};

/// Names a `podlocal-sidecar` to use instead of the workspace's.
pub const SIDECAR_VARIABLE: &str = "SIDECAR_UNDER_TEST";

/// Names a `podlocal-webhook` to use instead of the workspace's.
pub const WEBHOOK_VARIABLE: &str = "WEBHOOK_UNDER_TEST";

/// Runs pods on the home-made node, to be compared with a real one.
const MODEL_NODE: &str = "model-node";

/// The programs that an experiment starts.
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
    /// Builds with cargo what the variables [`SIDECAR_VARIABLE`] and [`WEBHOOK_VARIABLE`] do not name, in the
    /// profile and target directory that this program itself was built in. Cargo shows its own progress.
    ///
    /// To be called before the process enters a node, where there is neither network nor DNS. The process
    /// inside builds nothing: see [`Self::built`].
    pub fn build() -> Result<Self, Failure> {
        Self::build_and(&[])
    }

    /// The same, and `model-node`; its path.
    pub fn build_model_node() -> Result<PathBuf, Failure> {
        Self::build_and(&[MODEL_NODE])?;
        existing(&own_directory()?.join(MODEL_NODE))
    }

    fn build_and(others: &[&str]) -> Result<Self, Failure> {
        let given = |variable: &str| env::var_os(variable).is_some();
        let mut names = [&["lookup", "pod-sandbox"], others].concat();
        names.extend((!given(SIDECAR_VARIABLE)).then_some("podlocal-sidecar"));
        names.extend((!given(WEBHOOK_VARIABLE)).then_some("podlocal-webhook"));
        run_cargo(&own_directory()?, &names)?;
        Self::built()
    }

    /// The sidecar alone: the one that [`SIDECAR_VARIABLE`] names, or built like [`Self::build`] does.
    pub fn build_sidecar() -> Result<PathBuf, Failure> {
        let directory = own_directory()?;
        if env::var_os(SIDECAR_VARIABLE).is_none() {
            run_cargo(&directory, &["podlocal-sidecar"])?;
        }
        program(&directory, SIDECAR_VARIABLE, "podlocal-sidecar")
    }

    /// The webhook alone, likewise.
    pub fn build_webhook() -> Result<PathBuf, Failure> {
        let directory = own_directory()?;
        if env::var_os(WEBHOOK_VARIABLE).is_none() {
            run_cargo(&directory, &["podlocal-webhook"])?;
        }
        program(&directory, WEBHOOK_VARIABLE, "podlocal-webhook")
    }

    /// The program that attacks a cluster; it needs neither of the others here.
    pub fn build_attacks() -> Result<PathBuf, Failure> {
        let directory = own_directory()?;
        run_cargo(&directory, &["attacks"])?;
        existing(&directory.join("attacks"))
    }

    /// The sidecar as it is built for the image: static, small, and slowly.
    pub fn build_image_sidecar() -> Result<PathBuf, Failure> {
        let root = root();
        let target = target_directory()?;
        let built = target.join("images/podlocal-sidecar");
        let mut build = Command::new(root.join(".ci/static"));
        build.current_dir(&root).arg("podlocal-sidecar").arg(&built).env("CARGO_TARGET_DIR", &target);
        let status = build.status().tried(|| "running .ci/static".to_owned())?;
        if !status.success() {
            return Err(Failure::new(".ci/static could not build the sidecar; its output says why"));
        }
        existing(&built.join("podlocal-sidecar"))
    }

    /// The programs as [`Self::build`] leaves them.
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

/// The program that the variable names, else the one of that name in the directory.
fn program(directory: &Path, variable: &str, name: &str) -> Result<PathBuf, Failure> {
    env::var_os(variable).map_or_else(|| existing(&directory.join(name)), |path| existing(Path::new(&path)))
}

/// The directory that cargo puts programs in: this one's, or for a test the one above `deps`.
fn own_directory() -> Result<PathBuf, Failure> {
    let program = env::current_exe().tried(|| "finding this program".to_owned())?;
    let directory = program.parent().unwrap_or(Path::new("/"));
    let is_test = directory.file_name() == Some(OsStr::new("deps"));
    Ok(if is_test { directory.parent().unwrap_or(directory) } else { directory }.to_owned())
}

/// The target directory of cargo that this program was built in.
pub fn target_directory() -> Result<PathBuf, Failure> {
    let own = own_directory()?;
    Ok(own.parent().map_or_else(|| own.clone(), Path::to_owned))
}

/// The whole workspace is selected, as it is for `cargo run` in it: another selection would turn on other
/// features of the dependencies, and build them again.
fn run_cargo(directory: &Path, names: &[&str]) -> Result<(), Failure> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut build = Command::new(cargo);
    // What `cargo run` and `cargo test` tell this program about its own package. A build script that looks at one of them
    // (ring's does) would run again, and half of the dependencies with it.
    let ours = env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    for name in ours.filter(|name| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_")) {
        build.env_remove(name);
    }
    build.current_dir(root()).args(["build", "--workspace"]);
    build.args(names.iter().flat_map(|name| ["--bin", name]));
    build.args(["--profile", profile_of(directory)]);
    build.arg("--target-dir").arg(directory.parent().unwrap_or(directory));
    let status = build.status().tried(|| {
        format!(
            "running cargo to build {}; {SIDECAR_VARIABLE} and {WEBHOOK_VARIABLE} can name programs",
            names.join(", ")
        )
    })?;
    if status.success() {
        Ok(())
    } else {
        Err(Failure::new("cargo could not build the programs; its output says why"))
    }
}

/// The directory of cargo's profile `dev` is called `debug`; all others are called as the profile is.
fn profile_of(directory: &Path) -> &str {
    match directory.file_name().and_then(OsStr::to_str) {
        None | Some("debug") => "dev",
        Some(profile) => profile,
    }
}

/// Absolute, because containers have working directories of their own.
fn existing(path: &Path) -> Result<PathBuf, Failure> {
    path.canonicalize().tried(|| format!("looking for the program {}", path.display()))
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
