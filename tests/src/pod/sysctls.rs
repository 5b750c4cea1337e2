//! The pod's sysctls: exactly those of `spec.securityContext.sysctls`, and only safe ones.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::failure::{Failure, Tried};

/// `safeSysctls` of the kubelet's pkg/kubelet/sysctl/safe_sysctls.go; a pod with another one is refused.
const SAFE: [&str; 12] = [
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ping_group_range",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.tcp_wmem",
];

/// Writes the pod's sysctls in its network namespace.
pub(super) fn apply(pod: &Value) -> Result<(), Failure> {
    for sysctl in pod["spec"]["securityContext"]["sysctls"].as_array().into_iter().flatten() {
        let name = sysctl["name"].as_str().unwrap_or_default();
        let value = sysctl["value"].as_str().unwrap_or_default();
        let file = file_of(name).ok_or_else(|| Failure::new(format!("forbidden sysctl: {name:?}")))?;
        fs::write(&file, value).tried(|| format!("writing {value:?} to {}", file.display()))?;
    }
    Ok(())
}

/// Both spellings are allowed, `net.ipv4.x` and `net/ipv4/x`: `NormalizeName` of k8s.io/component-helpers.
fn file_of(name: &str) -> Option<PathBuf> {
    let dotted = if name.contains('/') { name.replace('/', ".") } else { name.to_owned() };
    SAFE.contains(&dotted.as_str()).then(|| Path::new("/proc/sys").join(dotted.replace('.', "/")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_spellings_name_the_same_file() {
        let file = Some(PathBuf::from("/proc/sys/net/ipv4/ip_unprivileged_port_start"));
        assert_eq!(file_of("net.ipv4.ip_unprivileged_port_start"), file);
        assert_eq!(file_of("net/ipv4/ip_unprivileged_port_start"), file);
    }

    #[test]
    fn a_sysctl_that_is_not_known_to_be_safe_is_refused() {
        assert_eq!(file_of("kernel.hostname"), None);
        assert_eq!(file_of("net.ipv4.../../kernel.hostname"), None);
    }
}
