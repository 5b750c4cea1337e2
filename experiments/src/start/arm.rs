//! The kinds of pods that are compared.

use podlocal_harness::cluster::client::{Libc, SLEEP, container, pod};
use podlocal_settings::table::READY_TIMEOUT;
use serde::Serialize;
use serde_json::{Value, json};

/// A kind of pod. All pods run the same application, which sleeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Arm {
    /// One container.
    Plain,
    /// With a native sidecar that runs `sleep` from the same image: the cost of any second container.
    EmptySidecar,
    /// Injected by the webhook.
    Injected,
    /// Injected, and the other containers wait until the proxy answers: `ready-timeout`, a `postStart` hook.
    Waiting,
}

impl Arm {
    /// All arms, in the order in which they run and are printed.
    pub(super) const ALL: [Self; 4] = [Self::Plain, Self::EmptySidecar, Self::Injected, Self::Waiting];

    /// Its name in the table.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain pod",
            Self::EmptySidecar => "empty second container",
            Self::Injected => "injected",
            Self::Waiting => "injected, with hook",
        }
    }

    /// Whether the webhook injects its pods.
    pub(super) fn is_injected(self) -> bool {
        matches!(self, Self::Injected | Self::Waiting)
    }

    /// The manifest of the pod for this node, before injection.
    pub(super) fn pod(self, node: &str) -> Value {
        let mut pod = pod("", Libc::Glibc, &SLEEP);
        pod["spec"]["nodeSelector"] = json!({ "kubernetes.io/hostname": node });
        if self == Self::EmptySidecar {
            let mut sidecar = container("empty", Libc::Glibc, &SLEEP);
            sidecar["restartPolicy"] = json!("Always");
            pod["spec"]["initContainers"] = json!([sidecar]);
        }
        if self == Self::Waiting {
            pod["metadata"]["annotations"] = json!({ READY_TIMEOUT.annotation(): "5s" });
        }
        pod
    }
}
