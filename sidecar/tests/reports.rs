//! Public reports about other resolvers and proxies, reproduced with the built proxy; docs/reports.md lists
//! all of them.

mod support;

use hickory_proto::op::Message;
use hickory_proto::rr::rdata::{CNAME, SOA};
use hickory_proto::rr::{RData, Record};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use support::{
    Proxy, RecordType, ResponseCode, Script, Upstream, a, address, ask, ask_bytes, ask_tcp, encode, name,
    queried_name, query, read_frame, reply, start,
};

/// golang#64896: so many records that the server truncates over TCP, too. The client gets the records of that
/// answer, with TC.
#[tokio::test]
async fn the_records_of_a_truncated_tcp_answer_are_served() {
    let script = |query: &Message, by_tcp| {
        let count = if by_tcp { 1000 } else { 3 };
        let mut answer = reply(query, ResponseCode::NoError, vec![a("www.example.", 60); count]);
        answer.metadata.truncation = true;
        answer
    };
    let (_upstream, proxy) = start(script, &[]).await;
    let answer = ask_tcp(proxy.dns, &query("www.example.", RecordType::A, 1, None)).await;
    assert_eq!((answer.answers.len(), answer.metadata.truncation), (1000, true));
    let answer = ask(proxy.dns, &query("www.example.", RecordType::A, 2, Some(1232))).await;
    assert_eq!((answer.answers.len(), answer.metadata.truncation), (74, true));
}

/// An answer of one address and these bytes behind it, counted as one additional record.
async fn with_record(record: &'static [u8]) -> (Upstream, Proxy) {
    let script = move |query: &Message, _| {
        let mut bytes = encode(address(query), query);
        bytes[11] += 1;
        bytes.extend_from_slice(record);
        Script::Bytes(vec![bytes])
    };
    start(script, &[]).await
}

/// c-ares#1271, blocky#1097: a cookie (RFC 7873) that the server gave to one client was given to others. All
/// options concern one hop: no client gets them, from the upstream or from the cache, and malformed ones do
/// no harm.
#[tokio::test]
async fn options_of_the_upstream_reach_no_client() {
    for opt in [
        b"\x00\x00\x29\x04\xd0\x00\x00\x00\x00\x00\x0c\x00\x0a\x00\x08cccccccc".as_slice(), // COOKIE
        b"\x00\x00\x29\x04\xd0\x00\x00\x00\x00\x00\x06\x00\x03\x00\x02ns",                  // NSID
        b"\x00\x00\x29\x04\xd0\x00\x00\x00\x00\x00\x06\x00\x08\x00\x02\x00\x09", // client subnet, too short
        b"\x00\x00\x29\x04\xd0\x00\x00\x00\x00\x00\x04\x00\x0a\x00\x08",         // cut off
    ] {
        let (upstream, proxy) = with_record(opt).await;
        for edns in [Some(1232), None, Some(1232)] {
            let answer = ask(proxy.dns, &query("www.example.", RecordType::A, 1, edns)).await;
            assert_eq!((answer.answers.len(), answer.edns.is_some()), (1, edns.is_some()));
            assert!(answer.edns.is_none_or(|edns| edns.options().as_ref().is_empty()));
        }
        assert_eq!(upstream.asked(), 1, "{opt:?}");
    }
}

/// hickory-dns#3049, coredns#5993: parameters of SVCB and HTTPS that a decoder refuses. They pass byte for
/// byte, also from the cache.
#[tokio::test]
async fn data_that_a_decoder_refuses_is_forwarded_and_cached() {
    for record in [
        b"\xc0\x0c\x00\x41\x00\x01\x00\x00\x00\x3c\x00\x0a\x00\x01\x00\x00\x03\x00\x03\x01\xbb\x00".as_slice(),
        b"\xc0\x0c\x00\x41\x00\x01\x00\x00\x00\x3c\x00\x0f\x00\x01\x00\x00\x04\x00\x04\x01\x01\x01\x01\x00\x02\x00\x00",
        b"\xc0\x0c\x00\x10\x00\x01\x00\x00\x00\x3c\x00\x00", // TXT without a string
    ] {
        let (upstream, proxy) = with_record(record).await;
        let question = query("www.example.", RecordType::A, 1, None).to_vec().expect("encodes");
        for _ in 0..2 {
            let answer = ask_bytes(proxy.dns, &question).await;
            assert_eq!(answer[6..12], [0, 1, 0, 0, 0, 1]);
            assert!(answer.ends_with(&record[10..]), "{answer:?}");
        }
        assert_eq!(upstream.asked(), 1);
    }
}

/// coredns#6642: a first client without AD removed it for all later clients. coredns#6186: an answer to CD,
/// which was not validated, was given to a client that had not set CD.
#[tokio::test]
async fn rfc6840_5_7_ad_is_per_client_and_cd_has_its_own_cache_key() {
    let script = |query: &Message, _| {
        let is_bogus = queried_name(query) == "bogus.example.";
        let is_refused = is_bogus && !query.metadata.checking_disabled;
        let rcode = if is_refused { ResponseCode::ServFail } else { ResponseCode::NoError };
        let mut answer = reply(query, rcode, vec![a("www.example.", 60)]);
        answer.metadata.authentic_data = query.metadata.authentic_data && !is_bogus;
        answer
    };
    let (upstream, proxy) = start(script, &[]).await;
    for (is_wanted, id) in [(false, 1), (true, 2), (false, 3)] {
        let mut question = query("www.example.", RecordType::A, id, None);
        question.metadata.authentic_data = is_wanted;
        assert_eq!(ask(proxy.dns, &question).await.metadata.authentic_data, is_wanted);
    }
    assert_eq!(upstream.asked(), 1);
    for (is_disabled, rcode) in
        [(true, ResponseCode::NoError), (false, ResponseCode::ServFail), (true, ResponseCode::NoError)]
    {
        let mut question = query("bogus.example.", RecordType::A, 4, None);
        question.metadata.checking_disabled = is_disabled;
        assert_eq!(ask(proxy.dns, &question).await.metadata.response_code, rcode, "CD: {is_disabled}");
    }
}

