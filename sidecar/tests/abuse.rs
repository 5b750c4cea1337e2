//! Hostile and broken clients: the answers that they get, and that all others are served meanwhile.

mod support;

use std::time::Duration;

use hickory_proto::op::Message;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpStream, UdpSocket};

use support::{
    Proxy, RecordType, Script, Upstream, address, ask_tcp, queried_name, query, read_frame, start,
    write_frame,
};

async fn started() -> (Upstream, Proxy) {
    let time = |query: &Message| {
        Duration::from_millis(if queried_name(query).starts_with("slow") { 300 } else { 0 })
    };
    start(move |query, _| Script::Later(time(query), address(query)), &[]).await
}

async fn is_served(proxy: &Proxy) {
    proxy.finds("www.example.").await;
    assert_eq!(ask_tcp(proxy.dns, &query("www.example.", RecordType::A, 9, None)).await.answers.len(), 1);
}

#[tokio::test]
async fn every_cut_and_every_flipped_bit_of_a_query_is_survived() {
    let (_upstream, proxy) = started().await;
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
            is_served(&proxy).await;
        }
    }
    is_served(&proxy).await;
    let (rejected, dropped) = (proxy.outcomes("invalid").await, proxy.outcomes("not_a_query").await);
    assert!(rejected > 0 && dropped >= 12, "{rejected} rejected, {dropped} dropped");
}

#[tokio::test]
async fn answers_on_one_connection_are_sent_as_they_are_ready() {
    let (_upstream, proxy) = started().await;
    let mut stream = TcpStream::connect(proxy.dns).await.expect("connects");
    for (id, name) in [(1, "slow.example."), (2, "quick.example.")] {
        write_frame(&mut stream, &query(name, RecordType::A, id, None).to_vec().expect("encodes")).await;
    }
    let mut ids = Vec::new();
    for _ in 0..2 {
        let bytes = read_frame(&mut stream).await.expect("reads");
        ids.push(Message::from_vec(&bytes).expect("decodes").metadata.id);
    }
    assert_eq!(ids, [2, 1]);
}

#[tokio::test]
async fn half_a_frame_and_a_client_that_leaves_do_no_harm() {
    let (_upstream, proxy) = started().await;
    let mut half = TcpStream::connect(proxy.dns).await.expect("connects");
    half.write_all(&[0, 40, 1, 2, 3]).await.expect("sends");
    let mut left = TcpStream::connect(proxy.dns).await.expect("connects");
    write_frame(&mut left, &query("slow.example.", RecordType::A, 1, None).to_vec().expect("encodes")).await;
    drop(left);
    is_served(&proxy).await;
}
