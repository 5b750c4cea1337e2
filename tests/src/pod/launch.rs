//! The last step before the program of a container that is not root: its user, without any capability in the pod.

use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use nix::sched::{CloneFlags, unshare};

use crate::failure::{Failure, Tried};
use crate::node::map_identity;

/// Becomes the program as this user and group, or says on standard error why not; 127 as shells and container runtimes
/// have it.
pub(super) fn run(user: &str, group: &str, program: &str, arguments: &[&str]) -> ExitCode {
    let failure = match drop_rights(user, group) {
        // It returns only where it fails.
        Ok(()) => {
            Failure::new(format!("executing {program}: {}", Command::new(program).args(arguments).exec()))
        }
        Err(failure) => failure,
    };
    eprintln!("the container cannot start: {failure}");
    ExitCode::from(127)
}

/// Enters a user namespace that knows no one else.
///
/// Capabilities in it are none over the pod's network namespace, which belongs to the node's: a port below
/// `ip_unprivileged_port_start` is refused.
fn drop_rights(user: &str, group: &str) -> Result<(), Failure> {
    let id = |text: &str| text.parse().tried(|| format!("reading the id {text:?}"));
    let (user, group) = (id(user)?, id(group)?);
    unshare(CloneFlags::CLONE_NEWUSER).tried(|| "unshare of the container's user namespace".to_owned())?;
    map_identity(user, 0, group, 0)
}
