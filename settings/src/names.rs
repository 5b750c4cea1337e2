//! Fixed names that several programs use. The settings are in [`crate::table`].

/// The prefix of every label and annotation of this project: `podlocal-dns.io/<setting>`.
pub const ANNOTATION_PREFIX: &str = "podlocal-dns.io/";

/// The label that opts a namespace or a pod in ([`INJECT_ENABLED`]) or a pod out ([`INJECT_DISABLED`]).
pub const INJECT_LABEL: &str = "podlocal-dns.io/inject";

/// The value of [`INJECT_LABEL`] that opts in.
pub const INJECT_ENABLED: &str = "enabled";

/// The value of [`INJECT_LABEL`] that opts a pod out.
pub const INJECT_DISABLED: &str = "disabled";

/// The annotation in which the webhook says that the pod is injected, and which settings were ignored and
/// why.
pub const STATUS_ANNOTATION: &str = "podlocal-dns.io/status";

/// The label of the Service of a shared tier, by which the webhook finds it; its value is [`SHARED_TIER`].
pub const SHARED_TIER_LABEL: &str = "podlocal-dns.io/shared-tier";

/// The value of [`SHARED_TIER_LABEL`].
pub const SHARED_TIER: &str = "true";

/// The prefix of the sidecar's environment variables: `PODLOCAL_<SETTING>`.
pub const VARIABLE_PREFIX: &str = "PODLOCAL_";

/// The name of the injected container, by which the webhook recognizes an injected pod.
pub const CONTAINER_NAME: &str = "podlocal-dns";

/// The name of the injected container's port for metrics and health, by which monitors find it.
pub const ADMIN_PORT_NAME: &str = "podlocal-admin";

/// The path of the sidecar's program inside its image.
pub const SIDECAR_PATH: &str = "/podlocal-sidecar";

/// The path of the program for people, in the same image.
pub const INSPECT_PATH: &str = "/podlocal-inspect";

/// The user and group that the sidecar runs as: the conventional "nonroot" of empty images.
pub const SIDECAR_USER: u32 = 65532;

/// The pod sysctl that lets a process without capabilities listen on port 53.
pub const PORT_SYSCTL: &str = "net.ipv4.ip_unprivileged_port_start";
