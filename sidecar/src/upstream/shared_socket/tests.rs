use super::*;
use crate::wire::{self, Flags, HEADER_LENGTH};
use std::time::Duration;
use tokio::time::timeout;

/// A server, and a shared socket that is connected to it.
async fn shared() -> (UdpSocket, Arc<SharedSocket>) {
    let server = UdpSocket::bind("127.0.0.1:0").await.expect("binds");
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("binds");
    socket.connect(server.local_addr().expect("an address")).await.expect("connects");
    let shared = SharedSocket::share(socket, 0, &Arc::default(), &Metrics::new().0, Instant::now());
    (server, shared)
}

fn message(id: u16, name: &str, flags: u16) -> Vec<u8> {
    let mut message = vec![0; HEADER_LENGTH];
    wire::put_header(&mut message, id, Flags(flags));
    wire::put_counts(&mut message, 1, [0; 3]);
    message.extend(wire::question(&wire::name_from_text(name).expect("a name"), 1, 1));
    message
}

fn ask(shared: &Arc<SharedSocket>, name: &str) -> (u16, Ticket) {
    let mut given = 0;
    let write = |id| {
        given = id;
        message(id, name, Flags::RD)
    };
    let ticket = shared.ask(write, Instant::now()).expect("random").expect("it is shared");
    (given, ticket)
}

async fn answer(server: &UdpSocket, shared: &SharedSocket, id: u16, name: &str) {
    let to = shared.socket.local_addr().expect("an address");
    server.send_to(&message(id, name, Flags::QR), to).await.expect("sends");
}

async fn arrived(ticket: &mut Ticket) -> Option<Delivery> {
    timeout(Duration::from_millis(200), ticket.next_delivery()).await.ok()
}

#[tokio::test]
async fn each_query_gets_the_answer_with_its_id_in_any_order() {
    let (server, shared) = shared().await;
    let mut asked: Vec<_> = (0..20).map(|number| ask(&shared, &format!("n{number}"))).collect();
    for (number, (id, _)) in asked.iter().enumerate().rev() {
        answer(&server, &shared, *id, &format!("n{number}")).await;
    }
    for (number, (id, ticket)) in asked.iter_mut().enumerate() {
        let datagram = arrived(ticket).await.expect("arrived").expect("a datagram");
        assert_eq!(datagram, message(*id, &format!("n{number}"), Flags::QR));
    }
}

#[tokio::test]
async fn ids_are_used_once_and_queries_per_socket_are_limited() {
    let (_server, shared) = shared().await;
    let asked: Vec<_> = (1..limits::UPSTREAM_SOCKET_QUESTIONS).map(|_| ask(&shared, "a")).collect();
    let different: std::collections::HashSet<_> = asked.iter().map(|(id, _)| id).collect();
    assert_eq!(different.len(), limits::UPSTREAM_SOCKET_QUESTIONS - 1);
    let write = |id| message(id, "a", Flags::RD);
    assert!(shared.ask(write, Instant::now()).expect("random").is_none());
}

#[tokio::test]
async fn a_late_answer_is_no_near_miss_for_the_same_question() {
    let (server, shared) = shared().await;
    let (first, mut ticket) = ask(&shared, "a");
    let (_, mut other) = ask(&shared, "b");
    answer(&server, &shared, first, "a").await;
    arrived(&mut ticket).await.expect("arrived").expect("a datagram");
    drop(ticket);
    let (_, mut again) = ask(&shared, "a");
    answer(&server, &shared, first, "a").await;
    assert!(arrived(&mut again).await.is_none() && arrived(&mut other).await.is_none());
    assert!(!shared.lock().is_retired());
}

#[tokio::test]
async fn a_wrong_id_goes_to_its_question_and_ends_the_sharing() {
    let (server, shared) = shared().await;
    let ((one, mut asked), (other, mut beside)) = (ask(&shared, "a"), ask(&shared, "b"));
    let wrong = (1..=3).find(|id| ![one, other].contains(id)).expect("one is left");
    answer(&server, &shared, wrong, "c").await;
    answer(&server, &shared, wrong, "A").await;
    assert_eq!(
        arrived(&mut asked).await.expect("arrived").expect("a datagram"),
        message(wrong, "A", Flags::QR)
    );
    assert!(arrived(&mut beside).await.is_none());
    let write = |id| message(id, "a", Flags::RD);
    assert!(shared.ask(write, Instant::now()).expect("random").is_none());
}

#[tokio::test]
async fn undelivered_datagrams_are_reported_to_their_queries() {
    let (server, shared) = shared().await;
    let (_, mut before) = ask(&shared, "a");
    let mut buffer = [0; 512];
    server.recv(&mut buffer).await.expect("receives");
    drop(server);
    let (_, mut after) = ask(&shared, "b");
    let error = arrived(&mut after).await.expect("arrived").expect_err("nobody is there");
    assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    assert!(arrived(&mut before).await.is_none(), "it was received");
}

#[tokio::test]
async fn a_socket_on_which_the_server_is_silent_is_retired() {
    let (server, shared) = shared().await;
    let (id, mut ticket) = ask(&shared, "a");
    let (_, unanswered) = ask(&shared, "b");
    answer(&server, &shared, id, "a").await;
    arrived(&mut ticket).await.expect("arrived").expect("a datagram");
    drop(unanswered);
    assert!(!shared.lock().is_retired(), "something came after it was sent");
    drop(ask(&shared, "c"));
    assert!(shared.lock().is_retired());
}

#[tokio::test]
async fn the_reader_of_a_retired_socket_ends_with_its_last_query() {
    let (_server, shared) = shared().await;
    let (_, ticket) = ask(&shared, "a");
    tokio::task::yield_now().await;
    shared.retire();
    assert_eq!(Arc::strong_count(&shared), 3, "of the test, of the reader, of the query");
    drop(ticket);
    while Arc::strong_count(&shared) > 1 {
        tokio::task::yield_now().await;
    }
}
