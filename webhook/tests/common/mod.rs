//! Shared by the tests of the built program: a running webhook, and a TLS client.

#![allow(dead_code, reason = "each test program uses its part")]

pub(crate) mod api_server;
pub(crate) mod bodies;
pub(crate) mod golden;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::{Value, json};

/// The time limit for any condition. It is far above the usual time, so that only a failure exceeds it.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// The built program, without the environment variable of a cluster.
pub(crate) fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_podlocal-webhook"));
    command.env_remove("KUBERNETES_SERVICE_HOST");
    command
}

/// Runs the program to its end with `input` on standard input.
pub(crate) fn piped(arguments: &[&str], input: &str) -> Output {
    let mut command = program();
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("starts");
    // A program with invalid flags does not read its input.
    let _ = child.stdin.take().expect("piped").write_all(input.as_bytes());
    child.wait_with_output().expect("ends")
}

/// Waits until `condition` is true; `what` describes it in the failure.
#[expect(clippy::disallowed_methods, reason = "this is the wait for a condition with a deadline")]
pub(crate) fn eventually(what: &str, condition: impl Fn() -> bool) {
    let end = Instant::now() + DEADLINE;
    while !condition() {
        assert!(Instant::now() < end, "never: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A running webhook with a self-made certificate.
pub(crate) struct Webhook {
    child: Child,
    lines: Receiver<String>,
    pub(crate) address: SocketAddr,
    pub(crate) admin: SocketAddr,
    ca: PathBuf,
    _folder: tempfile::TempDir,
}

/// An HTTP response.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: String,
}

pub(crate) type Connection = StreamOwned<ClientConnection, TcpStream>;

impl Webhook {
    /// Starts the webhook, and waits until it is ready.
    pub(crate) fn start(flags: &[&str]) -> Self {
        let webhook = Self::launch(flags);
        webhook.wait_until_ready();
        webhook
    }

    /// Starts the webhook, and waits until its addresses are bound.
    pub(crate) fn launch(flags: &[&str]) -> Self {
        let mut webhook =
            Self::spawn("serve", &["--listen", "127.0.0.1:0", "--cluster-dns", "10.96.0.10"], flags);
        webhook.address = webhook.logged_address("serving admission reviews");
        webhook.admin = webhook.logged_address("serving health and metrics");
        webhook
    }

    /// Starts `cert-controller`, and waits until its address is bound.
    pub(crate) fn cert_controller(flags: &[&str]) -> Self {
        let mut controller = Self::spawn("cert-controller", &[], flags);
        controller.admin = controller.logged_address("serving health");
        controller
    }

    fn spawn(command: &str, usual: &[&str], flags: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let ca = folder.path().join("ca.crt");
        let ca_out = (command == "serve").then(|| format!("--ca-out={}", ca.display()));
        let mut child = program()
            .args([command, "--admin-listen", "127.0.0.1:0", "--dns-names", "webhook.test"])
            .args(usual)
            .args(ca_out)
            .args(flags)
            .stderr(Stdio::piped())
            .spawn()
            .expect("starts");
        let stderr = BufReader::new(child.stderr.take().expect("piped"));
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            stderr.lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
        });
        let any = SocketAddr::from(([0, 0, 0, 0], 0));
        Self { child, lines, address: any, admin: any, ca, _folder: folder }
    }

    /// Waits for the next log line that contains `part`.
    pub(crate) fn log_line(&self, part: &str) -> String {
        let end = Instant::now() + DEADLINE;
        loop {
            let line = self.lines.recv_timeout(end.saturating_duration_since(Instant::now()));
            let line = line.unwrap_or_else(|_| panic!("no line of the log has {part:?} in it"));
            if line.contains(part) {
                return line;
            }
        }
    }

    fn logged_address(&self, part: &str) -> SocketAddr {
        let line = self.log_line(part);
        let text = line.split("address=").nth(1).and_then(|rest| rest.split_whitespace().next());
        text.map(|text| text.trim_matches('"'))
            .and_then(|text| text.parse().ok())
            .expect("an address in the log")
    }

    pub(crate) fn wait_until_ready(&self) {
        let end = Instant::now() + DEADLINE;
        while !TcpStream::connect(self.admin).is_ok_and(|stream| get(stream, "/readyz").status == 200) {
            assert!(Instant::now() < end, "it never became ready");
            std::thread::yield_now();
        }
    }

    /// A connection that trusts the CA that the program wrote.
    pub(crate) fn connect(&self) -> Connection {
        connect(self.address, &self.authority())
    }

    pub(crate) fn post(&self, path: &str, kind: &str, body: &[u8]) -> Answer {
        request(self.connect(), &head("POST", path, kind, body.len()), body)
    }

    /// Sends a review and returns its response.
    pub(crate) fn review(&self, review: &Value) -> Value {
        let answer = self.post("/mutate?timeout=5s", "application/json", review.to_string().as_bytes());
        assert_eq!(answer.status, 200, "{answer:?}");
        let body: Value = serde_json::from_str(&answer.body).expect("JSON");
        assert_eq!((&body["kind"], &body["response"]["allowed"]), (&json!("AdmissionReview"), &json!(true)));
        body["response"].clone()
    }

    pub(crate) fn admin_page(&self, path: &str) -> Answer {
        get(TcpStream::connect(self.admin).expect("connects"), path)
    }

    /// The peak of its resident memory, in MiB (proc_pid_status(5)).
    pub(crate) fn most_memory(&self) -> usize {
        let status =
            std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("its status");
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("its peak");
        let kibibytes: usize = line.trim().trim_end_matches(" kB").parse().expect("a number of KiB");
        kibibytes / 1024
    }

    /// The CA of its self-made certificate.
    pub(crate) fn authority(&self) -> CertificateDer<'static> {
        CertificateDer::from_pem_file(&self.ca).expect("a CA")
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let id = i32::try_from(self.child.id()).expect("a process id");
        kill(Pid::from_raw(id), signal).expect("the program is there");
    }

    /// Waits for the end of the program.
    pub(crate) fn ended(&mut self) -> ExitStatus {
        let end = Instant::now() + DEADLINE;
        loop {
            if let Some(status) = self.child.try_wait().expect("waits") {
                return status;
            }
            assert!(Instant::now() < end, "it never ended");
            std::thread::yield_now();
        }
    }
}

