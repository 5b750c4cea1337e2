//! Pods that resolve names with the `getaddrinfo` of glibc or musl, as applications do, and the output of
//! these pods.

use std::env;

use serde::Deserialize;
use serde_json::{Value, json};

use super::namespace::Namespace;
use super::object;
use crate::failure::{Failure, WithContext};

/// The C libraries whose resolvers are tested.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Libc {
    /// glibc: uses the whole search list, sends A and AAAA from one socket, and times out after 5 s.
    Glibc,
    /// musl: does not use the search list for a name with `ndots` dots or more.
    Musl,
}

impl Libc {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Glibc, Self::Musl];

    /// An image with busybox and `getaddr`. An environment variable may name another image; `just cluster
    /// images` writes archives of the default ones.
    pub fn image(self) -> String {
        let (variable, default) = match self {
            Self::Glibc => ("CLIENT_IMAGE_GLIBC", "localhost/podlocal-dns/glibc:test"),
            Self::Musl => ("CLIENT_IMAGE_MUSL", "localhost/podlocal-dns/musl:test"),
        };
        env::var(variable).unwrap_or_else(|_| default.to_owned())
    }
}

/// A pod with one container, `client`, that runs `words` once.
///
/// The pod complies with the Pod Security Standard "restricted", and ends within one second after SIGTERM.
pub fn pod(name: &str, libc: Libc, words: &[&str]) -> Value {
    object("v1", "Pod", name, &pod_spec(libc, words))
}

/// The spec of [`pod`], for the template of a workload.
pub fn pod_spec(libc: Libc, words: &[&str]) -> Value {
    json!({
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": 1,
        "automountServiceAccountToken": false,
        "enableServiceLinks": false,
        "securityContext": {
            "runAsNonRoot": true, "runAsUser": 1000, "runAsGroup": 1000, "seccompProfile": { "type": "RuntimeDefault" },
        },
        "containers": [container("client", libc, words)],
    })
}

/// A pod that the API server stores and no scheduler places on a node, so that a thousand of them cost the
/// node nothing.
pub fn unscheduled_pod() -> Value {
    let mut pod = pod("", Libc::Glibc, &SLEEP);
    pod["metadata"] = json!({ "generateName": "unscheduled-" });
    pod["spec"]["schedulingGates"] = json!([{ "name": "podlocal-dns.io/test" }]);
    pod
}

/// A container that runs `words`.
pub fn container(name: &str, libc: Libc, words: &[&str]) -> Value {
    json!({
        "name": name,
        "image": libc.image(),
        "imagePullPolicy": "IfNotPresent",
        "command": words,
        "securityContext": { "allowPrivilegeEscalation": false, "capabilities": { "drop": ["ALL"] } },
    })
}

/// The command of a pod that only waits for `exec`.
pub const SLEEP: [&str; 2] = ["sleep", "3600"];

/// One lookup: a line of the output of `getaddr`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Lookup {
    /// The name as the application asked for it.
    pub name: String,
    /// The start, in seconds since 1970.
    pub at: f64,
    /// The duration of `getaddrinfo`, in milliseconds.
    pub ms: f64,
    /// The text of `gai_strerror`; empty when an address was found.
    pub error: String,
    /// The addresses that were found.
    pub addresses: Vec<String>,
}

impl Lookup {
    /// Reads the output of `getaddr`; other lines are ignored.
    pub fn read_all(output: &str) -> Vec<Self> {
        output.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// Whether it found no address.
    pub fn is_failure(&self) -> bool {
        !self.error.is_empty()
    }
}

impl Namespace {
    /// Resolves names in a running pod's container `client`, one after the other.
    pub async fn look_up(&self, pod: &str, names: &[&str]) -> Result<Vec<Lookup>, Failure> {
        let words = [&["getaddr", "0"], names].concat();
        let executed = self.exec(pod, "client", &words).await?;
        let lookups = Lookup::read_all(&executed.stdout);
        if lookups.len() == names.len() {
            return Ok(lookups);
        }
        Err(Failure::new(format!("{words:?} in {pod} printed {executed:?}")))
    }

    /// Creates a pod and waits until it is ready.
    pub async fn run(&self, pod: Value) -> Result<String, Failure> {
        let created = self.apply(pod).await?;
        let name = super::name_of(&created.object).to_owned();
        self.wait_until_ready(&name).await.with_context(|| format!("starting pod {name}"))?;
        Ok(name)
    }
}
