use super::*;
use std::time::Duration;

fn bind_socket(address: &str) -> (BatchSocket, SocketAddr) {
    let socket = std::net::UdpSocket::bind(address).expect("binds");
    socket.set_nonblocking(true).expect("non-blocking");
    let address = socket.local_addr().expect("an address");
    (BatchSocket::new(socket).expect("a runtime"), address)
}

fn client_of(server: SocketAddr) -> std::net::UdpSocket {
    let client = std::net::UdpSocket::bind((server.ip(), 0)).expect("binds");
    client.connect(server).expect("connects");
    client.set_read_timeout(Some(Duration::from_secs(5))).expect("a timeout");
    client
}

fn received(client: &std::net::UdpSocket) -> Vec<u8> {
    let mut buffer = [0; 4096];
    let length = client.recv(&mut buffer).expect("an answer");
    buffer[..length].to_vec()
}

/// Sends each datagram back to its sender, with a mark in front.
fn echo(socket: &BatchSocket) -> Batch {
    echo_to(socket, &mut Vec::new())
}

fn echo_to(socket: &BatchSocket, clients: &mut Vec<SocketAddr>) -> Batch {
    let answer = |bytes: &[u8], client: SocketAddr, out: &mut Vec<u8>| {
        clients.push(client);
        out.clear();
        out.push(b'>');
        out.extend_from_slice(bytes);
        true
    };
    socket.receive_and_answer(answer).expect("receives")
}

#[tokio::test]
async fn every_client_gets_its_own_answer_over_ipv4_and_ipv6() {
    let mut all = vec![bind_socket("127.0.0.1:0")];
    if std::net::UdpSocket::bind("[::1]:0").is_ok() {
        all.push(bind_socket("[::1]:0"));
    }
    for round in 0..3 {
        for (socket, address) in &all {
            let clients: Vec<_> = (0..5).map(|_| client_of(*address)).collect();
            for (number, client) in clients.iter().enumerate() {
                client.send(format!("{round} {number}").as_bytes()).expect("sends");
            }
            socket.readable().await;
            let mut seen = Vec::new();
            assert!(!echo_to(socket, &mut seen).is_full);
            let expected = clients.iter().map(|client| client.local_addr().expect("an address"));
            assert!(expected.eq(seen), "{clients:?}");
            for (number, client) in clients.iter().enumerate() {
                assert_eq!(received(client), format!(">{round} {number}").as_bytes());
            }
        }
    }
}

#[tokio::test]
async fn datagrams_beyond_a_batch_are_in_the_next_one() {
    let (socket, address) = bind_socket("127.0.0.1:0");
    let client = client_of(address);
    for number in 0..=limits::BATCH {
        client.send(&[number as u8]).expect("sends");
    }
    socket.readable().await;
    assert!(echo(&socket).is_full);
    socket.readable().await; // returns immediately
    assert!(!echo(&socket).is_full);
    for number in 0..=limits::BATCH {
        assert_eq!(received(&client), [b'>', number as u8]);
    }
}

#[tokio::test]
async fn a_datagram_that_is_too_long_is_cut_off() {
    let (socket, address) = bind_socket("127.0.0.1:0");
    let client = client_of(address);
    for message in [vec![1; MAX_QUERY_BYTES + 1], vec![2; MAX_QUERY_BYTES], vec![]] {
        client.send(&message).expect("sends");
    }
    socket.readable().await;
    echo(&socket);
    let lengths = [(); 3].map(|()| received(&client).len());
    assert_eq!(lengths, [MAX_QUERY_BYTES + 1, MAX_QUERY_BYTES + 1, 1]);
}

#[tokio::test]
async fn an_answer_that_cannot_be_sent_delays_no_other() {
    let (socket, address) = bind_socket("127.0.0.1:0");
    let client = client_of(address);
    let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
    let here = client.local_addr().expect("an address");
    let mut to = [nowhere, here, nowhere, here].into_iter();
    let batch = socket.send(|out| {
        out.clear();
        out.push(b'x');
        to.next()
    });
    assert!(!batch.is_full && batch.unsent.is_empty());
    socket.send_unsent(vec![(vec![b'y'], nowhere), (vec![b'z'], here)]).await;
    assert_eq!([(); 3].map(|()| received(&client)), [b"x", b"x", b"z"]);
}
