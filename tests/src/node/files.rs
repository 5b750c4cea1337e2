//! The node's own `/etc`, in which `resolv.conf`, `hosts` and `nsswitch.conf` are plain files that a pod can
//! mount its own over, whatever the machine has there: symbolic links, nothing at all, or a container
//! runtime's mounts.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::Path;

use nix::mount::{MsFlags, mount};

use crate::failure::{Failure, Tried};

/// Where glibc's stub resolver finds its servers; without nscd, systemd-resolved or mDNS between it and DNS.
const NSSWITCH: &str = "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\nnetworks: files\n\
                        protocols: files\nservices: files\n";

/// What pods mount their own files over.
const PLACEHOLDERS: [(&str, &str); 3] = [
    ("resolv.conf", "# the node has no DNS\n"),
    ("hosts", "127.0.0.1 localhost\n"),
    ("nsswitch.conf", NSSWITCH),
];

/// The machine's `/etc`, inside ours.
const MACHINE: &str = ".machine";

/// Mounts a small file system over `/etc`: the placeholders, `directory`, and a link to each file of the
/// machine's `/etc`.
pub(super) fn own_etc(directory: &Path) -> Result<(), Failure> {
    // It is put together over the directory of temporary files, and then moved, so that no directory is needed
    // that an ordinary user cannot make.
    let staging = std::env::temp_dir();
    build(&staging).tried(|| format!("putting an /etc together in {}", staging.display()))?;
    mount(Some(&staging), "/etc", None::<&str>, MsFlags::MS_MOVE, None::<&str>)
        .tried(|| "mounting the node's /etc".to_owned())?;
    fs::create_dir(directory).tried(|| format!("making {}", directory.display()))?;
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

/// glibc asks nscd before it asks DNS, through a socket that network namespaces do not separate.
fn hide_name_service_cache() {
    let directory = Path::new("/run/nscd");
    if directory.exists() {
        // Hidden or not: a machine with nscd whose socket stays visible shows as look-ups nobody counted.
        let _ = mount_tmpfs(directory);
    }
}
