//! Misbehaving TCP clients: their cost, and that all other clients are served.

mod support;

use std::net::Ipv4Addr;
use std::time::Duration;

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::rdata::{A, TXT};
use hickory_proto::rr::{RData, Record, RecordType};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{interval, sleep, timeout};

use support::{
    PATIENCE, Proxy, Script, Upstream, ask_tcp, connect_from, limit_reached, most_memory, query, read_frame,
    reply, write_frame,
};

/// An upstream that answers TXT with 60,000 bytes, over TCP, and A with an address, and is slow for names
/// that begin with "slow".
async fn upstream() -> Upstream {
    Upstream::start(|query, is_by_tcp| {
        let question = &query.queries[0];
        let record = |data| Record::from_rdata(question.name().clone(), 600, data);
        if question.query_type() != RecordType::TXT {
            let answer = reply(query, ResponseCode::NoError, vec![record(RData::A(A(Ipv4Addr::LOCALHOST)))]);
            let is_slow = question.name().to_string().starts_with("slow");
            let later = Duration::from_millis(500);
            return if is_slow { Script::Later(later, answer) } else { Script::Send(vec![answer]) };
        }
        if !is_by_tcp {
            let mut truncated = reply(query, ResponseCode::NoError, Vec::new());
            truncated.metadata.truncation = true;
            return Script::Send(vec![truncated]);
        }
        let text = |number: u32| record(RData::TXT(TXT::new(vec![format!("{number:0>250}")])));
        Script::Send(vec![reply(query, ResponseCode::NoError, (0..225).map(text).collect())])
    })
    .await
}

fn bytes(name: &str, record_type: RecordType, id: u16) -> Vec<u8> {
    query(name, record_type, id, None).to_vec().expect("encodes")
}

fn large() -> Vec<u8> {
    bytes("large.example.", RecordType::TXT, 1)
}

/// Sends a query over that connection; `None`: it is closed.
async fn ask_over(stream: &mut TcpStream) -> Option<Message> {
    write_frame(stream, &bytes("www.example.", RecordType::A, 9)).await;
    let answer = timeout(PATIENCE, read_frame(stream)).await.expect("an answer or an end, in time");
    answer.ok().map(|bytes| Message::from_vec(&bytes).expect("decodes"))
}

async fn is_served(proxy: &Proxy) {
    let answer = ask_tcp(proxy.dns, &query("www.example.", RecordType::A, 9, None)).await;
    assert_eq!(answer.answers.len(), 1);
}

const ONE: Ipv4Addr = Ipv4Addr::new(127, 0, 1, 1);
const OTHER: Ipv4Addr = Ipv4Addr::new(127, 0, 2, 1);

/// Clients that send 32 queries for 60,000 bytes, and read nothing: until the memory limit is reached, and a
/// moment longer.
async fn ask_and_never_read(proxy: &Proxy, sources: u8, of_each: usize) -> Vec<TcpStream> {
    let message = [&(large().len() as u16).to_be_bytes()[..], &large()].concat().repeat(32);
    let mut held = Vec::new();
    for source in 0..sources {
        for _ in 0..of_each {
            let mut stream = connect_from(Ipv4Addr::new(127, 1, source, 1), proxy.dns).await;
            stream.write_all(&message).await.expect("it is read, or waits in the kernel");
            held.push(stream);
        }
        is_served(proxy).await;
    }
    let mut beat = interval(Duration::from_millis(10));
    while limit_reached(proxy, "tcp_memory").await == 0 {
        beat.tick().await;
    }
    for _ in 0..20 {
        is_served(proxy).await;
    }
    held
}

#[tokio::test]
async fn clients_that_do_not_read_stay_within_the_memory_of_a_pod() {
    let upstream = upstream().await;
    let proxy = Proxy::start(&[upstream.address], &[]).await;
    ask_tcp(proxy.dns, &query("large.example.", RecordType::TXT, 1, None)).await;
    let before = most_memory(&proxy);
    let _held = ask_and_never_read(&proxy, 4, 25).await;
    let taken = most_memory(&proxy) - before;
    assert!(taken < 6 << 10, "{taken} KiB of 4 MiB, with what the allocator wastes");
}

#[tokio::test]
async fn clients_that_do_not_read_stay_within_the_memory_of_a_tier() {
    let upstream = upstream().await;
    let proxy =
        Proxy::start(&[upstream.address], &["--role", "shared", "--max-tcp-connections", "512"]).await;
    ask_tcp(proxy.dns, &query("large.example.", RecordType::TXT, 1, None)).await;
    let before = most_memory(&proxy);
    let _held = ask_and_never_read(&proxy, 16, 32).await;
    let taken = most_memory(&proxy) - before;
    assert!(taken < 16 << 10, "{taken} KiB of 12 MiB, with what the allocator wastes");
}

#[tokio::test]
async fn the_length_of_a_message_takes_no_memory_before_the_message() {
    let upstream = upstream().await;
    let proxy = Proxy::start(&[upstream.address], &["--role", "shared"]).await;
    is_served(&proxy).await;
    let before = most_memory(&proxy);
    let mut held = Vec::new();
    for source in 0..16 {
        for _ in 0..32 {
            let mut stream = connect_from(Ipv4Addr::new(127, 1, source, 1), proxy.dns).await;
            stream.write_all(&[0xff, 0xff]).await.expect("sends");
            held.push(stream);
        }
    }
    is_served(&proxy).await;
    let taken = most_memory(&proxy) - before;
    assert!(taken < 3 << 10, "{taken} KiB for 512 connections");
    assert_eq!(limit_reached(&proxy, "tcp_memory").await, 0);
    drop(held);
}

