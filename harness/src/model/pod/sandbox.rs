//! The namespaces of one pod, with its link, files, host name and sysctls.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::sethostname;
use tokio::process::{Child, Command};

use super::PodSpec;
use super::resolv_conf::{hostname, hosts, resolv_conf};
use crate::failure::{Failure, WithContext};
use crate::model::network::Network;
use crate::model::node::{BRIDGE, GATEWAY, POD_PREFIX};

/// The name of the link inside the pod, as usual in Kubernetes.
const LINK: &str = "eth0";

/// A pod on the node.
#[derive(Debug)]
pub(super) struct Sandbox {
    /// The pod.
    pub(super) spec: PodSpec,
    /// Its address, on the node's bridge.
    pub(super) address: Ipv4Addr,
    /// The name of its link on the node.
    pub(super) link: String,
    /// Programs by their name in a container's command; other names are programs of the machine.
    pub(super) programs: BTreeMap<String, PathBuf>,
    /// A directory for the pod's files.
    pub(super) directory: PathBuf,
}

impl Sandbox {
    /// Moves this thread into the new namespaces of the pod, where all processes are that it starts from now
    /// on; it can no longer start threads. Returns process 1: when it is dropped, the kernel kills the others.
    pub(super) async fn enter(&self) -> Result<Child, Failure> {
        self.make_namespaces().await?;
        self.write_files()?;
        self.write_sysctls()?;
        sethostname(hostname(&self.spec.pod)).with_context("setting the host name")?;
        let first = Command::new("sleep").arg("infinity").kill_on_drop(true).spawn();
        first.with_context("starting process 1 of the pod")
    }

    /// Creates the namespaces and the link. The netlink socket stays in the node's network namespace when the
    /// thread leaves it, so it can create the link there.
    async fn make_namespaces(&self) -> Result<(), Failure> {
        let node = Network::open().with_context("opening a netlink socket on the node")?;
        let namespaces = CloneFlags::CLONE_NEWNET
            | CloneFlags::CLONE_NEWNS
            | CloneFlags::CLONE_NEWPID
            | CloneFlags::CLONE_NEWIPC
            | CloneFlags::CLONE_NEWUTS;
        unshare(namespaces).with_context("unshare of the pod's namespaces")?;
        let namespace =
            File::open("/proc/thread-self/ns/net").with_context("opening the network namespace")?;
        node.add_veth(&self.link, BRIDGE, LINK, &namespace).await?;

        let pod = Network::open().with_context("opening a netlink socket in the pod")?;
        pod.bring_up("lo").await?;
        pod.add_address(LINK, self.address, POD_PREFIX).await?;
        pod.bring_up(LINK).await?;
        pod.add_default_route(GATEWAY).await
    }

    fn write_files(&self) -> Result<(), Failure> {
        let PodSpec { pod, namespace, cluster, .. } = &self.spec;
        let mount_over = |name: &str, text: String| {
            let (from, to) = (self.directory.join(name), Path::new("/etc").join(name));
            fs::write(&from, text).with_context(|| format!("writing {}", from.display()))?;
            mount(Some(&from), &to, None::<&str>, MsFlags::MS_BIND, None::<&str>)
                .with_context(|| format!("mounting the pod's own {}", to.display()))
        };
        mount_over("resolv.conf", resolv_conf(pod, namespace, cluster))?;
        mount_over("hosts", hosts(pod, self.address))
    }

    /// Writes `spec.securityContext.sysctls`. Only the real kubelet checks which of them are allowed.
    fn write_sysctls(&self) -> Result<(), Failure> {
        let sysctls = self.spec.pod["spec"]["securityContext"]["sysctls"].as_array();
        for sysctl in sysctls.into_iter().flatten() {
            let [name, value] = ["name", "value"].map(|field| sysctl[field].as_str().unwrap_or_default());
            // sysctl(8) allows both spellings: `net.ipv4.x` and `net/ipv4/x`.
            let file = Path::new("/proc/sys").join(name.replace('.', "/"));
            fs::write(&file, value).with_context(|| format!("writing {value:?} to {}", file.display()))?;
        }
        Ok(())
    }
}
