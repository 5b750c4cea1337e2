//! Other caching forwarders of Debian, each configured like a sidecar: one thread, a cache, one upstream, no
//! DNSSEC validation.
//!
//! Their configurations are the files in `bench/peers`; the placeholders in braces are filled in.

use std::env;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use podlocal_harness::failure::{Failure, WithContext};

/// A forwarder.
#[derive(Debug, Clone, Copy)]
pub struct Peer {
    /// Its name on the command line.
    pub name: &'static str,
    /// The Debian package that contains it.
    pub package: &'static str,
    /// The name of its program.
    program: &'static str,
    /// The file name of its configuration, and the template.
    configuration: [&'static str; 2],
    /// The arguments of its program.
    arguments: &'static [&'static str],
}

/// All forwarders.
pub const PEERS: [Peer; 5] = [
    Peer {
        name: "dnsdist",
        package: "dnsdist",
        program: "dnsdist",
        configuration: ["dnsdist.conf", include_str!("peers/dnsdist.conf")],
        arguments: &["--supervised", "--disable-syslog", "-C", "{directory}/dnsdist.conf"],
    },
    Peer {
        name: "recursor",
        package: "pdns-recursor",
        program: "pdns_recursor",
        configuration: ["recursor.conf", include_str!("peers/recursor.conf")],
        arguments: &["--config-dir={directory}"],
    },
    Peer {
        name: "unbound",
        package: "unbound",
        program: "unbound",
        configuration: ["unbound.conf", include_str!("peers/unbound.conf")],
        arguments: &["-d", "-c", "{directory}/unbound.conf"],
    },
    Peer {
        name: "dnsmasq",
        package: "dnsmasq-base",
        program: "dnsmasq",
        configuration: ["dnsmasq.conf", include_str!("peers/dnsmasq.conf")],
        arguments: &["--conf-file={directory}/dnsmasq.conf"],
    },
    Peer {
        name: "knot",
        package: "knot-resolver",
        program: "kresd",
        configuration: ["kresd.conf", include_str!("peers/kresd.conf")],
        arguments: &["-n", "-c", "{directory}/kresd.conf", "{directory}"],
    },
];

impl Peer {
    /// The path of its program, if it is installed.
    pub fn installed(&self) -> Option<PathBuf> {
        find(self.program)
    }

    /// Its configuration for this listen address and this upstream.
    pub fn configuration(&self, address: SocketAddr, upstream: SocketAddr, directory: &Path) -> String {
        let [_, text] = self.configuration;
        text.replace("{port}", &address.port().to_string())
            .replace("{upstream-port}", &upstream.port().to_string())
            .replace("{directory}", &directory.display().to_string())
    }

    /// Writes its configuration, and returns its arguments.
    pub(super) fn prepare(
        &self,
        address: SocketAddr,
        upstream: SocketAddr,
        directory: &Path,
    ) -> Result<Vec<String>, Failure> {
        let file = directory.join(self.configuration[0]);
        let written = fs::write(&file, self.configuration(address, upstream, directory));
        written.with_context(|| format!("writing {}", file.display()))?;
        let filled = |argument: &&str| argument.replace("{directory}", &directory.display().to_string());
        Ok(self.arguments.iter().map(filled).collect())
    }
}

/// Whether dnsperf is installed, which measures the answers per second independently.
pub fn has_dnsperf() -> bool {
    find("dnsperf").is_some()
}

/// The path of an installed program, including the directories for root that the PATH of other users lacks.
pub(super) fn find(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let directories = env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]);
    directories.map(|directory| directory.join(program)).find(|file| file.is_file())
}
