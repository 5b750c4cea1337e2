//! One container: its manifest, and the commands of processes in it.

use std::collections::BTreeMap;
use std::process::Stdio;

use podlocal_settings::names;
use serde_json::Value;
use tokio::process::Command;

use super::resolv_conf::{hostname, texts};
use super::sandbox::Sandbox;
use crate::cluster::pods::Executed;
use crate::failure::{Failure, WithContext};

/// A container of a pod.
#[derive(Debug, Clone, Copy)]
pub(super) struct Container<'a> {
    sandbox: &'a Sandbox,
    manifest: &'a Value,
}

impl<'a> Container<'a> {
    /// The containers in a list of the pod: `initContainers` or `containers`.
    pub(super) fn list(sandbox: &'a Sandbox, list: &str) -> Vec<Self> {
        let manifests = sandbox.spec.pod["spec"][list].as_array().map_or(&[][..], Vec::as_slice);
        manifests.iter().map(|manifest| Self { sandbox, manifest }).collect()
    }

    /// The container with this name.
    pub(super) fn find(sandbox: &'a Sandbox, name: &str) -> Option<Self> {
        let mut all = Self::list(sandbox, "containers");
        all.extend(Self::list(sandbox, "initContainers"));
        all.into_iter().find(|container| container.name() == name)
    }

    /// Its name in the pod.
    pub(super) fn name(&self) -> &'a str {
        self.manifest["name"].as_str().unwrap_or_default()
    }

    /// Whether it is an init container that runs as long as the other containers.
    pub(super) fn is_native_sidecar(&self) -> bool {
        self.manifest["restartPolicy"] == "Always"
    }

    /// The command of the postStart hook, if it is an exec hook.
    pub(super) fn post_start(&self) -> Option<Vec<String>> {
        let words = texts(&self.manifest["lifecycle"]["postStart"]["exec"]["command"]);
        (!words.is_empty()).then_some(words)
    }

    /// Program and arguments: `command` and `args`. Only the image of the sidecar has a known entry point.
    pub(super) fn words(&self) -> Vec<String> {
        let mut words = texts(&self.manifest["command"]);
        if words.is_empty() && self.name() == names::CONTAINER_NAME {
            words = vec![names::SIDECAR_PATH.to_owned()];
        }
        words.extend(texts(&self.manifest["args"]));
        words
    }

    /// Runs a program in the container, and waits for its end.
    pub(super) async fn execute(&self, words: &[String]) -> Result<Executed, Failure> {
        let output = self.command(words)?.output().await.with_context(|| format!("starting {words:?}"))?;
        let [stdout, stderr] = [output.stdout, output.stderr];
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Ok(Executed { stdout: text(stdout), stderr: text(stderr), is_success: output.status.success() })
    }

    /// The command for one of its programs: as root with its capabilities; or without capabilities, when the
    /// manifest names a user or has `drop: [ALL]`.
    ///
    /// `unshare` then enters a user namespace with only this user and group. Capabilities in it do not apply
    /// to the pod's network namespace, which belongs to the node's user namespace: a port below
    /// `ip_unprivileged_port_start` is refused.
    pub(super) fn command(&self, words: &[String]) -> Result<Command, Failure> {
        let refuse = |what: &str| Failure::new(format!("container {}: {what}", self.name()));
        let (program, arguments) =
            words.split_first().ok_or_else(|| refuse("no command, and no image to take one from"))?;
        let program = self.sandbox.programs.get(program).cloned().unwrap_or_else(|| program.into());
        let drops_all = self.manifest["securityContext"]["capabilities"]["drop"]
            .as_array()
            .is_some_and(|dropped| dropped.iter().any(|name| name == "ALL"));
        let id = |key: &str| self.setting(key).as_u64().unwrap_or(0);
        let mut command = match id("runAsUser") {
            0 if self.setting("runAsNonRoot") == true => {
                return Err(refuse("runAsNonRoot is set without runAsUser"));
            }
            0 if !drops_all => Command::new(program),
            user => {
                let mut command = Command::new("unshare");
                command.args(["--user", &format!("--map-user={user}")]);
                command.arg(format!("--map-group={}", id("runAsGroup"))).arg(program);
                command
            }
        };
        command.args(arguments).current_dir(self.manifest["workingDir"].as_str().unwrap_or("/"));
        command.env_clear().envs(self.environment()).stdin(Stdio::null());
        Ok(command)
    }

    /// A setting of the container's security context, otherwise of the pod's.
    fn setting(&self, key: &str) -> &'a Value {
        match &self.manifest["securityContext"][key] {
            Value::Null => &self.sandbox.spec.pod["spec"]["securityContext"][key],
            own => own,
        }
    }

    /// The environment: the variables of the container runtime, of the experiment, and of the manifest. The model
    /// does not have the downward API.
    fn environment(&self) -> BTreeMap<String, String> {
        let sandbox = self.sandbox;
        let path = std::env::var("PATH").unwrap_or_else(|_| "/usr/local/bin:/usr/bin:/bin".to_owned());
        let name = hostname(&sandbox.spec.pod).to_owned();
        let mut environment = BTreeMap::from([("PATH".to_owned(), path), ("HOSTNAME".to_owned(), name)]);
        environment.extend(sandbox.spec.environment.clone());
        for variable in self.manifest["env"].as_array().into_iter().flatten() {
            let [name, value] = ["name", "value"].map(|field| variable[field].as_str().unwrap_or_default());
            environment.insert(name.to_owned(), value.to_owned());
        }
        environment
    }
}
