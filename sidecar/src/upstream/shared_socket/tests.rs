use podlocal_dns::wire::{self, Flags, HEADER_LENGTH};

use super::queries::Delivery;
use super::*;
use crate::upstream::outgoing::Link as _;
use std::time::Duration;
use tokio::time::timeout;

/// A server, a shared socket that is connected to it, and the id of the query that was answered on it.
async fn shared() -> (UdpSocket, Arc<SharedSocket>, u16) {
    let server = UdpSocket::bind("127.0.0.1:0").await.expect("binds");
    let address = server.local_addr().expect("an address");
    let (metrics, recovered) = (Arc::new(Metrics::new().0), watch::Sender::new(None));
    let mut first = 0;
    let write = |id, out: &mut Vec<u8>| (first, *out) = (id, message(id, "first", Flags::RD));
    let slot = Some(Arc::default());
    let (shared, index) =
        SharedSocket::open(address, slot, write, recovered.subscribe(), &metrics, Instant::now())
            .expect("a socket");
    let mut ticket = shared.ticket(index, &question("first"));
    server.recv(&mut [0; 512]).await.expect("receives");
    answer(&server, &shared, first, "first").await;
    datagram(&mut ticket).await;
    ticket.mark_answered(false);
    (server, shared, first)
}

fn question(name: &str) -> Vec<u8> {
    wire::question(&wire::name_from_text(name).expect("a name"), 1, 1)
}

fn message(id: u16, name: &str, flags: u16) -> Vec<u8> {
    let mut message = vec![0; HEADER_LENGTH];
    wire::put_header(&mut message, id, Flags(flags));
    wire::put_counts(&mut message, 1, [0; 3]);
    message.extend(question(name));
    message
}

/// The id and the index of the query.
fn send(shared: &SharedSocket, name: &str) -> Option<(u16, usize)> {
    let mut used = 0;
    let write = |id, out: &mut Vec<u8>| (used, *out) = (id, message(id, name, Flags::RD));
    let index = shared.send(write, Instant::now()).expect("random")?;
    Some((used, index))
}

fn ask(shared: &Arc<SharedSocket>, name: &str) -> (u16, Ticket) {
    let (id, index) = send(shared, name).expect("it is shared");
    (id, shared.ticket(index, &question(name)))
}

async fn answer(server: &UdpSocket, shared: &SharedSocket, id: u16, name: &str) {
    let to = shared.socket.local_addr().expect("an address");
    server.send_to(&message(id, name, Flags::QR), to).await.expect("sends");
}

async fn arrived(ticket: &mut Ticket) -> Option<Delivery> {
    timeout(Duration::from_millis(200), ticket.receive()).await.ok()
}

async fn datagram(ticket: &mut Ticket) -> Vec<u8> {
    match arrived(ticket).await {
        Some(Ok(Arrival::Message(datagram))) => datagram,
        other => panic!("a datagram, not {other:?}"),
    }
}

#[tokio::test]
async fn each_query_gets_the_answer_with_its_id_in_any_order() {
    let (server, shared, _) = shared().await;
    let mut asked: Vec<_> = (0..20).map(|number| ask(&shared, &format!("n{number}"))).collect();
    for (number, (id, _)) in asked.iter().enumerate().rev() {
        answer(&server, &shared, *id, &format!("n{number}")).await;
    }
    for (number, (id, ticket)) in asked.iter_mut().enumerate() {
        let datagram = datagram(ticket).await;
        assert_eq!(datagram, message(*id, &format!("n{number}"), Flags::QR));
    }
}

#[tokio::test]
async fn ids_are_used_once_and_queries_per_socket_are_limited() {
    let (_server, shared, _) = shared().await;
    let asked: Vec<_> = (1..limits::UPSTREAM_SOCKET_QUESTIONS).map(|_| ask(&shared, "a")).collect();
    let different: std::collections::HashSet<_> = asked.iter().map(|(id, _)| id).collect();
    assert_eq!(different.len(), limits::UPSTREAM_SOCKET_QUESTIONS - 1);
    assert_eq!(send(&shared, "a"), None);
}

