//! One container: its manifest, and a process in it.

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use podlocal_settings::names;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::protocol::{Exit, Sandbox, Stream};
use super::resolv_conf::{hostname, texts};
use crate::failure::{Failure, WithContext};

/// The time-out for output after a process has ended; a child process may keep the pipe open.
const LAST_OUTPUT: Duration = Duration::from_secs(1);

/// A container of a pod.
#[derive(Debug, Clone, Copy)]
pub(super) struct Container<'a> {
    sandbox: &'a Sandbox,
    manifest: &'a Value,
}

impl<'a> Container<'a> {
    /// The containers in a list of the pod: `initContainers` or `containers`.
    pub(super) fn list(sandbox: &'a Sandbox, list: &str) -> Vec<Self> {
        let manifests = sandbox.pod["spec"][list].as_array().map_or(&[][..], Vec::as_slice);
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

    /// The command for one of its programs: as root with its capabilities; or without capabilities
    /// (`launch`), when the manifest names a user or has `drop: [ALL]`.
    fn command(&self, words: &[String]) -> Result<Command, Failure> {
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
                let own = std::env::current_exe().with_context("finding this program")?;
                let mut command = Command::new(own);
                command.args(["--container", &user.to_string(), &id("runAsGroup").to_string()]).arg(program);
                command
            }
        };
        command.args(arguments).current_dir(self.manifest["workingDir"].as_str().unwrap_or("/"));
        Ok(command)
    }

    /// A setting of the container's security context, otherwise of the pod's.
    fn setting(&self, key: &str) -> &'a Value {
        match &self.manifest["securityContext"][key] {
            Value::Null => &self.sandbox.pod["spec"]["securityContext"][key],
            own => own,
        }
    }

    /// The environment: the variables of the container runtime, of the experiment, and of the manifest.
    fn environment(&self) -> BTreeMap<String, String> {
        let sandbox = self.sandbox;
        let path = std::env::var("PATH").unwrap_or_else(|_| "/usr/local/bin:/usr/bin:/bin".to_owned());
        let name = hostname(&sandbox.pod).to_owned();
        let mut environment = BTreeMap::from([("PATH".to_owned(), path), ("HOSTNAME".to_owned(), name)]);
        environment.extend(sandbox.environment.clone());
        for variable in self.manifest["env"].as_array().into_iter().flatten() {
            let name = variable["name"].as_str().unwrap_or_default().to_owned();
            let value = match variable["valueFrom"]["fieldRef"]["fieldPath"].as_str() {
                Some(path) => self.field(path),
                None => variable["value"].as_str().unwrap_or_default().to_owned(),
            };
            environment.insert(name, value);
        }
        environment
    }

    /// The fields of the downward API that the model supports.
    fn field(&self, path: &str) -> String {
        let sandbox = self.sandbox;
        match path {
            "metadata.namespace" => sandbox.namespace.clone(),
            "status.podIP" => sandbox.address.to_string(),
            "metadata.name" => text(&sandbox.pod["metadata"]["name"]),
            // metadata.labels['key'] and metadata.annotations['key']
            _ => match path
                .strip_prefix("metadata.")
                .and_then(|path| path.strip_suffix("']")?.split_once("['"))
            {
                Some((map, key)) => text(&sandbox.pod["metadata"][map][key]),
                None => String::new(),
            },
        }
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// A running process in a container.
#[derive(Debug)]
pub(super) struct Process {
    child: Child,
    output: JoinSet<()>,
}

impl Process {
    /// Starts `words` in the container; each line of output is passed to `write`.
    pub(super) fn start(
        container: Container<'_>,
        words: &[String],
        write: impl Fn(Stream, String) + Clone + Send + 'static,
    ) -> Result<Self, Failure> {
        let mut child = container
            .command(words)?
            .env_clear()
            .envs(container.environment())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("starting container {}", container.name()))?;
        let mut output = JoinSet::new();
        if let Some(stdout) = child.stdout.take() {
            output.spawn(forward(stdout, Stream::Out, write.clone()));
        }
        if let Some(stderr) = child.stderr.take() {
            output.spawn(forward(stderr, Stream::Error, write));
        }
        Ok(Self { child, output })
    }

    /// Waits until it has ended and all output is read. Can be cancelled and called again.
    pub(super) async fn wait(&mut self) -> Exit {
        let exit = self.child.wait().await.map_or(Exit::Code(-1), exit_of);
        let _ = timeout(LAST_OUTPUT, async { while self.output.join_next().await.is_some() {} }).await;
        exit
    }
}

fn exit_of(status: ExitStatus) -> Exit {
    status.code().map_or_else(|| Exit::Signal(status.signal().unwrap_or_default()), Exit::Code)
}

async fn forward(from: impl AsyncRead + Unpin, stream: Stream, write: impl Fn(Stream, String)) {
    let mut lines = BufReader::new(from).split(b'\n');
    while let Ok(Some(line)) = lines.next_segment().await {
        write(stream, String::from_utf8_lossy(&line).into_owned());
    }
}
