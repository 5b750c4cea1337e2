//! The last step before a container's program: its user, its rights, its root directory.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl;
use nix::unistd::pivot_root;
use serde::{Deserialize, Serialize};

use crate::failure::{Failure, Tried};
use crate::node::{make_mounts_private, map_identity, mount_tmpfs};

/// How a container's program is started. Handed over as one JSON argument; the environment is the process's own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Launch {
    /// The program: a path, or a name that is looked for in PATH.
    pub(super) program: PathBuf,
    /// Its arguments.
    pub(super) arguments: Vec<String>,
    /// Its working directory.
    pub(super) directory: PathBuf,
    /// What it may do in its pod.
    pub(super) rights: Rights,
    /// Whether programs that it starts may have more rights: `allowPrivilegeEscalation: false` forbids it.
    pub(super) no_new_privileges: bool,
    /// An empty root directory, with nothing in it but the program.
    pub(super) empty_root: Option<EmptyRoot>,
}

/// What a container's first process may do in its pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Rights {
    /// Everything: it is the root user of the pod, with its capabilities.
    Root,
    /// It is this user and group, and has no capability over anything of the pod.
    ///
    /// It gets a user namespace that knows no one else. Capabilities in it are none over the pod's network
    /// namespace, which belongs to the node's: a port below `ip_unprivileged_port_start` is refused.
    None {
        /// The user id.
        user: u32,
        /// The group id.
        group: u32,
    },
}

/// Where the empty root directory is mounted, and where the program stands in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct EmptyRoot {
    /// An existing directory of the pod.
    pub(super) mount_point: PathBuf,
    /// The program's path in the container: `/podlocal-sidecar`.
    pub(super) program: PathBuf,
}

/// Becomes the program, or says on standard error why not; 127 as shells and container runtimes have it.
pub(super) fn run(launch: &str) -> ExitCode {
    let launched = serde_json::from_str::<Launch>(launch).tried(|| "understanding the container".to_owned());
    // Nothing is left of this process where that succeeds.
    let Err(failure) = launched.and_then(become_the_program);
    eprintln!("the container cannot start: {failure}");
    ExitCode::from(127)
}

fn become_the_program(launch: Launch) -> Result<std::convert::Infallible, Failure> {
    let mut program = launch.program;
    match launch.rights {
        Rights::Root => {
            let alone = unshare(CloneFlags::CLONE_NEWNS);
            alone.tried(|| "unshare of the container's mount namespace".to_owned())?;
        }
        Rights::None { user, group } => {
            let alone = unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNS);
            alone.tried(|| "unshare of the container's user and mount namespaces".to_owned())?;
            map_identity(user, 0, group, 0)?;
        }
    }
    if let Some(root) = launch.empty_root {
        enter_empty_root(&program, &root)?;
        program = root.program;
    }
    if launch.no_new_privileges {
        prctl::set_no_new_privs().tried(|| "setting no_new_privs".to_owned())?;
    }
    let error = Command::new(&program).args(launch.arguments).current_dir(launch.directory).exec();
    // A dynamic program in an empty root is "not found" too: it is its loader that is missing.
    Err(error).tried(|| {
        format!("executing {} (is it there, and static where the root is empty?)", program.display())
    })
}

/// Leaves everything of the machine behind but the program, on a file system that cannot be written to.
fn enter_empty_root(program: &Path, root: &EmptyRoot) -> Result<(), Failure> {
    let bytes = fs::read(program).tried(|| format!("reading {}", program.display()))?;
    make_mounts_private().tried(|| "making the container's mounts private".to_owned())?;
    mount_tmpfs(&root.mount_point).tried(|| format!("mounting {}", root.mount_point.display()))?;
    let copy = root.mount_point.join(root.program.strip_prefix("/").unwrap_or(&root.program));
    fs::write(&copy, bytes)
        .and_then(|()| fs::set_permissions(&copy, fs::Permissions::from_mode(0o755)))
        .tried(|| format!("copying the program to {}", copy.display()))?;
    let read_only = MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY | MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    let here = Path::new(".");
    std::env::set_current_dir(&root.mount_point)
        .and_then(|()| Ok(mount(None::<&str>, here, None::<&str>, read_only, None::<&str>)?))
        // pivot_root(2), "pivot_root(".", ".")": the old root lies under the new one, and is taken off there.
        .and_then(|()| Ok(pivot_root(here, here)?))
        .and_then(|()| Ok(umount2(here, MntFlags::MNT_DETACH)?))
        .tried(|| "entering the empty root directory".to_owned())
}
