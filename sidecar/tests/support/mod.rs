//! A proxy process and a scripted upstream for it; both on free ports, both stopped when dropped.

#![allow(dead_code, unreachable_pub, reason = "each test file uses what it needs")]

use std::net::{Ipv4Addr, SocketAddr};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::A;
use hickory_proto::rr::{Name, RData, Record, RecordType};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use podlocal_dns::report::http::OWN_HEADER;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::{TcpListener, TcpSocket, TcpStream, UdpSocket};
use tokio::process::{Child, ChildStderr, Command};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::timeout;

/// No step of a test takes longer; a step that does has failed, and is not only slow.
pub const PATIENCE: Duration = Duration::from_secs(20);

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

/// What the scripted upstream does with one query.
pub enum Script {
    /// Sends these messages, in order, with the query's id put into those whose id is 0.
    Send(Vec<Message>),
    /// Sends this after that time.
    Later(Duration, Message),
    /// Sends these bytes, each a datagram or a frame, as they are.
    Bytes(Vec<Vec<u8>>),
    /// Sends the first, over UDP from another port, then the second from the right one.
    FromElsewhere(Message, Message),
    /// Sends nothing.
    Silence,
    /// Over TCP: sends this and closes its side of the connection.
    Last(Message),
    /// Over TCP: sends this if it is the connection's first answer, and otherwise closes without an answer.
    OncePerConnection(Message),
    /// Over TCP: sends this if it is the connection's first answer, and otherwise never sends anything again.
    DeadAfterwards(Message),
    /// Over TCP: closes without an answer.
    Close,
}

/// A DNS server that follows a script and counts its queries, UDP and TCP on one port.
pub struct Upstream {
    pub address: SocketAddr,
    counts: Arc<Counts>,
    tasks: [AbortHandle; 2],
}

#[derive(Default)]
struct Counts {
    by_udp: AtomicUsize,
    by_tcp: AtomicUsize,
    probes: AtomicUsize,
    connections: AtomicUsize,
}

impl Counts {
    /// Counts a query; a query that the typed decoder does not know comes from a client.
    fn count(&self, query: Option<&Message>, by_tcp: bool) {
        let is_probe = query.is_some_and(|query| {
            query.queries[0].name().to_string().to_lowercase().contains(".podlocal-dns-probe.")
        });
        let count = match (is_probe, by_tcp) {
            (true, _) => &self.probes,
            (false, false) => &self.by_udp,
            (false, true) => &self.by_tcp,
        };
        count.fetch_add(1, Ordering::SeqCst);
    }
}

impl Upstream {
    /// Starts a server. The script gets the query and whether it came over TCP.
    pub async fn start(script: impl Fn(&Message, bool) -> Script + Send + Sync + 'static) -> Self {
        Self::start_at(SocketAddr::from(([127, 0, 0, 1], 0)), script).await
    }

