//! The sidecar as a process: its addresses, metrics and memory.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::failure::{Failure, Tried};

/// A running sidecar; killed when dropped.
#[derive(Debug)]
pub struct Proxy {
    /// Where it serves DNS.
    pub dns: SocketAddr,
    admin: SocketAddr,
    child: Child,
}

/// How long it may take to start.
const PATIENCE: Duration = Duration::from_secs(10);

impl Proxy {
    /// Starts one on free ports, and waits until it says where it listens.
    pub async fn start(program: &Path, upstream: SocketAddr, flags: &[&str]) -> Result<Self, Failure> {
        let mut command = Command::new(program);
        command.args(["--listen", "127.0.0.1:0", "--admin-port", "0", "--upstream", &upstream.to_string()]);
        command.args(flags).env_clear().stdin(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().tried(|| format!("starting {}", program.display()))?;
        let log = child.stderr.take().tried_some("the sidecar has no standard error")?;
        let mut lines = BufReader::new(log).lines();
        let line = timeout(PATIENCE, async {
            while let Ok(Some(line)) = lines.next_line().await {
                if line.contains("serving") {
                    return Some(line);
                }
            }
            None
        });
        let line = line.await.ok().flatten().tried_some("the sidecar did not say where it serves")?;
        // Whoever writes to a pipe that nobody reads waits for ever.
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

    /// The sum of the metrics whose line begins so.
    pub async fn metric(&self, series: &str) -> Result<u64, Failure> {
        let reading = || format!("reading the metric {series}");
        let mut stream = TcpStream::connect(self.admin).await.tried(reading)?;
        stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: localhost\r\n\r\n").await.tried(reading)?;
        let mut text = String::new();
        stream.read_to_string(&mut text).await.tried(reading)?;
        let values = text.lines().filter(|line| line.starts_with(series));
        Ok(values.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum())
    }

    /// How many descriptors it has open.
    pub fn descriptors(&self) -> Result<usize, Failure> {
        let directory = format!("/proc/{}/fd", self.child.id().unwrap_or_default());
        let entries = std::fs::read_dir(&directory).tried(|| format!("reading {directory}"))?;
        Ok(entries.count())
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) -> Result<(), Failure> {
        let id = self.child.id().and_then(|id| i32::try_from(id).ok());
        let id = id.tried_some("the sidecar has ended")?;
        kill(Pid::from_raw(id), signal).tried(|| format!("sending {signal} to the sidecar"))
    }

    /// What it takes now, and the most that it took, in MiB.
    pub fn memory(&self) -> Result<[f64; 2], Failure> {
        let file = format!("/proc/{}/status", self.child.id().unwrap_or_default());
        let status = std::fs::read_to_string(&file).tried(|| format!("reading {file}"))?;
        Ok(["VmRSS:", "VmHWM:"].map(|field| {
            let line = status.lines().find_map(|line| line.strip_prefix(field));
            let kibibytes = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
            kibibytes.unwrap_or_default() / 1024.0
        }))
    }
}

fn between<'a>(line: &'a str, start: &str) -> Option<&'a str> {
    line.split_once(start)?.1.split([']', ' ']).next()
}

trait TriedSome<T> {
    fn tried_some(self, sentence: &str) -> Result<T, Failure>;
}

impl<T> TriedSome<T> for Option<T> {
    fn tried_some(self, sentence: &str) -> Result<T, Failure> {
        self.ok_or_else(|| Failure::new(sentence))
    }
}
