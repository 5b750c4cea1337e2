//! Queries over real sockets, with a server on the loopback.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use podlocal_dns::wire::{self, Flags, Message};
use tokio::net::UdpSocket;
use tokio::task::JoinSet;

use super::*;

/// A server, and sockets to it.
async fn start() -> (UdpSocket, Arc<Sockets>) {
    let server = UdpSocket::bind("127.0.0.1:0").await.expect("binds");
    let addresses = [server.local_addr().expect("an address")];
    let sockets = Sockets::new(&addresses, 0, watch::Sender::new(None), Metrics::new().0);
    (server, Arc::new(sockets.expect("random")))
}

/// Answers so many queries, each with the datagrams that are made of the response; returns the ids by port.
async fn serve(
    server: &UdpSocket,
    count: usize,
    datagrams: impl Fn(usize, Vec<u8>) -> Vec<Vec<u8>>,
) -> HashMap<u16, Vec<u16>> {
    let mut ids: HashMap<u16, Vec<u16>> = HashMap::new();
    for number in 0..count {
        let mut response = vec![0; 512];
        let (length, from) = server.recv_from(&mut response).await.expect("receives");
        response.truncate(length);
        ids.entry(from.port()).or_default().push(Message::new(&response).expect("a message").id());
        wire::set_flag(&mut response, Flags::QR);
        for datagram in datagrams(number, response) {
            server.send_to(&datagram, from).await.expect("sends");
        }
    }
    ids
}

fn key(number: usize) -> Key {
    let name = wire::name_from_text(&format!("n{number}.example")).expect("a name");
    Key::new(&wire::question(&name, 1, 1), Flags(Flags::RD), false)
}

#[tokio::test]
async fn a_busy_server_is_queried_from_many_ports_with_unique_ids() {
    const WAVES: usize = 60;
    const AT_A_TIME: usize = 50;
    const UDP: Target = Target { server: 0, transport: Transport::Udp };
    let (server, sockets) = start().await;
    let served =
        tokio::spawn(async move { serve(&server, WAVES * AT_A_TIME, |_, response| vec![response]).await });
    for wave in 0..WAVES {
        let mut asking = JoinSet::new();
        for number in 0..AT_A_TIME {
            let sockets = Arc::clone(&sockets);
            let key = key(wave * AT_A_TIME + number);
            asking.spawn(async move { sockets.ask(UDP, &key, number == 0).await });
        }
        assert!(asking.join_all().await.iter().all(Result::is_ok));
    }
    let ids = served.await.expect("served");
    for (port, ids) in &ids {
        let different: HashSet<_> = ids.iter().collect();
        assert_eq!(different.len(), ids.len(), "port {port}");
    }
    // The kernel may give a new socket the port of a closed one: one of some 100 ports among 28,000.
    let crowded = ids.values().filter(|ids| ids.len() > limits::UPSTREAM_SOCKET_QUESTIONS).count();
    assert!(crowded <= 2, "{crowded} ports with more questions than a socket may send");
    let shared = ids.values().filter(|ids| ids.len() > 1).count();
    let new = ids.values().filter(|ids| ids.len() == 1).count();
    assert!(shared >= WAVES * AT_A_TIME / limits::UPSTREAM_SOCKET_QUESTIONS, "{shared} shared sockets");
    assert!(new >= WAVES, "a retransmission goes on a new socket: {new}");
    let all: HashSet<_> = ids.values().flatten().collect();
    // 3,000 draws of 65,536 leave about 2,932 different ones, give or take 8.
    assert!(all.len() > 2_860, "{} different ids", all.len());
}

#[tokio::test]
async fn a_socket_that_received_a_near_miss_is_not_shared() {
    const QUERIES: usize = 4;
    let (server, sockets) = start().await;
    // Uses up the fallbacks to TCP.
    while let NearMissAction::RetryOverTcp = sockets.paths[0].lock().tcp_fallbacks.on_near_miss(1) {}
    // The server is busy from the second query on, on whose socket a near miss arrives.
    let served = serve(&server, QUERIES, |number, response| {
        let mut wrong = response.clone();
        wrong[0] ^= 1;
        if number == 1 { vec![wrong, response] } else { vec![response] }
    });
    let now = Instant::now();
    let asked = async {
        for number in 0..QUERIES {
            let key = key(number);
            let mut query = sockets.query(0, &key, false, now).expect("random");
            let (shared, index) = sockets.send(0, &mut query, false, now).expect("sends");
            let ticket = shared.ticket(index, key.question());
            drop(shared);
            sockets.response(0, &mut query, ticket).await.expect("answered");
        }
    };
    let (ids, ()) = tokio::join!(served, asked);
    let mut queries: Vec<_> = ids.values().map(Vec::len).collect();
    queries.sort_unstable();
    assert_eq!(queries, [1, 1, 2], "only the third socket is shared");
}