    /// Starts a server at an address that another one had: waits until the address is free.
    pub async fn start_at(
        address: SocketAddr,
        script: impl Fn(&Message, bool) -> Script + Send + Sync + 'static,
    ) -> Self {
        let bound = async {
            loop {
                if let Ok(socket) = UdpSocket::bind(address).await
                    && let Ok(listener) = TcpListener::bind(socket.local_addr().expect("an address")).await
                {
                    return (Arc::new(socket), listener);
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let (socket, listener) = timeout(PATIENCE, bound).await.expect("the address becomes free");
        let address = socket.local_addr().expect("an address");
        let counts = Arc::new(Counts::default());
        let script = Arc::new(script);
        let udp = tokio::spawn(serve_udp(socket, Arc::clone(&script), Arc::clone(&counts)));
        let tcp = tokio::spawn(serve_tcp(listener, script, Arc::clone(&counts)));
        Self { address, counts, tasks: [udp.abort_handle(), tcp.abort_handle()] }
    }

    /// The number of queries, without probes.
    pub fn asked(&self) -> usize {
        self.asked_by_udp() + self.asked_by_tcp()
    }

    /// The number of queries over UDP.
    pub fn asked_by_udp(&self) -> usize {
        self.counts.by_udp.load(Ordering::SeqCst)
    }

    /// The number of queries over TCP.
    pub fn asked_by_tcp(&self) -> usize {
        self.counts.by_tcp.load(Ordering::SeqCst)
    }

    /// The number of probes.
    pub fn probed(&self) -> usize {
        self.counts.probes.load(Ordering::SeqCst)
    }

    /// The number of TCP connections.
    pub fn connections(&self) -> usize {
        self.counts.connections.load(Ordering::SeqCst)
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}

async fn serve_udp(
    socket: Arc<UdpSocket>,
    script: Arc<impl Fn(&Message, bool) -> Script + Send + Sync + 'static>,
    counts: Arc<Counts>,
) {
    let mut buffer = vec![0; 65536];
    let mut answering = JoinSet::new();
    loop {
        // An answer to a closed port comes back as an error here.
        let Ok((length, client)) = socket.recv_from(&mut buffer).await else { continue };
        // A client's rare class or type is forwarded; the typed decoder does not know them all.
        let query = Message::from_vec(&buffer[..length]);
        counts.count(query.as_ref().ok(), false);
        let Ok(query) = query else { continue };
        let (script, socket) = (script(&query, false), Arc::clone(&socket));
        answering.spawn(async move {
            let script = match script {
                Script::FromElsewhere(forged, answer) => {
                    let elsewhere = UdpSocket::bind("127.0.0.1:0").await.expect("binds");
                    for forged in answers(Script::Send(vec![forged]), &query).await {
                        let _ = elsewhere.send_to(&forged, client).await;
                    }
                    Script::Send(vec![answer])
                }
                script => script,
            };
            for answer in answers(script, &query).await {
                let _ = socket.send_to(&answer, client).await;
            }
        });
        while answering.try_join_next().is_some() {}
    }
}

/// Serves every connection in a task of its own, which ends with this one; the queries of one connection in
/// order.
async fn serve_tcp(
    listener: TcpListener,
    script: Arc<impl Fn(&Message, bool) -> Script + Send + Sync + 'static>,
    counts: Arc<Counts>,
) {
    let mut connections = JoinSet::new();
    loop {
        let (mut stream, _) = listener.accept().await.expect("accepts");
        counts.connections.fetch_add(1, Ordering::SeqCst);
        let (script, counts) = (Arc::clone(&script), Arc::clone(&counts));
        connections.spawn(async move {
            let mut is_first = true;
            while let Ok(bytes) = read_frame(&mut stream).await {
                let query = Message::from_vec(&bytes);
                counts.count(query.as_ref().ok(), true);
                let Ok(query) = query else { continue };
                let script = script(&query, true);
                let is_last = matches!(script, Script::Last(_));
                let script = match (script, is_first) {
                    (Script::Close, _) | (Script::OncePerConnection(_), false) => return,
                    (Script::DeadAfterwards(_), false) => Script::Silence,
                    (script, _) => script,
                };
                is_first = false;
                for answer in answers(script, &query).await {
                    write_frame(&mut stream, &answer).await;
                }
                if is_last {
                    let _ = stream.shutdown().await;
                }
            }
        });
        while connections.try_join_next().is_some() {}
    }
}

async fn answers(script: Script, query: &Message) -> Vec<Vec<u8>> {
    let messages = match script {
        Script::Send(messages) => messages,
        Script::Later(time, message) => {
            tokio::time::sleep(time).await;
            vec![message]
        }
        Script::Bytes(bytes) => return bytes,
        Script::DeadAfterwards(answer)
        | Script::FromElsewhere(_, answer)
        | Script::Last(answer)
        | Script::OncePerConnection(answer) => {
            vec![answer]
        }
        Script::Silence | Script::Close => Vec::new(),
    };
    let encode = |mut message: Message| {
        if message.metadata.id == 0 {
            message.metadata.id = query.metadata.id;
        }
        message.to_vec().expect("encodes")
    };
    messages.into_iter().map(encode).collect()
}

/// A reply to `query` with these answers; its id is set when it is sent.
pub fn reply(query: &Message, rcode: ResponseCode, answers: Vec<Record>) -> Message {
    let mut message = Message::new(0, MessageType::Response, OpCode::Query);
    message.metadata.response_code = rcode;
    message.metadata.recursion_desired = query.metadata.recursion_desired;
    message.metadata.recursion_available = true;
    message.add_queries(query.queries.iter().cloned());
    message.insert_answers(answers);
    message
}

/// An address record.
pub fn a(name: &str, ttl: u32) -> Record {
    Record::from_rdata(Name::from_ascii(name).expect("a name"), ttl, RData::A(A(Ipv4Addr::new(10, 0, 0, 1))))
}

/// An upstream with one address for `www.example.`.
pub fn answering(ttl: u32) -> impl Fn(&Message, bool) -> Script + Send + Sync {
    move |query, _| Script::Send(vec![reply(query, ResponseCode::NoError, vec![a("www.example.", ttl)])])
}

/// A client's query with RD set; with EDNS of that size if given.
pub fn query(name: &str, kind: RecordType, id: u16, edns: Option<u16>) -> Message {
    let mut message = Message::new(id, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(Name::from_ascii(name).expect("a name"), kind));
    if let Some(size) = edns {
        let mut edns = Edns::new();
        edns.set_max_payload(size);
        message.set_edns(edns);
    }
    message
}

/// Sends a query over UDP; returns the answer, which must have the query's id.
pub async fn ask(server: SocketAddr, query: &Message) -> Message {
    let bytes = ask_bytes(server, &query.to_vec().expect("encodes")).await;
    let answer = Message::from_vec(&bytes).expect("the answer decodes");
    assert_eq!(answer.metadata.id, query.metadata.id);
    answer
}

/// The same in bytes.
pub async fn ask_bytes(server: SocketAddr, query: &[u8]) -> Vec<u8> {
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("binds");
    socket.connect(server).await.expect("connects");
    socket.send(query).await.expect("sends");
    let mut buffer = vec![0; 65536];
    let length =
        timeout(PATIENCE, socket.recv(&mut buffer)).await.expect("an answer in time").expect("receives");
    buffer.truncate(length);
    buffer
}

/// A connection from that address of the loopback, with a small buffer for answers.
pub async fn connect_from(source: Ipv4Addr, server: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(4096).expect("a small buffer, which is full soon");
    socket.bind((source, 0).into()).expect("binds");
    socket.connect(server).await.expect("connects")
}

/// The peak memory of the proxy, in KiB.
pub fn most_memory(proxy: &Proxy) -> u64 {
    let id = proxy.child.id().expect("still running");
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).expect("of a process of ours");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("in every status");
    line.split_whitespace().next().expect("a figure").parse().expect("a number")
}

/// How often that limit was reached.
pub async fn limit_reached(proxy: &Proxy, limit: &str) -> u64 {
    proxy.metric(&format!("podlocal_dns_limits_reached_total{{limit=\"{limit}\"}}")).await
}

/// Sends a query over TCP.
pub async fn ask_tcp(server: SocketAddr, query: &Message) -> Message {
    let mut stream = TcpStream::connect(server).await.expect("connects");
    write_frame(&mut stream, &query.to_vec().expect("encodes")).await;
    let bytes = timeout(PATIENCE, read_frame(&mut stream)).await.expect("an answer in time").expect("reads");
    Message::from_vec(&bytes).expect("the answer decodes")
}

/// Reads one message of a stream.
pub async fn read_frame(stream: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let length = stream.read_u16().await?;
    let mut bytes = vec![0; usize::from(length)];
    stream.read_exact(&mut bytes).await?;
    Ok(bytes)
}

/// Writes one message to a stream; the peer may have closed it.
pub async fn write_frame(stream: &mut TcpStream, bytes: &[u8]) {
    let length = u16::try_from(bytes.len()).expect("a DNS message");
    let _ = stream.write_all(&length.to_be_bytes()).await;
    let _ = stream.write_all(bytes).await;
}
