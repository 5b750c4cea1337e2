//! The system calls that make namespaces.

use std::fs;

use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::unistd::{getegid, geteuid};

use crate::failure::{Failure, Tried};

/// Moves the process into new namespaces in which it is root, keeping its rights outside as they are.
pub(super) fn unshare_all() -> Result<(), Failure> {
    let (user, group) = (geteuid().as_raw(), getegid().as_raw());
    let namespaces = CloneFlags::CLONE_NEWUSER
        | CloneFlags::CLONE_NEWNET
        | CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWPID
        | CloneFlags::CLONE_NEWIPC
        | CloneFlags::CLONE_NEWUTS;
    unshare(namespaces).tried(|| "unshare of the user, network, mount and process namespaces".to_owned())?;
    map_identity(0, user, 0, group)?;
    make_mounts_private().tried(|| "making the mounts private".to_owned())?;
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
        fs::write(file, &text).tried(|| format!("writing {:?} to {file}", text.trim_end()))
    };
    write("/proc/self/setgroups", "deny".to_owned())?;
    write("/proc/self/uid_map", format!("{user} {user_outside} 1\n"))?;
    write("/proc/self/gid_map", format!("{group} {group_outside} 1\n"))
}

/// Keeps what is mounted from here on away from the mount namespace that this one was copied from.
fn make_mounts_private() -> Result<(), Errno> {
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)
}

/// Each pod takes a few descriptors; the soft limit of 1,024 ends at about 250 pods.
fn raise_descriptor_limit() {
    if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
        // Not being able to raise it matters only to very large gangs, which then say so themselves.
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
}
