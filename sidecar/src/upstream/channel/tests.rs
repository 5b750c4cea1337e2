use super::*;
use crate::wire::{self, Flags, HEADER_LENGTH};
use std::time::Duration;
use tokio::time::timeout;

/// A server, and a socket to it that is shared.
async fn shared() -> (UdpSocket, Arc<Channel>) {
    let server = UdpSocket::bind("127.0.0.1:0").await.expect("binds");
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("binds");
    socket.connect(server.local_addr().expect("an address")).await.expect("connects");
    let channel = Channel::share(socket, 0, &Arc::default(), &Metrics::new().0, Instant::now());
    (server, channel)
}

fn message(id: u16, name: &str, flags: u16) -> Vec<u8> {
    let mut message = vec![0; HEADER_LENGTH];
    wire::put_header(&mut message, id, Flags(flags));
    wire::put_counts(&mut message, 1, [0; 3]);
    message.extend(wire::question(&wire::name_from_text(name).expect("a name"), 1, 1));
    message
}

fn ask(channel: &Arc<Channel>, name: &str) -> (u16, Ticket) {
    let mut given = 0;
    let write = |id| {
        given = id;
        message(id, name, Flags::RD)
    };
    let ticket = channel.ask(write, Instant::now()).expect("random").expect("it is shared");
    (given, ticket)
}

async fn answer(server: &UdpSocket, channel: &Channel, id: u16, name: &str) {
    let to = channel.socket.local_addr().expect("an address");
    server.send_to(&message(id, name, Flags::QR), to).await.expect("sends");
}

async fn arrived(ticket: &mut Ticket) -> Option<Arrived> {
    timeout(Duration::from_millis(200), ticket.arrived()).await.ok()
}

#[tokio::test]
async fn each_question_gets_the_answer_with_its_id_in_whatever_order() {
    let (server, channel) = shared().await;
    let mut asked: Vec<_> = (0..20).map(|number| ask(&channel, &format!("n{number}"))).collect();
    for (number, (id, _)) in asked.iter().enumerate().rev() {
        answer(&server, &channel, *id, &format!("n{number}")).await;
    }
    for (number, (id, ticket)) in asked.iter_mut().enumerate() {
        let datagram = arrived(ticket).await.expect("arrived").expect("a datagram");
        assert_eq!(datagram, message(*id, &format!("n{number}"), Flags::QR));
    }
}

#[tokio::test]
async fn an_id_is_given_once_and_a_socket_has_so_many_questions() {
    let (_server, channel) = shared().await;
    let asked: Vec<_> = (1..limits::UPSTREAM_SOCKET_QUESTIONS).map(|_| ask(&channel, "a")).collect();
    let different: std::collections::HashSet<_> = asked.iter().map(|(id, _)| id).collect();
    assert_eq!(different.len(), limits::UPSTREAM_SOCKET_QUESTIONS - 1);
    let write = |id| message(id, "a", Flags::RD);
    assert!(channel.ask(write, Instant::now()).expect("random").is_none());
}

#[tokio::test]
async fn a_late_answer_is_no_near_miss_for_the_same_question() {
    let (server, channel) = shared().await;
    let (first, mut ticket) = ask(&channel, "a");
    let (_, mut other) = ask(&channel, "b");
    answer(&server, &channel, first, "a").await;
    arrived(&mut ticket).await.expect("arrived").expect("a datagram");
    drop(ticket);
    let (_, mut again) = ask(&channel, "a");
    answer(&server, &channel, first, "a").await;
    assert!(arrived(&mut again).await.is_none() && arrived(&mut other).await.is_none());
    assert!(!channel.lock().is_retired());
}

#[tokio::test]
async fn a_wrong_id_goes_to_the_question_that_it_is_about_and_ends_the_sharing() {
    let (server, channel) = shared().await;
    let ((one, mut asked), (other, mut beside)) = (ask(&channel, "a"), ask(&channel, "b"));
    let wrong = (1..=3).find(|id| ![one, other].contains(id)).expect("one is left");
    answer(&server, &channel, wrong, "c").await;
    answer(&server, &channel, wrong, "A").await;
    assert_eq!(
        arrived(&mut asked).await.expect("arrived").expect("a datagram"),
        message(wrong, "A", Flags::QR)
    );
    assert!(arrived(&mut beside).await.is_none());
    let write = |id| message(id, "a", Flags::RD);
    assert!(channel.ask(write, Instant::now()).expect("random").is_none());
}

#[tokio::test]
async fn where_nobody_listens_any_more_those_are_told_whose_datagrams_did_not_arrive() {
    let (server, channel) = shared().await;
    let (_, mut before) = ask(&channel, "a");
    let mut buffer = [0; 512];
    server.recv(&mut buffer).await.expect("receives");
    drop(server);
    let (_, mut after) = ask(&channel, "b");
    let error = arrived(&mut after).await.expect("arrived").expect_err("nobody is there");
    assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    assert!(arrived(&mut before).await.is_none(), "it was received");
}

#[tokio::test]
async fn a_socket_on_which_the_server_is_silent_gets_no_further_questions() {
    let (server, channel) = shared().await;
    let (id, mut ticket) = ask(&channel, "a");
    let (_, unanswered) = ask(&channel, "b");
    answer(&server, &channel, id, "a").await;
    arrived(&mut ticket).await.expect("arrived").expect("a datagram");
    drop(unanswered);
    assert!(!channel.lock().is_retired(), "something came after it was sent");
    drop(ask(&channel, "c"));
    assert!(channel.lock().is_retired());
}

#[tokio::test]
async fn the_reader_ends_with_the_last_question_of_a_socket_that_is_retired() {
    let (_server, channel) = shared().await;
    let (_, ticket) = ask(&channel, "a");
    tokio::task::yield_now().await;
    channel.retire();
    assert_eq!(Arc::strong_count(&channel), 3, "ours, the reader's, the question's");
    drop(ticket);
    while Arc::strong_count(&channel) > 1 {
        tokio::task::yield_now().await;
    }
}