impl Drop for Webhook {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A client certificate and its key.
pub(crate) type ClientCertificate = (CertificateDer<'static>, PrivateKeyDer<'static>);

/// A TLS connection to a webhook whose certificate is for `webhook.test`.
pub(crate) fn connect(address: SocketAddr, ca: &CertificateDer<'static>) -> Connection {
    connect_as(address, ca, None)
}

/// The same for a client with a certificate.
pub(crate) fn connect_as(
    address: SocketAddr,
    ca: &CertificateDer<'static>,
    own: Option<ClientCertificate>,
) -> Connection {
    let mut roots = RootCertStore::empty();
    roots.add(ca.clone()).expect("a CA");
    let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots);
    let config = match own {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => {
            builder.with_client_auth_cert(vec![certificate], key).expect("a certificate and its key")
        }
    };
    let name = ServerName::try_from("webhook.test").expect("a name");
    let stream = TcpStream::connect(address).expect("connects");
    stream.set_read_timeout(Some(DEADLINE)).expect("sets");
    StreamOwned::new(ClientConnection::new(Arc::new(config), name).expect("a client"), stream)
}

/// Whether a review is answered; a connection may fail when the client trusts another CA, or the webhook does.
pub(crate) fn is_answered(mut connection: Connection) -> bool {
    let body = review_of(&pod()).to_string();
    let head = head("POST", "/mutate", "application/json", body.len());
    // With TLS 1.3, a client learns of its rejection when it reads.
    let sent = connection.write_all(format!("{head}{body}").as_bytes()).and_then(|()| connection.flush());
    let mut start = [0; 15];
    sent.and_then(|()| connection.read_exact(&mut start)).is_ok() && &start == b"HTTP/1.1 200 OK"
}

/// The head of a request with `connection: close`.
pub(crate) fn head(method: &str, path: &str, kind: &str, length: usize) -> String {
    format!(
        "{method} {path} HTTP/1.1\r\nhost: webhook.test\r\nconnection: close\r\n\
         content-type: {kind}\r\ncontent-length: {length}\r\n\r\n"
    )
}

pub(crate) fn request(mut connection: impl Read + Write, head: &str, body: &[u8]) -> Answer {
    connection.write_all(head.as_bytes()).expect("writes");
    // A server that rejects the head may not read the body.
    let _ = connection.write_all(body).and_then(|()| connection.flush());
    answer(connection)
}

/// Reads a response to its end.
pub(crate) fn answer(mut connection: impl Read) -> Answer {
    let mut bytes = Vec::new();
    // A TLS stream may end without close_notify; only the received bytes matter.
    let _ = connection.read_to_end(&mut bytes);
    let text = String::from_utf8(bytes).expect("UTF-8");
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no whole answer: {text:?}"));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    Answer { status, body: body.to_owned() }
}

fn get(stream: TcpStream, path: &str) -> Answer {
    stream.set_read_timeout(Some(DEADLINE)).expect("sets");
    request(stream, &head("GET", path, "text/plain", 0), b"")
}

/// A review of the creation of `pod`.
pub(crate) fn review_of(pod: &Value) -> Value {
    json!({
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": "705ab4f5-6393-11e8-b7cc-42010a800002",
            "kind": {"group": "", "version": "v1", "kind": "Pod"},
            "resource": {"group": "", "version": "v1", "resource": "pods"},
            "namespace": "web",
            "operation": "CREATE",
            "dryRun": false,
            "object": pod,
        },
    })
}

/// The smallest pod.
pub(crate) fn pod() -> Value {
    json!({"metadata": {"generateName": "app-"}, "spec": {"containers": [{"name": "app", "image": "app:1"}]}})
}