/// systemd#11332: the server closed after the first answer, and glibc sends A and AAAA on one connection.
/// systemd#11884: the UDP size of EDNS truncated answers over TCP. Both with a length and messages in pieces,
/// and a client that closes its side early.
#[tokio::test]
async fn rfc7766_6_2_1_pipelined_queries_in_pieces_are_all_answered_whole() {
    let answer = |query: &_| reply(query, ResponseCode::NoError, vec![a("www.example.", 60); 100]);
    let (_upstream, proxy) = start(move |query, _| answer(query), &[]).await;
    let mut stream = TcpStream::connect(proxy.dns).await.expect("connects");
    stream.set_nodelay(true).expect("a socket");
    for (kind, id) in [(RecordType::A, 1), (RecordType::AAAA, 2)] {
        let message = query("www.example.", kind, id, Some(512)).to_vec().expect("encodes");
        for byte in [&[0, message.len() as u8], message.as_slice()].concat() {
            stream.write_all(&[byte]).await.expect("sends");
        }
    }
    stream.shutdown().await.expect("ends its side");
    let mut ids = Vec::new();
    while let Ok(bytes) = read_frame(&mut stream).await {
        let answer = Message::from_vec(&bytes).expect("decodes");
        assert_eq!((answer.answers.len(), answer.metadata.truncation), (100, false));
        ids.push(answer.metadata.id);
    }
    ids.sort_unstable();
    assert_eq!(ids, [1, 2]);
}

/// dnspython#546: a client with an EDNS size of 0 bytes.
#[tokio::test]
async fn rfc6891_6_2_3_a_udp_size_below_512_counts_as_512() {
    let answer = |query: &_| reply(query, ResponseCode::NoError, vec![a("www.example.", 60); 25]);
    let (_upstream, proxy) = start(move |query, _| answer(query), &[]).await;
    for size in [0, 1, 511, 512] {
        let answer = ask(proxy.dns, &query("www.example.", RecordType::A, 1, Some(size))).await;
        assert_eq!((answer.answers.len(), answer.metadata.truncation), (25, false), "{size}");
    }
}

/// pi-hole/FTL#2603: NODATA behind an alias, with an SOA, over TCP, and afterwards wrong answers to other
/// types. hickory-dns#3641, skydns#217: clients need the aliases before the addresses; the upstream's order
/// of them is kept, also when addresses rotate.
#[tokio::test]
async fn aliases_keep_their_order_and_nodata_behind_one_is_per_type() {
    let script = |query: &Message, _| {
        let alias = |from: &str, to: &str| Record::from_rdata(name(from), 60, RData::CNAME(CNAME(name(to))));
        let aliases = vec![alias("www.example.", "cdn.example."), alias("cdn.example.", "node.example.")];
        let has_address = query.queries[0].query_type() == RecordType::A;
        let addresses = vec![a("node.example.", 60); if has_address { 3 } else { 0 }];
        let mut answer = reply(query, ResponseCode::NoError, [aliases, addresses].concat());
        if !has_address {
            let soa = SOA::new(name("node.example."), name("example."), 1, 1, 1, 1, 30);
            answer.insert_authorities(vec![Record::from_rdata(name("node.example."), 30, RData::SOA(soa))]);
        }
        answer
    };
    let (upstream, proxy) = start(script, &["--upstream-transport", "tcp"]).await;
    for _ in 0..3 {
        let answer = ask_tcp(proxy.dns, &query("www.example.", RecordType::HTTPS, 1, None)).await;
        assert_eq!((answer.answers.len(), answer.authorities.len()), (2, 1));
        let answer = proxy.ask("www.example.", RecordType::A).await;
        let owners: Vec<_> = answer.answers.iter().map(|record| record.name.to_string()).collect();
        let (cdn, node) = ("cdn.example.", "node.example.");
        assert_eq!(owners, ["www.example.", cdn, node, node, node]);
    }
    assert_eq!(upstream.asked(), 2);
}

/// udns#6, dns_erlang#130: NOTIFY crashed the server. Any other OPCODE than QUERY gets NOTIMP, over UDP and
/// TCP, and the next query is answered.
#[tokio::test]
async fn rfc1035_4_1_1_other_opcodes_get_notimp() {
    let (upstream, proxy) = start(|query, _| address(query), &[]).await;
    for opcode in (1..16).filter(|opcode| *opcode != 3) {
        let mut bytes = query("www.example.", RecordType::SOA, 1, None).to_vec().expect("encodes");
        bytes[2] |= opcode << 3;
        let answer = ask_bytes(proxy.dns, &bytes).await;
        assert_eq!((answer[2] >> 3 & 15, answer[3] & 15), (opcode, 4));
    }
    let answer = ask_tcp(proxy.dns, &query("www.example.", RecordType::A, 2, None)).await;
    assert_eq!(answer.answers.len(), 1);
    assert_eq!(upstream.asked(), 1);
}
