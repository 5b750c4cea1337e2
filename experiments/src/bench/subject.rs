//! The measured programs, and a measured program as a running process on a separate core.

use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use hickory_proto::rr::RecordType;
use tempfile::TempDir;

use super::peers::{PEERS, Peer};
use crate::load::{query, rcode};
use podlocal_harness::failure::{Failure, WithContext};
use podlocal_harness::process::{Pinned, Usage, usage};

/// The name of the sidecar among the subjects.
pub const SIDECAR: &str = "sidecar";

/// The name of the echo, the upper limit, among the subjects.
pub const ECHO: &str = "echo";

/// A program that answers queries.
#[derive(Debug, Clone)]
pub struct Subject {
    /// Its name, as in `--subject`.
    pub name: &'static str,
    program: PathBuf,
    kind: Kind,
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Sidecar,
    Echo,
    Peer(Peer),
}

impl Subject {
    /// The names of all subjects.
    pub fn names() -> impl Iterator<Item = &'static str> {
        [SIDECAR, ECHO].into_iter().chain(PEERS.iter().map(|peer| peer.name))
    }

    /// The subjects with these names, by default all; and the peers that are not installed. `ours` is the
    /// program that contains the echo.
    pub fn choose(names: &[String], sidecar: &Path, ours: &Path) -> (Vec<Self>, Vec<Peer>) {
        let is_chosen = |name: &str| names.is_empty() || names.iter().any(|one| one == name);
        let of = |name, program: &Path, kind| Self { name, program: program.to_owned(), kind };
        let mut subjects = vec![of(SIDECAR, sidecar, Kind::Sidecar), of(ECHO, ours, Kind::Echo)];
        let mut missing = Vec::new();
        for peer in PEERS {
            match peer.installed() {
                Some(program) => subjects.push(of(peer.name, &program, Kind::Peer(peer))),
                None if is_chosen(peer.name) => missing.push(peer),
                None => {}
            }
        }
        subjects.retain(|subject| is_chosen(subject.name));
        (subjects, missing)
    }

    /// Whether it only echoes datagrams and does not implement DNS.
    pub fn is_echo(&self) -> bool {
        matches!(self.kind, Kind::Echo)
    }

    fn command(
        &self,
        address: SocketAddr,
        upstream: SocketAddr,
        directory: &Path,
    ) -> Result<Command, Failure> {
        let mut command = Command::new(&self.program);
        let (at, to) = (address.to_string(), upstream.to_string());
        match self.kind {
            Kind::Sidecar => command.args(["--listen", &at, "--admin-port", "0", "--upstream", &to]),
            Kind::Echo => command.args(["--echo", &at]),
            Kind::Peer(peer) => command.args(peer.prepare(address, upstream, directory)?),
        };
        command.env_clear().current_dir(directory).stdin(Stdio::null());
        Ok(command)
    }
}

/// A subject that answers; killed when dropped.
#[derive(Debug)]
pub(super) struct Running {
    /// Its address for DNS over UDP and TCP.
    pub(super) address: SocketAddr,
    /// The time from its start to its first answer.
    pub(super) started_in: Duration,
    child: Child,
    directory: TempDir,
}

/// The time-out for the first answer.
const START_TIMEOUT: Duration = Duration::from_secs(20);

/// The time after which a query without an answer is sent again.
const RETRY_INTERVAL: Duration = Duration::from_millis(20);

/// The pause after a refused query, while the program does not listen yet.
const REFUSED_PAUSE: Duration = Duration::from_micros(50);

impl Running {
    /// Starts it on that core, and sends queries until it answers.
    pub(super) fn start(subject: &Subject, upstream: SocketAddr, core: usize) -> Result<Self, Failure> {
        let starting = || format!("starting {}", subject.name);
        let directory = tempfile::tempdir().with_context(starting)?;
        let address = free_port().with_context(starting)?;
        let mut command = subject.command(address, upstream, directory.path())?;
        let log = File::create(directory.path().join(LOG)).with_context(starting)?;
        command.stdout(log.try_clone().with_context(starting)?).stderr(log);
        let question = query(1, "first.example.com", RecordType::A)?;
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).with_context(starting)?;
        socket.connect(address).with_context(starting)?;
        socket.set_read_timeout(Some(RETRY_INTERVAL)).with_context(starting)?;
        let pinned = Pinned::to(core)?;
        let start = Instant::now();
        let child = command.spawn().with_context(|| format!("starting {}", subject.program.display()))?;
        drop(pinned);
        let mut running = Self { address, started_in: Duration::ZERO, child, directory };
        let mut buffer = [0; 512];
        loop {
            let received = socket.send(&question).and_then(|_| socket.recv(&mut buffer));
            if received.is_ok_and(|length| rcode(&buffer[..length]) == Some(0) && length > question.len()) {
                running.started_in = start.elapsed();
                return Ok(running);
            }
            if start.elapsed() > START_TIMEOUT || running.child.try_wait().with_context(starting)?.is_some() {
                return Err(running.silent(subject));
            }
            std::thread::park_timeout(REFUSED_PAUSE);
        }
    }

    /// The CPU time and memory that it has used so far.
    pub(super) fn usage(&self) -> Result<Usage, Failure> {
        usage(self.child.id())
    }

    /// The sizes of its program and of its loaded libraries, in bytes; a static program has no libraries.
    pub(super) fn sizes(&self) -> Result<Vec<u64>, Failure> {
        let file = format!("/proc/{}/maps", self.child.id());
        let text = fs::read_to_string(&file).with_context(|| format!("reading {file}"))?;
        // The fields are address, permissions, offset, device, inode, path (proc_pid_maps(5)).
        let code = text.lines().filter(|line| line.split_whitespace().nth(1) == Some("r-xp"));
        let mut files: Vec<_> = code.filter_map(|line| line.split_whitespace().nth(5)).collect();
        files.retain(|path| path.starts_with('/'));
        files.dedup();
        let size = |path: &&str| {
            fs::metadata(path).map(|data| data.len()).with_context(|| format!("reading the size of {path}"))
        };
        files.iter().map(size).collect()
    }

    fn silent(&self, subject: &Subject) -> Failure {
        let log = fs::read_to_string(self.directory.path().join(LOG)).unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        let last = lines[lines.len().saturating_sub(5)..].join(" | ");
        Failure::new(format!("{} did not answer; its output: {last}", subject.name))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // An error means that the process has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The file for its output.
const LOG: &str = "log";

/// A port of the loopback that is currently free for UDP and TCP.
pub(super) fn free_port() -> io::Result<SocketAddr> {
    loop {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = socket.local_addr()?;
        if TcpListener::bind(address).is_ok() {
            return Ok(address);
        }
    }
}