#[tokio::test]
async fn a_late_answer_is_no_near_miss_for_the_same_question() {
    let (server, shared, _) = shared().await;
    let (first, mut ticket) = ask(&shared, "a");
    let (_, mut other) = ask(&shared, "b");
    answer(&server, &shared, first, "a").await;
    datagram(&mut ticket).await;
    drop(ticket);
    let (_, mut again) = ask(&shared, "a");
    answer(&server, &shared, first, "a").await;
    assert!(arrived(&mut again).await.is_none() && arrived(&mut other).await.is_none());
    assert!(!shared.lock().is_retired);
}

#[tokio::test]
async fn a_wrong_id_goes_to_its_question_and_ends_the_sharing() {
    let (server, shared, first) = shared().await;
    let ((one, mut asked), (other, mut beside)) = (ask(&shared, "a"), ask(&shared, "b"));
    let wrong = (1..=4).find(|id| ![first, one, other].contains(id)).expect("one is left");
    answer(&server, &shared, wrong, "c").await;
    answer(&server, &shared, wrong, "A").await;
    assert!(matches!(arrived(&mut asked).await, Some(Ok(Arrival::NearMisses(1)))));
    assert!(arrived(&mut beside).await.is_none());
    assert_eq!(send(&shared, "a"), None);
}

#[tokio::test]
async fn undelivered_datagrams_are_reported_to_their_queries() {
    let (server, shared, _) = shared().await;
    let (_, mut before) = ask(&shared, "a");
    let mut buffer = [0; 512];
    server.recv(&mut buffer).await.expect("receives");
    drop(server);
    let (_, mut after) = ask(&shared, "b");
    let refused = arrived(&mut after).await;
    let is_refused = |error: &io::Error| error.kind() == io::ErrorKind::ConnectionRefused;
    assert!(matches!(&refused, Some(Err(error)) if is_refused(error)), "{refused:?}");
    assert!(arrived(&mut before).await.is_none(), "it was received");
}

#[tokio::test]
async fn a_socket_on_which_the_server_is_silent_is_retired() {
    let (server, shared, _) = shared().await;
    let (id, mut ticket) = ask(&shared, "a");
    let (_, unanswered) = ask(&shared, "b");
    answer(&server, &shared, id, "a").await;
    datagram(&mut ticket).await;
    drop(unanswered);
    assert!(!shared.lock().is_retired, "something came after it was sent");
    drop(ask(&shared, "c"));
    assert!(shared.lock().is_retired);
}

#[tokio::test]
async fn the_reader_of_a_retired_socket_ends_with_its_last_query() {
    let (_server, shared, _) = shared().await;
    let (_, ticket) = ask(&shared, "a");
    tokio::task::yield_now().await;
    shared.retire();
    assert_eq!(Arc::strong_count(&shared), 3, "of the test, of the reader, of the query");
    drop(ticket);
    while Arc::strong_count(&shared) > 1 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn each_near_miss_counts_in_order_with_the_answer() {
    let (server, shared, first) = shared().await;
    let (id, mut ticket) = ask(&shared, "a");
    let wrong: Vec<_> = (1..=102).filter(|wrong| ![first, id].contains(wrong)).take(100).collect();
    for wrong in &wrong {
        answer(&server, &shared, *wrong, "a").await;
    }
    answer(&server, &shared, id, "a").await;
    answer(&server, &shared, wrong[0], "a").await;
    let mut before = 0;
    let answered = loop {
        match arrived(&mut ticket).await.expect("arrived") {
            Ok(Arrival::NearMisses(count)) => before += count,
            other => break other,
        }
    };
    assert!(before == 100 && matches!(answered, Ok(Arrival::Message(_))), "{before}, {answered:?}");
    assert!(matches!(arrived(&mut ticket).await, Some(Ok(Arrival::NearMisses(1)))));
}
