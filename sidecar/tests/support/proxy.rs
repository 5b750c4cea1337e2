//! A running proxy: its start, its log, its admin port.

use std::net::SocketAddr;
use std::process::Stdio;
use std::time::Duration;

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::RecordType;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use podlocal_dns::report::http::OWN_HEADER;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::TcpStream;
use tokio::process::{Child, ChildStderr, Command};
use tokio::time::{sleep, timeout};

use super::{PATIENCE, ask, query};

/// The program under test.
pub fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_podlocal-sidecar"));
    command.kill_on_drop(true).env_clear().stdin(Stdio::null());
    command
}

/// A running proxy.
pub struct Proxy {
    pub child: Child,
    pub dns: SocketAddr,
    pub admin: SocketAddr,
    log: Lines<BufReader<ChildStderr>>,
}

impl Proxy {
    /// Starts a proxy on free ports, and waits until it logs its addresses.
    pub async fn start(upstreams: &[SocketAddr], more: &[&str]) -> Self {
        Self::start_at(SocketAddr::from(([127, 0, 0, 1], 0)), upstreams, more).await
    }

    /// The same at an address that was free a moment ago.
    pub async fn start_at(listen: SocketAddr, upstreams: &[SocketAddr], more: &[&str]) -> Self {
        let mut command = program();
        command
            .args(["--listen", &listen.to_string(), "--admin-port", "0"])
            .args(more)
            .stderr(Stdio::piped());
        for upstream in upstreams {
            command.args(["--upstream", &upstream.to_string()]);
        }
        let mut child = command.spawn().expect("the program starts");
        let mut log = BufReader::new(child.stderr.take().expect("piped")).lines();
        let line = loop {
            let line = timeout(PATIENCE, log.next_line()).await.expect("in time").expect("readable");
            let line = line.expect("the proxy said where it listens before it ended");
            if line.contains("serving") {
                break line;
            }
        };
        let (dns, admin) = addresses(&line);
        Self { child, dns, admin, log }
    }

    /// Waits until it logs its addresses again, after a restart.
    pub async fn serves_again(&mut self) {
        let line = self.logged("serving").await;
        (self.dns, self.admin) = addresses(&line);
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        let id = self.child.id().expect("still running");
        kill(Pid::from_raw(i32::try_from(id).expect("a process id")), signal).expect("the signal is sent");
    }

    /// Waits for a line of the log that contains `text`.
    pub async fn logged(&mut self, text: &str) -> String {
        let found = async {
            while let Some(line) = self.log.next_line().await.expect("readable") {
                if line.contains(text) {
                    return line;
                }
            }
            panic!("the log ended without {text:?}");
        };
        timeout(PATIENCE, found).await.unwrap_or_else(|_| panic!("no {text:?} in the log in time"))
    }

    /// Waits for its end; returns the exit code.
    pub async fn exit_code(&mut self) -> i32 {
        let status = timeout(PATIENCE, self.child.wait()).await.expect("in time").expect("waited for");
        status.code().expect("an exit code, not a signal")
    }

    /// Sends a request to the admin port like the program's own commands; returns the whole HTTP answer.
    pub async fn http(&self, path: &str) -> String {
        self.http_with(path, &format!("{OWN_HEADER}: 1\r\n")).await
    }

    /// The same with those lines in the request's head.
    pub async fn http_with(&self, path: &str, headers: &str) -> String {
        let mut stream = TcpStream::connect(self.admin).await.expect("connects");
        let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n{headers}\r\n");
        stream.write_all(request.as_bytes()).await.expect("sends");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("reads");
        answer
    }

    /// The JSON document of a target of the admin port.
    pub async fn document(&self, target: &str) -> Value {
        let answer = self.http(target).await;
        let (head, body) = answer.split_once("\r\n\r\n").expect("a response");
        assert!(head.starts_with("HTTP/1.1 200"), "{answer}");
        serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {answer}"))
    }

    /// Sends a query without EDNS over UDP.
    pub async fn ask(&self, name: &str, rtype: RecordType) -> Message {
        ask(self.dns, &query(name, rtype, 1, None)).await
    }

    /// Asks for the address of a name, which must be found.
    pub async fn finds(&self, name: &str) {
        let answer = self.ask(name, RecordType::A).await;
        let found: Vec<_> = answer.answers.iter().map(|record| record.name.to_string()).collect();
        assert_eq!((answer.metadata.response_code, found), (ResponseCode::NoError, vec![name.to_owned()]));
    }

    /// Asks for the address of a name; returns the RCODE.
    pub async fn rcode(&self, name: &str) -> ResponseCode {
        self.ask(name, RecordType::A).await.metadata.response_code
    }

    /// The number of queries with that outcome.
    pub async fn outcomes(&self, outcome: &str) -> u64 {
        self.metric(&format!("podlocal_dns_query_outcomes_total{{outcome=\"{outcome}\"}}")).await
    }

    /// How often that limit was reached.
    pub async fn limit_reached(&self, limit: &str) -> u64 {
        self.metric(&format!("podlocal_dns_limits_reached_total{{limit=\"{limit}\"}}")).await
    }

    /// Waits until a series of the metrics has at least that value.
    pub async fn reaches(&self, series: &str, value: u64) {
        let is_there = async {
            while self.metric(series).await < value {
                sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(PATIENCE, is_there).await.unwrap_or_else(|_| panic!("{series} does not reach {value}"));
    }

    /// The peak memory, in KiB.
    pub fn peak_memory(&self) -> u64 {
        let id = self.child.id().expect("still running");
        let status = std::fs::read_to_string(format!("/proc/{id}/status")).expect("of a process of ours");
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("in every status");
        line.split_whitespace().next().expect("a figure").parse().expect("a number")
    }

    /// The value of one series of the metrics.
    pub async fn metric(&self, series: &str) -> u64 {
        let metrics = self.http("/metrics").await;
        let line = metrics.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {series} in\n{metrics}")).parse().expect("a number")
    }
}

/// The addresses of DNS and of the admin port, as the proxy logs them.
fn addresses(line: &str) -> (SocketAddr, SocketAddr) {
    let between = |start: &str, end: char| {
        let rest = line.split_once(start).unwrap_or_else(|| panic!("no {start} in {line}")).1;
        rest.split_once(end).unwrap_or((rest, "")).0.to_owned()
    };
    let admin_port: u16 = between("admin_port=", ' ').parse().expect("a port");
    (between("dns=[", ']').parse().expect("an address"), SocketAddr::from(([127, 0, 0, 1], admin_port)))
}
