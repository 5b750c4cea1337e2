//! A DNS server that follows a script.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hickory_proto::op::Message;
use tokio::net::{TcpListener, UdpSocket};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{sleep, timeout};

use super::{PATIENCE, encode, queried_name, read_frame, write_frame};

/// What the scripted upstream does with one query.
pub enum Script {
    /// Sends this, with the query's id put into it if its id is 0.
    Send(Message),
    /// Sends this after that time.
    Later(Duration, Message),
    /// Sends these bytes, each a datagram or a frame, as they are.
    Bytes(Vec<Vec<u8>>),
    /// Sends the first, over UDP from another port, then the second from the right one.
    FromElsewhere(Message, Message),
    /// Sends nothing.
    Silence,
    /// Over TCP: sends this if it is the connection's first answer, and otherwise closes without an answer.
    OncePerConnection(Message),
    /// Over TCP: sends this if it is the connection's first answer, and otherwise never sends anything again.
    DeadAfterwards(Message),
    /// Over TCP: closes without an answer.
    Close,
}

impl From<Message> for Script {
    fn from(message: Message) -> Self {
        Self::Send(message)
    }
}

/// The script gets the query and whether it came over TCP.
type Rules = Arc<dyn Fn(&Message, bool) -> Script + Send + Sync>;

/// A DNS server that follows a script and records its queries, UDP and TCP on one port.
pub struct Upstream {
    pub address: SocketAddr,
    seen: Arc<Seen>,
    tasks: [AbortHandle; 2],
}

#[derive(Default)]
struct Seen {
    /// The names of the queries, as they were sent, and whether they came over TCP.
    queries: Mutex<Vec<(String, bool)>>,
    connections: AtomicUsize,
}

impl Seen {
    /// Records a query. One that the typed decoder does not know comes from a client, and has no name here.
    fn record(&self, query: Option<&Message>, by_tcp: bool) {
        let name = query.map(queried_name).unwrap_or_default();
        self.queries.lock().expect("no panic").push((name, by_tcp));
    }

    /// The number of queries over that transport that are no probes.
    fn count(&self, over_tcp: bool) -> usize {
        let is_probe = |name: &str| name.to_lowercase().contains(".podlocal-dns-probe.");
        let queries = self.queries.lock().expect("no panic");
        queries.iter().filter(|(name, by_tcp)| *by_tcp == over_tcp && !is_probe(name)).count()
    }
}

impl Upstream {
    /// Starts a server. The script gets the query and whether it came over TCP.
    pub async fn start<S: Into<Script>>(
        script: impl Fn(&Message, bool) -> S + Send + Sync + 'static,
    ) -> Self {
        Self::start_at(SocketAddr::from(([127, 0, 0, 1], 0)), script).await
    }

    /// Starts a server at an address that another one had: waits until the address is free.
    pub async fn start_at<S: Into<Script>>(
        address: SocketAddr,
        script: impl Fn(&Message, bool) -> S + Send + Sync + 'static,
    ) -> Self {
        let bound = async {
            loop {
                if let Ok(socket) = UdpSocket::bind(address).await
                    && let Ok(listener) = TcpListener::bind(socket.local_addr().expect("an address")).await
                {
                    return (Arc::new(socket), listener);
                }
                sleep(Duration::from_millis(10)).await;
            }
        };
        let (socket, listener) = timeout(PATIENCE, bound).await.expect("the address becomes free");
        let address = socket.local_addr().expect("an address");
        let seen = Arc::new(Seen::default());
        let script: Rules = Arc::new(move |query, by_tcp| script(query, by_tcp).into());
        let udp = tokio::spawn(serve_udp(socket, Arc::clone(&script), Arc::clone(&seen)));
        let tcp = tokio::spawn(serve_tcp(listener, script, Arc::clone(&seen)));
        Self { address, seen, tasks: [udp.abort_handle(), tcp.abort_handle()] }
    }

    /// The number of queries, without probes.
    pub fn asked(&self) -> usize {
        self.asked_by_udp() + self.asked_by_tcp()
    }

    /// The number of queries over UDP.
    pub fn asked_by_udp(&self) -> usize {
        self.seen.count(false)
    }

    /// The number of queries over TCP.
    pub fn asked_by_tcp(&self) -> usize {
        self.seen.count(true)
    }

    /// The number of TCP connections.
    pub fn connections(&self) -> usize {
        self.seen.connections.load(Ordering::SeqCst)
    }

    /// The names of all queries, as they were sent.
    pub fn names(&self) -> Vec<String> {
        self.seen.queries.lock().expect("no panic").iter().map(|(name, _)| name.clone()).collect()
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}

async fn serve_udp(socket: Arc<UdpSocket>, script: Rules, seen: Arc<Seen>) {
    let mut buffer = vec![0; 65536];
    let mut answering = JoinSet::new();
    loop {
        // An answer to a closed port comes back as an error here.
        let Ok((length, client)) = socket.recv_from(&mut buffer).await else { continue };
        // A client's rare class or type is forwarded; the typed decoder does not know them all.
        let query = Message::from_vec(&buffer[..length]);
        seen.record(query.as_ref().ok(), false);
        let Ok(query) = query else { continue };
        let (script, socket) = (script(&query, false), Arc::clone(&socket));
        answering.spawn(async move {
            let script = match script {
                Script::FromElsewhere(forged, answer) => {
                    let elsewhere = UdpSocket::bind("127.0.0.1:0").await.expect("binds");
                    let _ = elsewhere.send_to(&encode(forged, &query), client).await;
                    Script::Send(answer)
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
async fn serve_tcp(listener: TcpListener, script: Rules, seen: Arc<Seen>) {
    let mut connections = JoinSet::new();
    loop {
        let (mut stream, _) = listener.accept().await.expect("accepts");
        seen.connections.fetch_add(1, Ordering::SeqCst);
        let (script, seen) = (Arc::clone(&script), Arc::clone(&seen));
        connections.spawn(async move {
            let mut is_first = true;
            while let Ok(bytes) = read_frame(&mut stream).await {
                let query = Message::from_vec(&bytes);
                seen.record(query.as_ref().ok(), true);
                let Ok(query) = query else { continue };
                let script = script(&query, true);
                let script = match (script, is_first) {
                    (Script::Close, _) | (Script::OncePerConnection(_), false) => return,
                    (Script::DeadAfterwards(_), false) => Script::Silence,
                    (script, _) => script,
                };
                is_first = false;
                for answer in answers(script, &query).await {
                    write_frame(&mut stream, &answer).await;
                }
            }
        });
        while connections.try_join_next().is_some() {}
    }
}

async fn answers(script: Script, query: &Message) -> Vec<Vec<u8>> {
    let message = match script {
        Script::Bytes(bytes) => return bytes,
        Script::Silence | Script::Close => return Vec::new(),
        Script::Later(time, message) => {
            sleep(time).await;
            message
        }
        Script::Send(message)
        | Script::DeadAfterwards(message)
        | Script::FromElsewhere(_, message)
        | Script::OncePerConnection(message) => message,
    };
    vec![encode(message, query)]
}