#[tokio::test]
async fn connections_with_incomplete_messages_are_closed_for_others() {
    let upstream = upstream().await;
    let proxy = Proxy::start(&[upstream.address], &[]).await;
    is_served(&proxy).await;
    let before = most_memory(&proxy);
    let mut half = vec![0xff; 2];
    half.resize(60_000, 0);
    let mut held = Vec::new();
    for _ in 0..100 {
        let mut stream = connect_from(ONE, proxy.dns).await;
        stream.write_all(&half).await.expect("it is read");
        held.push(stream);
    }
    is_served(&proxy).await;
    let taken = most_memory(&proxy) - before;
    assert!(taken < 6 << 10, "{taken} KiB of 4 MiB, with what the allocator wastes");
    assert!(limit_reached(&proxy, "tcp_memory").await > 0);
}

#[tokio::test]
async fn a_new_connection_takes_the_place_of_the_one_that_was_idle_longest() {
    let upstream = upstream().await;
    let proxy = Proxy::start(&[upstream.address], &["--max-tcp-connections", "3"]).await;
    let mut open = Vec::new();
    for _ in 0..3 {
        let mut stream = connect_from(ONE, proxy.dns).await;
        assert!(ask_over(&mut stream).await.is_some());
        open.push(stream);
    }
    assert!(ask_over(&mut open[0]).await.is_some(), "it is used again");
    let mut new = connect_from(OTHER, proxy.dns).await;
    assert!(ask_over(&mut new).await.is_some());
    assert!(ask_over(&mut open[1]).await.is_none());
    assert!(ask_over(&mut open[0]).await.is_some() && ask_over(&mut open[2]).await.is_some());
    assert_eq!(limit_reached(&proxy, "tcp_connections").await, 1);
}

#[tokio::test]
async fn a_connection_with_a_query_in_flight_is_not_closed_for_another() {
    let upstream = upstream().await;
    let proxy = Proxy::start(&[upstream.address], &["--max-tcp-connections", "2"]).await;
    let mut open = Vec::new();
    for name in ["slow-1.example.", "slow-2.example."] {
        let mut stream = connect_from(ONE, proxy.dns).await;
        write_frame(&mut stream, &bytes(name, RecordType::A, 1)).await;
        open.push(stream);
    }
    while upstream.asked() < 2 {
        tokio::task::yield_now().await;
    }
    // It may be closed before the client knows that it is open.
    if let Ok(mut new) = TcpStream::connect(proxy.dns).await {
        assert!(ask_over(&mut new).await.is_none());
    }
    assert_eq!(limit_reached(&proxy, "tcp_connections").await, 1);
    for stream in &mut open {
        timeout(PATIENCE, read_frame(stream)).await.expect("in time").expect("its answer");
    }
}

#[tokio::test]
async fn a_client_that_ends_its_side_first_gets_every_answer() {
    let upstream = upstream().await;
    let proxy = Proxy::start(&[upstream.address], &[]).await;
    let mut stream = connect_from(ONE, proxy.dns).await;
    for message in
        [large(), bytes("slow.example.", RecordType::A, 2), bytes("www.example.", RecordType::A, 3)]
    {
        write_frame(&mut stream, &message).await;
    }
    stream.shutdown().await.expect("ends its side");
    sleep(Duration::from_millis(100)).await; // the buffer is full by now
    let mut ids = Vec::new();
    while let Ok(answer) = timeout(PATIENCE, read_frame(&mut stream)).await.expect("in time") {
        let answer = Message::from_vec(&answer).expect("decodes");
        assert!(!answer.answers.is_empty());
        ids.push(answer.metadata.id);
    }
    ids.sort_unstable();
    assert_eq!(ids, [1, 2, 3]);
    assert_eq!(stream.read(&mut [0; 1]).await.expect("an end, and no reset"), 0);
}

/// A byte now and then is neither a message nor the reading of an answer.
#[tokio::test]
async fn clients_that_send_or_read_byte_by_byte_are_cut_off() {
    let upstream = upstream().await;
    let proxy = Proxy::start(&[upstream.address], &[]).await;
    let mut beat = interval(Duration::from_millis(500));
    let mut writer = connect_from(ONE, proxy.dns).await;
    let mut reader = connect_from(ONE, proxy.dns).await;
    for _ in 0..32 {
        write_frame(&mut reader, &large()).await;
    }
    let (mut is_writing, mut is_reading) = (true, true);
    while is_writing || is_reading {
        beat.tick().await;
        is_writing = is_writing && writer.write_all(&[1]).await.is_ok();
        let mut byte = [0];
        is_reading = is_reading && reader.read_exact(&mut byte).await.is_ok();
        // Bytes that arrived before the end can still be read, the rest of them at once.
        if limit_reached(&proxy, "tcp_idle_timeout").await == 2 {
            let _ = reader.read_to_end(&mut Vec::new()).await;
            is_reading = false;
        }
    }
    assert_eq!(limit_reached(&proxy, "tcp_idle_timeout").await, 2);
}
