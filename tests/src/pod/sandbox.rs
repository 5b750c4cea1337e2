//! The process of one pod. The program `pod-sandbox` is this module: it runs three times for a pod.
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

use super::protocol::{Event, Sandbox};
use super::resolv_conf::{hostname, hosts, resolv_conf};
use super::{kubelet, launch, sysctls};
use crate::failure::{Failure, Tried};
use crate::network::Network;
use crate::node::{BRIDGE, GATEWAY, POD_PREFIX};

/// The name of the pod's link inside the pod, as everywhere in Kubernetes.
const LINK: &str = "eth0";

/// What `pod-sandbox` does, by its arguments.
pub fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["--container", user, group, program, ref arguments @ ..] => {
            launch::run(user, group, program, arguments)
        }
        ["--inside", file] => report(read(file).and_then(run_inside)),
        [file] => report(read(file).and_then(|sandbox| make(&sandbox, file))),
        _ => {
            eprintln!("pod-sandbox is started by the experiment, not by hand; try `gang --help`");
            ExitCode::from(64)
        }
    }
}

/// A failure is the last event: the experiment reads those, and shows standard error only when that fails.
fn report(result: Result<ExitCode, Failure>) -> ExitCode {
    result.unwrap_or_else(|failure| {
        kubelet::emit(&Event::Finished { failure: Some(failure.to_string()) });
        ExitCode::FAILURE
    })
}

fn read(file: &str) -> Result<Sandbox, Failure> {
    let text = fs::read(file).tried(|| format!("reading {file}"))?;
    serde_json::from_slice(&text).tried(|| format!("understanding {file}"))
}

fn make(sandbox: &Sandbox, file: &str) -> Result<ExitCode, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.tried(|| "starting a tokio runtime".to_owned())?;
    runtime.block_on(make_namespaces(sandbox))?;
    write_files(sandbox)?;
    sysctls::apply(&sandbox.pod)?;
    sethostname(hostname(&sandbox.pod)).tried(|| "setting the host name".to_owned())?;
    drop(runtime);

    let program = env::current_exe().tried(|| "finding this program".to_owned())?;
    let status = Command::new(program).args(["--inside", file]).status();
    let status = status.tried(|| "starting the pod's first process".to_owned())?;
    Ok(ExitCode::from(u8::from(!status.success())))
}

/// The link is made from outside: the socket stays in the node's network namespace when the process leaves it.
async fn make_namespaces(sandbox: &Sandbox) -> Result<(), Failure> {
    let node = Network::open().tried(|| "opening a netlink socket on the node".to_owned())?;
    let namespaces = CloneFlags::CLONE_NEWNET
        | CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWPID
        | CloneFlags::CLONE_NEWIPC
        | CloneFlags::CLONE_NEWUTS;
    unshare(namespaces).tried(|| "unshare of the pod's namespaces".to_owned())?;
    let namespace = File::open("/proc/self/ns/net").tried(|| "opening the network namespace".to_owned())?;
    node.add_veth(&sandbox.link, BRIDGE, LINK, &namespace).await?;

    let pod = Network::open().tried(|| "opening a netlink socket in the pod".to_owned())?;
    pod.bring_up("lo").await?;
    pod.add_address(LINK, sandbox.address, POD_PREFIX).await?;
    pod.bring_up(LINK).await?;
    pod.add_default_route(GATEWAY).await
}

fn write_files(sandbox: &Sandbox) -> Result<(), Failure> {
    let Sandbox { pod, namespace, address, cluster, directory, .. } = sandbox;
    let mount_over = |name: &str, text: String| {
        let (from, to) = (directory.join(name), Path::new("/etc").join(name));
        fs::write(&from, text).tried(|| format!("writing {}", from.display()))?;
        mount(Some(&from), &to, None::<&str>, MsFlags::MS_BIND, None::<&str>)
            .tried(|| format!("mounting the pod's own {}", to.display()))
    };
    mount_over("resolv.conf", resolv_conf(pod, namespace, cluster))?;
    mount_over("hosts", hosts(pod, namespace, &cluster.zone, *address))
}

fn run_inside(sandbox: Sandbox) -> Result<ExitCode, Failure> {
    // When the process outside is killed, this one dies with it, and with process 1 the whole pod.
    prctl::set_pdeathsig(Signal::SIGKILL).tried(|| "tying the pod to its process".to_owned())?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.tried(|| "starting a tokio runtime".to_owned())?;
    let failure = runtime.block_on(kubelet::run(sandbox));
    kubelet::emit(&Event::Finished { failure: failure.clone() });
    // Not a return: a runtime waits for the thread that reads standard input.
    process::exit(i32::from(failure.is_some()))
}
