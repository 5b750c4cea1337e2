//! The last step before the program of a container that does not run as root: sets the user, and drops all
//! capabilities in the pod.

use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use nix::sched::{CloneFlags, unshare};

use crate::failure::{Failure, WithContext};
use crate::model::node::map_identity;

/// Executes the program as this user and group. On failure it prints the error and returns 127, as shells and
/// container runtimes do.
pub(super) fn run(user: &str, group: &str, program: &str, arguments: &[&str]) -> ExitCode {
    let failure = match drop_rights(user, group) {
        // `exec` returns only on failure.
        Ok(()) => {
            Failure::new(format!("executing {program}: {}", Command::new(program).args(arguments).exec()))
        }
        Err(failure) => failure,
    };
    eprintln!("the container cannot start: {failure}");
    ExitCode::from(127)
}

/// Enters a user namespace with only this user and group.
///
/// Its capabilities do not apply to the pod's network namespace, which belongs to the node's user namespace:
/// a port below `ip_unprivileged_port_start` is refused.
fn drop_rights(user: &str, group: &str) -> Result<(), Failure> {
    let id = |text: &str| text.parse().with_context(|| format!("reading the id {text:?}"));
    let (user, group) = (id(user)?, id(group)?);
    unshare(CloneFlags::CLONE_NEWUSER).with_context("unshare of the container's user namespace")?;
    map_identity(user, 0, group, 0)
}
