//! A model of a node: separate namespaces of this process, in which pods run.
//!
//! With it, `cargo test` and `gang` can run pods without root and without a cluster. The model is only a
//! network with one bridge: it does not translate Service addresses, and has no cgroups and no container
//! runtime. `tests/cluster/models.rs` compares a pod on it with the same pod on a real node.
//!
//! ```text
//!   the program as it was started          inside (the same program again, process 1 of its namespace)
//!     starts itself again by unshare(1)      own uid is 0; makes its own /etc, and the network
//!     waits, passes the exit code on         does the work, makes pods
//!                                            when it ends, for whatever reason, the kernel ends all that
//!                                            is left in the namespaces
//! ```
//!
//! It changes nothing on the machine, so nothing has to be cleaned up: the bridge, the mounts and the files
//! are gone with the last process. It works as root and, if the kernel allows user namespaces, as any user.

mod files;

use std::env;
use std::fmt;
use std::net::Ipv4Addr;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{self, Command};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::unistd::getpid;

use crate::failure::{Failure, WithContext};
use crate::model::network::Network;

/// The directory for the files of the node, on a file system that only processes of the node see.
pub const DIRECTORY: &str = "/etc/podlocal-node";

/// The bridge for the links of pods.
pub const BRIDGE: &str = "pods";

/// The node's address on the bridge, the pods' gateway.
pub const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 244, 0, 1);

/// The prefix length of the pod network, as in the examples of flannel and kubeadm.
pub const POD_PREFIX: u8 = 16;

/// The range of Service addresses, the default of kubeadm. All of it is local to the node, so that programs
/// can listen on any of its addresses.
const SERVICES: (Ipv4Addr, u8) = (Ipv4Addr::new(10, 96, 0, 1), 12);

/// The environment variable that marks the process inside the node.
const INSIDE: &str = "GANG_NODE_INSIDE";

/// Runs a program as root of new namespaces (util-linux). It dies with this process, and the program with it.
const UNSHARE: [&str; 11] = [
    "setpriv",
    "--pdeathsig=KILL",
    "unshare",
    "--map-root-user",
    "--net",
    "--mount",
    "--pid",
    "--ipc",
    "--uts",
    "--fork",
    "--kill-child",
];

/// The exit code of a program when the kernel does not allow a node: EX_UNAVAILABLE of sysexits.h.
pub const EXIT_REFUSED: u8 = 69;

/// A handle to the node of this process; cheap to clone.
#[derive(Debug, Clone)]
pub struct Node {
    /// The search domains of its `resolv.conf`, which pods inherit. It has no DNS server.
    pub searches: Vec<String>,
    pods: Arc<AtomicU16>,
    clusters: Arc<AtomicU16>,
}

/// The addresses and the directory of a cluster on the node.
#[derive(Debug)]
pub(crate) struct ClusterPlace {
    /// The address of its DNS.
    pub(crate) dns: Ipv4Addr,
    /// The address of its webhook.
    pub(crate) webhook: Ipv4Addr,
    /// The address of its shared tier.
    pub(crate) shared_tier: Ipv4Addr,
    /// A directory for its files.
    pub(crate) directory: PathBuf,
}

/// The error when the kernel or a security module does not allow this process to create a node.
#[derive(Debug)]
pub struct Refused(Failure);

impl fmt::Display for Refused {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "this machine does not let the program make the namespaces that pods need ({}). Run it as root, or \
             allow user namespaces: `sysctl kernel.unprivileged_userns_clone=1` on Debian, `sysctl \
             kernel.apparmor_restrict_unprivileged_userns=0` on Ubuntu, `sysctl user.max_user_namespaces=10000` \
             on RHEL; in a container add `--privileged`, or `--security-opt seccomp=unconfined --security-opt \
             apparmor=unconfined --cap-add SYS_ADMIN --cap-add NET_ADMIN`",
            self.0
        )
    }
}

/// Moves the program into a node. Call it first in `main`, before any thread starts.
///
/// In the original process it does not return on success: that process waits for the one inside, and exits
/// with its exit code.
pub fn enter() -> Result<Node, Refused> {
    if is_inside() {
        make().map_err(Refused)?;
        return Ok(Node { searches: Vec::new(), pods: Arc::default(), clusters: Arc::default() });
    }
    start_inside().map_or_else(|failure| Err(Refused(failure)), |code| process::exit(code))
}

/// Whether this is the process inside the node. Its children also have the variable, but are not process 1.
pub fn is_inside() -> bool {
    env::var_os(INSIDE).is_some() && getpid().as_raw() == 1
}

/// Starts this program again in new namespaces, and returns its exit code.
fn start_inside() -> Result<i32, Failure> {
    let [setpriv, arguments @ ..] = UNSHARE;
    let unshare = |program: &Path| {
        let mut command = Command::new(setpriv);
        command.args(arguments).arg(program);
        command
    };
    // Shows whether the kernel allows it, because the exit code of the program itself may be any.
    let tried =
        unshare(Path::new("true")).output().with_context("starting setpriv and unshare of util-linux")?;
    if !tried.status.success() {
        return Err(Failure::new(String::from_utf8_lossy(&tried.stderr).trim()));
    }
    let program = env::current_exe().with_context("finding this program")?;
    let mut inside = unshare(&program);
    let status = inside.args(env::args_os().skip(1)).env(INSIDE, "inside").status();
    let status = status.with_context(|| format!("starting {} again inside the node", program.display()))?;
    Ok(status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default()))
}

fn make() -> Result<(), Failure> {
    raise_descriptor_limit();
    files::own_etc(Path::new(DIRECTORY))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.with_context("starting a tokio runtime")?;
    runtime.block_on(async {
        let network = Network::open().with_context("opening a netlink socket")?;
        network.bring_up("lo").await?;
        network.add_address("lo", SERVICES.0, SERVICES.1).await?;
        network.add_bridge(BRIDGE).await?;
        network.add_address(BRIDGE, GATEWAY, POD_PREFIX).await?;
        network.bring_up(BRIDGE).await
    })
}

/// Raises the limit of file descriptors: each pod needs a few, and the soft limit of 1,024 is enough for only
/// about 250 pods.
fn raise_descriptor_limit() {
    if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
        // A failure matters only for very large gangs, which then fail with an error.
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
}

impl Node {
    /// Allocates the number and the address of a pod.
    pub(crate) fn next_pod(&self) -> (u16, Ipv4Addr) {
        let number = self.pods.fetch_add(1, Ordering::Relaxed);
        let [high, low] = (number + 2).to_be_bytes();
        (number, Ipv4Addr::new(10, 244, high, low))
    }

    /// Allocates the addresses and the directory of a cluster. The first cluster has the usual addresses.
    pub(crate) fn next_cluster(&self) -> Result<ClusterPlace, Failure> {
        let number = self.clusters.fetch_add(1, Ordering::Relaxed);
        let [high, low] = number.to_be_bytes();
        // 10.96.0.0/12 ends at 10.111.255.255, which is enough for 4,096 clusters.
        let address = |last| Ipv4Addr::new(10, 96 + (high & 0x0f), low, last);
        let directory = self.directory(&format!("cluster-{number}"))?;
        let [dns, webhook, shared_tier] = [10, 20, 30].map(address);
        Ok(ClusterPlace { dns, webhook, shared_tier, directory })
    }

    /// Creates a directory. The caller removes it, or it is gone with the node.
    pub fn directory(&self, name: &str) -> Result<PathBuf, Failure> {
        let path = Path::new(DIRECTORY).join(name);
        std::fs::create_dir_all(&path).with_context(|| format!("making {}", path.display()))?;
        Ok(path)
    }
}
