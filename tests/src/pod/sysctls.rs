//! The pod's sysctls: those of `spec.securityContext.sysctls`. Which of them a kubelet allows is left to the real one.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::failure::{Failure, Tried};

/// Writes the pod's sysctls in its network namespace.
pub(super) fn apply(pod: &Value) -> Result<(), Failure> {
    for sysctl in pod["spec"]["securityContext"]["sysctls"].as_array().into_iter().flatten() {
        let name = sysctl["name"].as_str().unwrap_or_default();
        let value = sysctl["value"].as_str().unwrap_or_default();
        // Both spellings are allowed, `net.ipv4.x` and `net/ipv4/x`: sysctl(8).
        let file = Path::new("/proc/sys").join(name.replace('.', "/"));
        fs::write(&file, value).tried(|| format!("writing {value:?} to {}", file.display()))?;
    }
    Ok(())
}
