//! Hostile and broken clients: the answers that they get, their cost, and that all others are served meanwhile.

mod support;

use std::net::Ipv4Addr;
use std::time::Duration;

use hickory_proto::op::Message;
use hickory_proto::rr::rdata::TXT;
use hickory_proto::rr::{RData, Record};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::{interval, sleep, timeout};

use support::{
    PATIENCE, Proxy, RecordType, ResponseCode, Script, Upstream, address, ask_tcp, connect_from,
    queried_name, query, read_frame, reply, start, truncated, write_frame,
};

/// An upstream that answers TXT with 60,000 bytes, over TCP, and A with an address, and is slow for names
/// that begin with "slow", and a proxy in front of it.
async fn started(flags: &[&str]) -> (Upstream, Proxy) {
    let script = |query: &Message, is_by_tcp: bool| {
        let question = &query.queries[0];
        if question.query_type() != RecordType::TXT {
            let time = if queried_name(query).starts_with("slow") { 500 } else { 0 };
            return Script::Later(Duration::from_millis(time), address(query));
        }
        if !is_by_tcp {
            return truncated(query).into();
        }
        let text = |number: u32| RData::TXT(TXT::new(vec![format!("{number:0>250}")]));
        let record = |number| Record::from_rdata(question.name().clone(), 600, text(number));
        reply(query, ResponseCode::NoError, (0..225).map(record).collect()).into()
    };
    start(script, flags).await
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

/// Clients of many sources that send 32 queries for 60,000 bytes on each connection, and read nothing: until
/// the memory limit is reached, and a moment longer. Checks the memory that the proxy takes for it.
async fn take_no_more_memory(flags: &[&str], sources: u8, of_each: usize, most: u64) {
    let (_upstream, proxy) = started(flags).await;
    ask_tcp(proxy.dns, &query("large.example.", RecordType::TXT, 1, None)).await;
    let before = proxy.peak_memory();
    let message = [&(large().len() as u16).to_be_bytes()[..], &large()].concat().repeat(32);
    let mut held = Vec::new();
    for source in 0..sources {
        for _ in 0..of_each {
            let mut stream = connect_from(Ipv4Addr::new(127, 1, source, 1), proxy.dns).await;
            stream.write_all(&message).await.expect("it is read, or waits in the kernel");
            held.push(stream);
        }
        is_served(&proxy).await;
    }
    let mut beat = interval(Duration::from_millis(10));
    while proxy.limit_reached("tcp_memory").await == 0 {
        beat.tick().await;
    }
    for _ in 0..20 {
        is_served(&proxy).await;
    }
    let taken = proxy.peak_memory() - before;
    assert!(taken < most << 10, "{taken} KiB, with what the allocator wastes");
}

#[tokio::test]
async fn clients_that_do_not_read_stay_within_the_memory_of_a_pod() {
    take_no_more_memory(&[], 4, 25, 6).await; // of 4 MiB
}

#[tokio::test]
async fn clients_that_do_not_read_stay_within_the_memory_of_a_tier() {
    let flags = ["--role", "shared", "--max-tcp-connections", "512"];
    take_no_more_memory(&flags, 16, 32, 16).await; // of 12 MiB
}

#[tokio::test]
async fn the_length_of_a_message_takes_no_memory_before_the_message() {
    let (_upstream, proxy) = started(&["--role", "shared"]).await;
    is_served(&proxy).await;
    let before = proxy.peak_memory();
    let mut held = Vec::new();
    for source in 0..16 {
        for _ in 0..32 {
            let mut stream = connect_from(Ipv4Addr::new(127, 1, source, 1), proxy.dns).await;
            stream.write_all(&[0xff, 0xff]).await.expect("sends");
            held.push(stream);
        }
    }
    is_served(&proxy).await;
    let taken = proxy.peak_memory() - before;
    assert!(taken < 3 << 10, "{taken} KiB for 512 connections");
    assert_eq!(proxy.limit_reached("tcp_memory").await, 0);
    drop(held);
}

#[tokio::test]
async fn connections_with_incomplete_messages_are_closed_for_others() {
    let (_upstream, proxy) = started(&[]).await;
    is_served(&proxy).await;
    let before = proxy.peak_memory();
    let mut half = vec![0xff; 2];
    half.resize(60_000, 0);
    let mut held = Vec::new();
    for _ in 0..100 {
        let mut stream = connect_from(ONE, proxy.dns).await;
        stream.write_all(&half).await.expect("it is read");
        held.push(stream);
    }
    is_served(&proxy).await;
    let taken = proxy.peak_memory() - before;
    assert!(taken < 6 << 10, "{taken} KiB of 4 MiB, with what the allocator wastes");
    assert!(proxy.limit_reached("tcp_memory").await > 0);
}

#[tokio::test]
async fn a_new_connection_takes_the_place_of_the_one_that_was_idle_longest() {
    let (_upstream, proxy) = started(&["--max-tcp-connections", "3"]).await;
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
    assert_eq!(proxy.limit_reached("tcp_connections").await, 1);
}

#[tokio::test]
async fn a_client_that_ends_its_side_first_gets_every_answer() {
    let (_upstream, proxy) = started(&[]).await;
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
    let (_upstream, proxy) = started(&[]).await;
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
        if proxy.limit_reached("tcp_idle_timeout").await == 2 {
            let _ = reader.read_to_end(&mut Vec::new()).await;
            is_reading = false;
        }
    }
    assert_eq!(proxy.limit_reached("tcp_idle_timeout").await, 2);
}

