//! A separate `/etc` for the node, in which `resolv.conf`, `hosts` and `nsswitch.conf` are plain files, so
//! that a pod can mount its files over them. The machine may have symbolic links, nothing, or a container
//! runtime's mounts there.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::Path;

use nix::mount::{MsFlags, mount};

use crate::failure::{Failure, WithContext};

/// The `nsswitch.conf` that lets glibc's stub resolver use DNS without nscd, systemd-resolved or mDNS.
const NSSWITCH: &str = "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\nnetworks: files\n\
                        protocols: files\nservices: files\n";

/// The files over which pods mount their files.
const PLACEHOLDERS: [(&str, &str); 3] = [
    ("resolv.conf", "# the node has no DNS\n"),
    ("hosts", "127.0.0.1 localhost\n"),
    ("nsswitch.conf", NSSWITCH),
];

/// The directory of the machine's `/etc` inside the new one.
const MACHINE: &str = ".machine";

/// Mounts a small file system over `/etc` with the placeholders, `directory`, and a link to each file of the
/// machine's `/etc`.
pub(super) fn own_etc(directory: &Path) -> Result<(), Failure> {
    // It is assembled over the directory for temporary files and then moved, because an ordinary user cannot
    // create another mount point.
    let staging = std::env::temp_dir();
    build(&staging).with_context(|| format!("assembling an /etc in {}", staging.display()))?;
    mount(Some(&staging), "/etc", None::<&str>, MsFlags::MS_MOVE, None::<&str>)
        .with_context("mounting the node's /etc")?;
    fs::create_dir(directory).with_context(|| format!("making {}", directory.display()))?;
    hide_name_service_cache();
    Ok(())
}

fn build(staging: &Path) -> io::Result<()> {
    mount_tmpfs(staging)?;
    let machine = staging.join(MACHINE);
    fs::create_dir(&machine)?;
    mount(Some("/etc"), &machine, None::<&str>, MsFlags::MS_BIND | MsFlags::MS_REC, None::<&str>)?;
    for entry in fs::read_dir(&machine)? {
        let name = entry?.file_name();
        if !PLACEHOLDERS.iter().any(|(placeholder, _)| *placeholder == name) {
            symlink(Path::new(MACHINE).join(&name), staging.join(&name))?;
        }
    }
    for (name, text) in PLACEHOLDERS {
        fs::write(staging.join(name), text)?;
    }
    Ok(())
}

/// An empty file system in memory.
fn mount_tmpfs(target: &Path) -> io::Result<()> {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    mount(Some("tmpfs"), target, Some("tmpfs"), flags, Some("mode=755")).map_err(io::Error::from)
}

/// Hides the socket of nscd, which glibc asks before DNS, and which network namespaces do not separate.
fn hide_name_service_cache() {
    let directory = Path::new("/run/nscd");
    if directory.exists() {
        // An error is ignored: on a machine with a visible nscd socket, lookups would not be counted.
        let _ = mount_tmpfs(directory);
    }
}
