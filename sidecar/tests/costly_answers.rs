//! The CPU time for hostile answers, compared with that for an honest answer of the same length: both of the
//! same process, so that a slow machine is slow with both.

mod support;

use std::fs;
use std::time::Duration;

use hickory_proto::op::Message;
use hickory_proto::rr::RecordType;
use tokio::net::UdpSocket;
use tokio::time::{sleep, timeout};

use support::{PATIENCE, Proxy, Script, Upstream, ask_bytes, query};

/// How many of each are queried.
const ANSWERS: u16 = 60;

/// The largest datagram on the loopback.
const LONGEST: usize = 65_000;

/// The answer to a query, by the first label of its name.
fn answer(query: &Message) -> Vec<u8> {
    let mut bytes = query.to_vec().expect("encodes");
    let question_length = query.queries[0].name().len() + 1 + 4;
    bytes.truncate(12 + question_length);
    bytes[2..12].copy_from_slice(&[0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0]);
    let deep: Vec<u8> = (0..118).flat_map(|number| [1, b'a' + number % 26]).chain([0]).collect();
    let at = bytes.len() as u16;
    let kind = query.queries[0].name().to_string().chars().next().expect("a name");
    let mut count = 0_u16;
    loop {
        let owner = match (kind, count) {
            ('h' | 's', _) => vec![0xc0, 12],
            (_, 0) => deep.clone(),
            ('t', number) => (0xc000 | (at + 2 * (number % 100))).to_be_bytes().to_vec(),
            _ => (0xc000 | at).to_be_bytes().to_vec(),
        };
        let address = [10, 0, (count >> 8) as u8, count as u8];
        let record = [&owner, &[0, 1, 0, 1, 0, 0, 0, 60, 0, 4][..], &address].concat();
        if bytes.len() + record.len() > LONGEST || kind == 's' && count == 3 {
            break;
        }
        bytes.extend(record);
        count += 1;
    }
    bytes[6..8].copy_from_slice(&count.to_be_bytes());
    bytes
}

/// The CPU time of the thread that serves.
fn cpu_time(proxy: &Proxy) -> Duration {
    let id = proxy.child.id().expect("still running");
    let text = fs::read_to_string(format!("/proc/{id}/schedstat")).expect("proc(5)");
    Duration::from_nanos(text.split(' ').next().and_then(|first| first.parse().ok()).expect("a number"))
}

/// The CPU time for so many names that begin with that letter; each is queried once and answered in one
/// datagram.
async fn cost(proxy: &Proxy, upstream: &Upstream, kind: char, is_answered: bool) -> Duration {
    let (before, asked) = (cpu_time(proxy), upstream.asked());
    for number in 0..ANSWERS {
        let query = query(&format!("{kind}{number}.example."), RecordType::A, number, None);
        let bytes = query.to_vec().expect("encodes");
        if is_answered {
            ask_bytes(proxy.dns, &bytes).await;
        } else {
            let socket = UdpSocket::bind("127.0.0.1:0").await.expect("binds");
            socket.send_to(&bytes, proxy.dns).await.expect("sends");
            let is_there = async {
                while upstream.asked() < asked + usize::from(number) + 1 {
                    sleep(Duration::from_millis(1)).await;
                }
            };
            timeout(PATIENCE, is_there).await.expect("the question arrives");
        }
    }
    if !is_answered {
        sleep(Duration::from_millis(200)).await; // the last answers are processed
    }
    cpu_time(proxy).saturating_sub(before)
}

#[tokio::test]
async fn a_hostile_answer_costs_at_most_a_few_honest_ones() {
    let upstream = Upstream::start(|query, _| Script::Bytes(vec![answer(query)])).await;
    let proxy = Proxy::start(&[upstream.address], &[]).await;
    let honest = cost(&proxy, &upstream, 'h', true).await;
    for (kind, is_answered) in [('d', true), ('t', false)] {
        let hostile = cost(&proxy, &upstream, kind, is_answered).await;
        assert!(hostile < honest * 2, "{kind}: {hostile:?}, and {honest:?} for honest ones");
    }
}

#[tokio::test]
async fn a_small_client_of_a_large_answer_costs_little() {
    let upstream = Upstream::start(|query, _| Script::Bytes(vec![answer(query)])).await;
    let proxy = Proxy::start(&[upstream.address], &[]).await;
    let mut costs = Vec::new();
    for name in ["small.example.", "huge.example."] {
        let bytes = query(name, RecordType::A, 1, None).to_vec().expect("encodes");
        ask_bytes(proxy.dns, &bytes).await;
        let before = cpu_time(&proxy);
        for _ in 0..1000 {
            assert!(ask_bytes(proxy.dns, &bytes).await.len() <= 512);
        }
        costs.push(cpu_time(&proxy).saturating_sub(before));
    }
    assert!(costs[1] < costs[0] * 4, "{costs:?}");
}