#[tokio::test]
async fn every_cut_and_every_flipped_bit_of_a_query_is_survived() {
    let (_upstream, proxy) = started(&[]).await;
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("binds");
    socket.connect(proxy.dns).await.expect("connects");
    let good = query("www.example.", RecordType::A, 1, Some(1232)).to_vec().expect("encodes");
    let cuts = (0..good.len()).map(|length| good[..length].to_vec());
    let flips = (0..good.len() * 8).map(|bit| {
        let mut bad = good.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        bad
    });
    for (sent, bad) in cuts.chain(flips).enumerate() {
        socket.send(&bad).await.expect("sends");
        // A query now and then keeps the burst below the capacity of a socket's queue.
        if sent % 32 == 0 {
            proxy.finds("www.example.").await;
        }
    }
    proxy.finds("www.example.").await;
    is_served(&proxy).await;
    let (rejected, dropped) = (proxy.outcomes("invalid").await, proxy.outcomes("not_a_query").await);
    assert!(rejected > 0 && dropped >= 12, "{rejected} rejected, {dropped} dropped");
}

#[tokio::test]
async fn answers_on_one_connection_are_sent_as_they_are_ready() {
    let (_upstream, proxy) = started(&[]).await;
    let mut stream = TcpStream::connect(proxy.dns).await.expect("connects");
    for (id, name) in [(1, "slow.example."), (2, "quick.example.")] {
        write_frame(&mut stream, &bytes(name, RecordType::A, id)).await;
    }
    let mut ids = Vec::new();
    for _ in 0..2 {
        let answer = read_frame(&mut stream).await.expect("reads");
        ids.push(Message::from_vec(&answer).expect("decodes").metadata.id);
    }
    assert_eq!(ids, [2, 1]);
}

#[tokio::test]
async fn half_a_frame_and_a_client_that_leaves_do_no_harm() {
    let (_upstream, proxy) = started(&[]).await;
    let mut half = TcpStream::connect(proxy.dns).await.expect("connects");
    half.write_all(&[0, 40, 1, 2, 3]).await.expect("sends");
    let mut left = TcpStream::connect(proxy.dns).await.expect("connects");
    write_frame(&mut left, &bytes("slow.example.", RecordType::A, 1)).await;
    drop(left);
    is_served(&proxy).await;
}
