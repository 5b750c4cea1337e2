//! The system calls that create namespaces.

use std::fs;

use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::unistd::{getegid, geteuid};

use crate::failure::{Failure, WithContext};

/// Moves the process into new namespaces in which it is root, without changing its permissions outside.
pub(super) fn unshare_all() -> Result<(), Failure> {
    let (user, group) = (geteuid().as_raw(), getegid().as_raw());
    let namespaces = CloneFlags::CLONE_NEWUSER
        | CloneFlags::CLONE_NEWNET
        | CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWPID
        | CloneFlags::CLONE_NEWIPC
        | CloneFlags::CLONE_NEWUTS;
    unshare(namespaces).with_context("unshare of the user, network, mount and process namespaces")?;
    map_identity(0, user, 0, group)?;
    make_mounts_private().with_context("making the mounts private")?;
    raise_descriptor_limit();
    Ok(())
}

/// Maps one user and one group of the new user namespace to the ones that the process had.
///
/// user_namespaces(7): an unprivileged process may map only itself, and must give up `setgroups` first.
pub(crate) fn map_identity(
    user: u32,
    user_outside: u32,
    group: u32,
    group_outside: u32,
) -> Result<(), Failure> {
    let write = |file: &str, text: String| {
        fs::write(file, &text).with_context(|| format!("writing {:?} to {file}", text.trim_end()))
    };
    write("/proc/self/setgroups", "deny".to_owned())?;
    write("/proc/self/uid_map", format!("{user} {user_outside} 1\n"))?;
    write("/proc/self/gid_map", format!("{group} {group_outside} 1\n"))
}

/// Makes later mounts invisible in the original mount namespace.
fn make_mounts_private() -> Result<(), Errno> {
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)
}

/// Raises the limit of file descriptors: each pod needs a few, and the soft limit of 1,024 is enough for only
/// about 250 pods.
fn raise_descriptor_limit() {
    if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
        // A failure matters only for very large gangs, which then fail with an error.
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
}
