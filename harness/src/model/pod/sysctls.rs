//! The pod's sysctls from `spec.securityContext.sysctls`. Only the real kubelet checks which of them are
//! allowed.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::failure::{Failure, WithContext};

/// Writes the pod's sysctls in its network namespace.
pub(super) fn apply(pod: &Value) -> Result<(), Failure> {
    for sysctl in pod["spec"]["securityContext"]["sysctls"].as_array().into_iter().flatten() {
        let name = sysctl["name"].as_str().unwrap_or_default();
        let value = sysctl["value"].as_str().unwrap_or_default();
        // sysctl(8) allows both spellings: `net.ipv4.x` and `net/ipv4/x`.
        let file = Path::new("/proc/sys").join(name.replace('.', "/"));
        fs::write(&file, value).with_context(|| format!("writing {value:?} to {}", file.display()))?;
    }
    Ok(())
}
