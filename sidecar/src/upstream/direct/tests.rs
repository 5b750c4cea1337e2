//! Exchanges without a task, with a server on the loopback.

use podlocal_dns::wire::{self, Flags, Message, Rcode};

use super::*;
use crate::metrics::Metrics;
use podlocal_settings::Settings;
use std::time::Duration;
use tokio::net::UdpSocket;
use tokio::runtime::Handle;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::{sleep, timeout};

/// What a continuation was told.
#[derive(Debug, PartialEq, Eq)]
enum Told {
    Answered(Rcode),
    /// A task continued, and ended like this.
    Continued(Option<Rcode>),
}

struct Teller(UnboundedSender<Told>);

impl Continuation for Teller {
    fn answered(self, response: &[u8], _now: Instant) {
        let _ = self.0.send(Told::Answered(rcode(response)));
    }

    fn continue_with(self, rest: impl Future<Output = Result<Vec<u8>, Failed>> + Send + 'static) {
        tokio::spawn(async move {
            let outcome = rest.await;
            let _ = self.0.send(Told::Continued(outcome.ok().map(|response| rcode(&response))));
        });
    }
}

fn rcode(response: &[u8]) -> Rcode {
    Message::new(response).expect("a response").rcode()
}

fn key(name: &str) -> Arc<Key> {
    let name = wire::name_from_text(name).expect("a name");
    Arc::new(Key::new(&wire::question(&name, 1, 1), Flags(Flags::RD), false))
}

struct Bench {
    servers: Servers,
    told: UnboundedReceiver<Told>,
    teller: UnboundedSender<Told>,
}

impl Bench {
    /// Exchanges with a server that sends what `script` makes of a query.
    async fn new(mut script: impl FnMut(&[u8]) -> Vec<Vec<u8>> + Send + 'static) -> Self {
        let server = UdpSocket::bind("127.0.0.1:0").await.expect("binds");
        let address = server.local_addr().expect("an address");
        tokio::spawn(async move {
            let mut buffer = [0; 512];
            loop {
                let (length, client) = server.recv_from(&mut buffer).await.expect("receives");
                for response in script(&buffer[..length]) {
                    server.send_to(&response, client).await.expect("sends");
                }
            }
        });
        let servers = Servers::start(&[address], &Settings::defaults(), &Metrics::new().0).expect("random");
        let (teller, told) = unbounded_channel();
        Self { servers, told, teller }
    }

    fn begin(&self, name: &str) {
        begin(self.servers.clone(), key(name), None, Instant::now(), Teller(self.teller.clone()));
    }

    async fn told(&mut self) -> Told {
        let told = timeout(Duration::from_secs(5), self.told.recv()).await;
        told.expect("the continuation is called").expect("it is")
    }
}

/// The query as a response with these flags.
fn response(query: &[u8], flags: u16) -> Vec<u8> {
    let message = Message::new(query).expect("a query");
    let (id, end) = (message.id(), wire::HEADER_LENGTH + message.question_length());
    let mut response = query[..end].to_vec();
    wire::put_header(&mut response, id, Flags(Flags::QR | flags));
    wire::put_counts(&mut response, 1, [0; 3]);
    response
}

#[tokio::test]
async fn only_a_good_answer_needs_no_task() {
    type Script = fn(&[u8]) -> Vec<Vec<u8>>;
    let large: Script = |query| {
        let mut large = response(query, 0);
        large.resize(limits::UPSTREAM_DIRECT_ANSWER + 1, 0);
        vec![large]
    };
    let rows: [(&str, Script, Told); 5] = [
        ("NOERROR", |query| vec![response(query, 0)], Told::Answered(Rcode::NO_ERROR)),
        ("NXDOMAIN", |query| vec![response(query, 3)], Told::Answered(Rcode::NXDOMAIN)),
        ("no message", |query| vec![vec![0; 5], response(query, 0)], Told::Answered(Rcode::NO_ERROR)),
        ("a large answer", large, Told::Continued(Some(Rcode::NO_ERROR))),
        ("SERVFAIL", |query| vec![response(query, 2)], Told::Continued(Some(Rcode::SERVFAIL))),
    ];
    for (what, script, expected) in rows {
        let mut bench = Bench::new(script).await;
        bench.begin("a.example");
        assert_eq!(bench.told().await, expected, "{what}");
    }
    // After a wrong id the query goes over TCP, where nobody answers: it is not answered by what follows.
    let bench = Bench::new(|query| {
        let mut wrong = response(query, 0);
        wrong[0] ^= 1;
        vec![wrong, response(query, 0)]
    });
    let mut bench = bench.await;
    bench.begin("a.example");
    assert!(timeout(Duration::from_millis(200), bench.told.recv()).await.is_err());
}

#[tokio::test]
async fn a_task_retransmits_a_lost_query() {
    let is_lost = |query: &[u8]| query.windows(5).any(|part| part == b"\x04lost");
    let mut lost = false;
    let bench = Bench::new(move |query| {
        let loses = is_lost(query) && !std::mem::replace(&mut lost, true);
        if loses { Vec::new() } else { vec![response(query, 0)] }
    });
    let mut bench = bench.await;
    // With enough answers the server is known to be fast.
    for number in 0..20 {
        bench.begin(&format!("n{number}.example"));
        assert_eq!(bench.told().await, Told::Answered(Rcode::NO_ERROR));
    }
    bench.begin("lost.example");
    bench.begin("other.example");
    assert_eq!(bench.told().await, Told::Answered(Rcode::NO_ERROR));
    assert_eq!(bench.told().await, Told::Continued(Some(Rcode::NO_ERROR)));
}

#[tokio::test]
async fn queries_to_a_silent_server_have_no_tasks_but_the_readers_of_sockets() {
    const QUERIES: usize = 50;
    let bench = Bench::new(|_| Vec::new()).await;
    sleep(limits::UPSTREAM_TICK).await; // the servers start tasks of their own
    let tasks = || Handle::current().metrics().num_alive_tasks();
    let before = tasks();
    (0..QUERIES).for_each(|number| bench.begin(&format!("n{number}.example")));
    sleep(10 * limits::UPSTREAM_TICK).await;
    assert_eq!(tasks() - before, QUERIES, "one socket for each, because none was answered");
}
