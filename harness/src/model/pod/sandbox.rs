//! The process of one pod: the program `pod-sandbox`, which runs in three roles for each pod.
//!
//! ```text
//!   pod-sandbox FILE                makes the pod's namespaces, link, files and sysctls; waits
//!     pod-sandbox --inside FILE     process 1 of the pod: starts and watches containers (`kubelet`);
//!                                   when it ends, the kernel ends whatever is left in the pod
//!       pod-sandbox --container ..  becomes the program of a container that is not root (`launch`)
//! ```

use std::env;
use std::fs::{self, File};
use std::path::Path;
use std::process::{self, Command, ExitCode};

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl;
use nix::sys::signal::Signal;
use nix::unistd::sethostname;
use serde_json::Value;

use super::protocol::{Event, Sandbox};
use super::resolv_conf::{hostname, hosts, resolv_conf};
use super::{kubelet, launch};
use crate::failure::{Failure, WithContext};
use crate::model::network::Network;
use crate::model::node::{BRIDGE, GATEWAY, POD_PREFIX};

/// The name of the link inside the pod, as usual in Kubernetes.
const LINK: &str = "eth0";

/// The `main` function of `pod-sandbox`; the arguments select the role.
pub fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["--container", user, group, program, ref arguments @ ..] => {
            launch::run(user, group, program, arguments)
        }
        ["--inside", file] => report(read(file).and_then(run_inside)),
        [file] => report(read(file).and_then(|sandbox| make(&sandbox, file))),
        _ => {
            eprintln!("pod-sandbox is started by the experiment, not manually; see `gang --help`");
            ExitCode::from(64)
        }
    }
}

/// Reports a failure as the last event, because the experiment reads events and shows standard error only
/// when no event arrives.
fn report(result: Result<ExitCode, Failure>) -> ExitCode {
    result.unwrap_or_else(|failure| {
        kubelet::emit(&Event::Finished { failure: Some(failure.to_string()) });
        ExitCode::FAILURE
    })
}

fn read(file: &str) -> Result<Sandbox, Failure> {
    let text = fs::read(file).with_context(|| format!("reading {file}"))?;
    serde_json::from_slice(&text).with_context(|| format!("understanding {file}"))
}

fn make(sandbox: &Sandbox, file: &str) -> Result<ExitCode, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.with_context("starting a tokio runtime")?;
    runtime.block_on(make_namespaces(sandbox))?;
    write_files(sandbox)?;
    write_sysctls(&sandbox.pod)?;
    sethostname(hostname(&sandbox.pod)).with_context("setting the host name")?;
    drop(runtime);

    let program = env::current_exe().with_context("finding this program")?;
    let status = Command::new(program).args(["--inside", file]).status();
    let status = status.with_context("starting the pod's first process")?;
    Ok(ExitCode::from(u8::from(!status.success())))
}

/// Creates the namespaces and the link. The netlink socket stays in the node's network namespace when the
/// process leaves it, so it can create the link there.
async fn make_namespaces(sandbox: &Sandbox) -> Result<(), Failure> {
    let node = Network::open().with_context("opening a netlink socket on the node")?;
    let namespaces = CloneFlags::CLONE_NEWNET
        | CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWPID
        | CloneFlags::CLONE_NEWIPC
        | CloneFlags::CLONE_NEWUTS;
    unshare(namespaces).with_context("unshare of the pod's namespaces")?;
    let namespace = File::open("/proc/self/ns/net").with_context("opening the network namespace")?;
    node.add_veth(&sandbox.link, BRIDGE, LINK, &namespace).await?;

    let pod = Network::open().with_context("opening a netlink socket in the pod")?;
    pod.bring_up("lo").await?;
    pod.add_address(LINK, sandbox.address, POD_PREFIX).await?;
    pod.bring_up(LINK).await?;
    pod.add_default_route(GATEWAY).await
}

fn write_files(sandbox: &Sandbox) -> Result<(), Failure> {
    let Sandbox { pod, namespace, address, cluster, directory, .. } = sandbox;
    let mount_over = |name: &str, text: String| {
        let (from, to) = (directory.join(name), Path::new("/etc").join(name));
        fs::write(&from, text).with_context(|| format!("writing {}", from.display()))?;
        mount(Some(&from), &to, None::<&str>, MsFlags::MS_BIND, None::<&str>)
            .with_context(|| format!("mounting the pod's own {}", to.display()))
    };
    mount_over("resolv.conf", resolv_conf(pod, namespace, cluster))?;
    mount_over("hosts", hosts(pod, namespace, &cluster.zone, *address))
}

/// Writes `spec.securityContext.sysctls`. Only the real kubelet checks which of them are allowed.
fn write_sysctls(pod: &Value) -> Result<(), Failure> {
    for sysctl in pod["spec"]["securityContext"]["sysctls"].as_array().into_iter().flatten() {
        let [name, value] = ["name", "value"].map(|field| sysctl[field].as_str().unwrap_or_default());
        // sysctl(8) allows both spellings: `net.ipv4.x` and `net/ipv4/x`.
        let file = Path::new("/proc/sys").join(name.replace('.', "/"));
        fs::write(&file, value).with_context(|| format!("writing {value:?} to {}", file.display()))?;
    }
    Ok(())
}

fn run_inside(sandbox: Sandbox) -> Result<ExitCode, Failure> {
    // When the process outside is killed, this one is killed as well, and with process 1 the whole pod.
    prctl::set_pdeathsig(Signal::SIGKILL).with_context("tying the pod to its process")?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.with_context("starting a tokio runtime")?;
    let failure = runtime.block_on(kubelet::run(sandbox));
    kubelet::emit(&Event::Finished { failure: failure.clone() });
    // Exits without returning, because the runtime would wait for the thread that reads standard input.
    process::exit(i32::from(failure.is_some()))
}
