//! Finds and builds the programs: those under test, and the tools of the tests.

use std::env;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::failure::{Failure, WithContext};
use crate::repository::root;

/// The environment variable with the path of a `podlocal-sidecar` to use instead of that of the workspace.
pub const SIDECAR_VARIABLE: &str = "SIDECAR_UNDER_TEST";

/// The environment variable with the path of a `podlocal-webhook` to use instead of that of the workspace.
pub const WEBHOOK_VARIABLE: &str = "WEBHOOK_UNDER_TEST";

const SIDECAR: &str = "podlocal-sidecar";

/// The name of the webhook.
pub const WEBHOOK: &str = "podlocal-webhook";

/// The name of the program for people.
pub const INSPECT: &str = "podlocal-inspect";

const LOOKUP: &str = "lookup";

/// The paths of the programs that an experiment starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Programs {
    /// `podlocal-sidecar`
    pub sidecar: PathBuf,
    /// `podlocal-webhook`
    pub webhook: PathBuf,
    /// `lookup`, the application of the experiment.
    pub lookup: PathBuf,
}

impl Programs {
    /// Builds with cargo the programs that the variables [`SIDECAR_VARIABLE`] and [`WEBHOOK_VARIABLE`] do not
    /// name, in the profile and the target directory of this program. Cargo shows its progress.
    ///
    /// Call it before the process enters a node, which has neither network nor DNS. The process inside builds
    /// nothing: see [`Self::built`].
    pub fn build() -> Result<Self, Failure> {
        run_cargo(&["cluster-dns", LOOKUP, SIDECAR, WEBHOOK])?;
        Self::built()
    }

    /// Builds only the sidecar, unless [`SIDECAR_VARIABLE`] names one.
    pub fn build_sidecar() -> Result<PathBuf, Failure> {
        build(SIDECAR)
    }

    /// Builds the sidecar as for the image: static and small; this takes longer.
    pub fn build_image_sidecar() -> Result<PathBuf, Failure> {
        let target = target_directory()?;
        let built = target.join("images").join(SIDECAR);
        let mut build = Command::new(root().join(".ci/static"));
        build.current_dir(root()).arg(SIDECAR).arg(&built).env("CARGO_TARGET_DIR", &target);
        if build.status().with_context("running .ci/static")?.success() {
            return existing(&built.join(SIDECAR));
        }
        Err(Failure::new(".ci/static failed to build the sidecar; see its output"))
    }

    /// The programs that [`Self::build`] has built.
    pub fn built() -> Result<Self, Failure> {
        Ok(Self { sidecar: program(SIDECAR)?, webhook: program(WEBHOOK)?, lookup: program(LOOKUP)? })
    }
}

/// Builds one program of the workspace, unless a variable names another.
pub fn build(name: &str) -> Result<PathBuf, Failure> {
    run_cargo(&[name])?;
    program(name)
}

/// The path of a program that is not that of the workspace.
fn given(name: &str) -> Option<PathBuf> {
    let variables = [(SIDECAR, SIDECAR_VARIABLE), (WEBHOOK, WEBHOOK_VARIABLE)];
    let (_, variable) = variables.into_iter().find(|(program, _)| *program == name)?;
    env::var_os(variable).map(PathBuf::from)
}

/// A program that was built.
pub fn program(name: &str) -> Result<PathBuf, Failure> {
    existing(&given(name).map_or_else(|| own_directory().map(|own| own.join(name)), Ok)?)
}

/// The reason when a program is not installed on this machine, with the Debian package that has it.
pub fn missing(program: &str, package: &str) -> Option<String> {
    let path = env::var_os("PATH").unwrap_or_default();
    let is_installed = env::split_paths(&path).any(|folder| folder.join(program).is_file());
    (!is_installed).then(|| format!("{program} is not installed; it is in the Debian package {package}"))
}

/// The directory of cargo's programs: that of this program, or for a test the one above `deps`.
fn own_directory() -> Result<PathBuf, Failure> {
    let program = env::current_exe().with_context("finding this program")?;
    let directory = program.parent().unwrap_or(Path::new("/"));
    let is_test = directory.file_name() == Some(OsStr::new("deps"));
    Ok(if is_test { directory.parent().unwrap_or(directory) } else { directory }.to_owned())
}

/// Cargo's target directory of this program.
pub fn target_directory() -> Result<PathBuf, Failure> {
    let own = own_directory()?;
    Ok(own.parent().map_or_else(|| own.clone(), Path::to_owned))
}

/// Builds programs with cargo, except those that a variable names. It builds the whole workspace, like
/// `cargo run` there: another selection would enable other features of the dependencies, and rebuild them.
fn run_cargo(names: &[&str]) -> Result<(), Failure> {
    let names: Vec<_> = names.iter().filter(|name| given(name).is_none()).copied().collect();
    if names.is_empty() {
        return Ok(());
    }
    let directory = own_directory()?;
    let mut build = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    // Removes the variables that `cargo run` and `cargo test` set for this program. A build script that
    // depends on one of them (ring's does) would run again, and half of the dependencies would be rebuilt.
    let ours = env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    for name in ours.filter(|name| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_")) {
        build.env_remove(name);
    }
    build.current_dir(root()).args(["build", "--workspace", "--profile", profile_of(&directory)]);
    build.args(names.iter().flat_map(|name| ["--bin", name])).arg("--target-dir").arg(target_directory()?);
    let status = build.status().with_context(|| {
        let names = names.join(", ");
        format!("running cargo to build {names}; set {SIDECAR_VARIABLE} and {WEBHOOK_VARIABLE} to use existing programs")
    })?;
    if status.success() {
        return Ok(());
    }
    Err(Failure::new("cargo failed to build the programs; see its output"))
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
