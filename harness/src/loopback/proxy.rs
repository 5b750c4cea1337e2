//! The sidecar as a process: its addresses, metrics and memory.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use crate::metrics::count;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::failure::{Failure, WithContext};
use crate::process::{Pinned, usage};

/// A running sidecar, or a shared tier; killed when dropped.
#[derive(Debug)]
pub struct Proxy {
    /// Its address for DNS.
    pub dns: SocketAddr,
    /// Its address for readiness and metrics.
    pub admin: SocketAddr,
    child: Child,
}

/// The time-out for its start.
const START_TIMEOUT: Duration = Duration::from_secs(10);

/// The time-out for its end after a signal: the longest drain, plus the lame-duck time in the tests.
const EXIT_TIMEOUT: Duration = Duration::from_secs(30);

/// The default time-out of a kubelet's probe.
const PROBE_TIMEOUT: Duration = Duration::from_secs(1);

impl Proxy {
    /// Starts a proxy on free ports, and waits until it logs its addresses.
    pub async fn start(program: &Path, upstream: SocketAddr, flags: &[&str]) -> Result<Self, Failure> {
        let upstream = upstream.to_string();
        let ours = ["--listen", "127.0.0.1:0", "--admin-port", "0", "--upstream", &upstream];
        Self::launch(program, &[&ours, flags].concat(), None).await
    }

    /// Starts a proxy with exactly these flags, on one core or on all, and waits until it logs its addresses.
    pub async fn launch(program: &Path, flags: &[&str], core: Option<usize>) -> Result<Self, Failure> {
        let mut command = Command::new(program);
        command.args(flags).env_clear().stdin(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
        let pinned = core.map(Pinned::to).transpose()?;
        let mut child = command.spawn().with_context(|| format!("starting {}", program.display()))?;
        drop(pinned);
        let log = child.stderr.take().with_context("the sidecar has no standard error")?;
        let mut lines = BufReader::new(log).lines();
        let line = timeout(START_TIMEOUT, async {
            while let Ok(Some(line)) = lines.next_line().await {
                if line.contains("serving") {
                    return Some(line);
                }
            }
            None
        });
        let line = line.await.ok().flatten().with_context("the sidecar did not say where it serves")?;
        // The log is read to its end, because the proxy would block on a full pipe.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        let dns = between(&line, "dns=[").and_then(|text| text.parse().ok());
        let port = between(&line, "admin_port=").and_then(|text| text.parse::<u16>().ok());
        match (dns, port) {
            (Some(dns), Some(port)) => {
                Ok(Self { dns, admin: SocketAddr::from(([127, 0, 0, 1], port)), child })
            }
            _ => Err(Failure::new(format!("the sidecar's line {line:?} was not understood"))),
        }
    }

    /// Its process id.
    pub fn id(&self) -> Result<u32, Failure> {
        self.child.id().with_context("the sidecar has ended")
    }

    /// The sum of the series of a metric that have these labels.
    pub async fn metric(&self, name: &str, labels: &[(&str, &str)]) -> Result<u64, Failure> {
        let page = get(self.admin, "/metrics").await.with_context(|| format!("reading the metric {name}"))?;
        Ok(count(&page, name, labels))
    }

    /// Whether its readiness probe succeeds.
    pub async fn is_ready(&self) -> bool {
        is_ready(self.admin).await
    }

    /// Waits for its end, and returns the exit code; `None` after a signal.
    pub async fn wait_for_exit(&mut self) -> Result<Option<i32>, Failure> {
        let ended = timeout(EXIT_TIMEOUT, self.child.wait()).await;
        let status = ended.with_context("waiting for the sidecar's end")?;
        Ok(status.with_context("waiting for the sidecar's end")?.code())
    }

    /// The number of its open file descriptors.
    pub fn descriptors(&self) -> Result<usize, Failure> {
        let directory = format!("/proc/{}/fd", self.child.id().unwrap_or_default());
        let entries = std::fs::read_dir(&directory).with_context(|| format!("reading {directory}"))?;
        Ok(entries.count())
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) -> Result<(), Failure> {
        let id = i32::try_from(self.id()?).with_context("a process id")?;
        kill(Pid::from_raw(id), signal).with_context(|| format!("sending {signal} to the sidecar"))
    }

    /// Its current and its peak resident memory, in MiB.
    pub fn memory(&self) -> Result<[f64; 2], Failure> {
        let usage = usage(self.id()?)?;
        Ok([usage.resident, usage.most_resident])
    }
}

/// Whether the readiness probe at this address succeeds; false after a time-out.
pub async fn is_ready(admin: SocketAddr) -> bool {
    let answer = timeout(PROBE_TIMEOUT, get(admin, "/readyz")).await;
    answer.is_ok_and(|answer| answer.is_ok_and(|text| text.split(' ').nth(1) == Some("200")))
}

/// The response to a GET request, head and body.
pub async fn get(admin: SocketAddr, path: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect(admin).await?;
    stream.write_all(format!("GET {path} HTTP/1.0\r\nhost: localhost\r\n\r\n").as_bytes()).await?;
    let mut text = String::new();
    stream.read_to_string(&mut text).await?;
    Ok(text)
}

fn between<'a>(line: &'a str, start: &str) -> Option<&'a str> {
    line.split_once(start)?.1.split([']', ',', ' ']).next()
}
