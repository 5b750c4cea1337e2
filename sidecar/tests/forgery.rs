//! The chances of an attacker who forges answers, and can send datagrams with the upstream's address but does
//! not see the queries.

mod support;

use std::sync::atomic::{AtomicUsize, Ordering};

use hickory_proto::op::Message;
use tokio::net::UdpSocket;
use tokio::time::timeout;

use support::{
    PATIENCE, Proxy, RecordType, ResponseCode, Script, Upstream, address, encode, queried_name, query, start,
};

#[tokio::test]
async fn a_thousand_types_of_one_name_are_eight_queries_at_a_time() {
    let script = |query: &Message, _| {
        let is_address = matches!(query.queries[0].query_type(), RecordType::A | RecordType::AAAA);
        let is_victim = queried_name(query).to_lowercase().starts_with("victim.");
        if is_address || !is_victim { address(query).into() } else { Script::Silence }
    };
    let (_upstream, proxy) = start(script, &[]).await;
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("binds");
    socket.connect(proxy.dns).await.expect("connects");
    let mut buffer = [0; 512];
    let all = async {
        for number in 0..1000_u16 {
            let rtype = RecordType::Unknown(1000 + number);
            // In any case of the name, and with DO or without.
            let name = if number % 2 == 0 { "victim.example." } else { "Victim.Example." };
            let edns = (number % 3 == 0).then_some(1232);
            socket.send(&query(name, rtype, number, edns).to_vec().expect("encodes")).await.expect("sends");
            if number >= 8 {
                socket.recv(&mut buffer).await.expect("SERVFAIL");
                assert_eq!(buffer[3] & 0xf, 2);
            }
        }
    };
    timeout(PATIENCE, all).await.expect("what is above the bound is answered immediately");
    assert_eq!(proxy.limit_reached("types_per_name").await, 992);
    assert_eq!(proxy.metric("podlocal_dns_upstream_queries_in_flight").await, 8);
    for rtype in [RecordType::A, RecordType::AAAA] {
        assert_eq!(proxy.ask("victim.example.", rtype).await.answers.len(), 1, "{rtype}");
    }
    let other = proxy.ask("other.example.", RecordType::TXT).await;
    assert_eq!(other.metadata.response_code, ResponseCode::NoError, "another name is not concerned");
}

const DOUBTED: &str = "podlocal_dns_upstream_spoofing_suspected_total";

/// How many replies to no query were counted for that reason.
async fn unwanted(proxy: &Proxy, reason: &str) -> u64 {
    proxy.metric(&format!("podlocal_dns_upstream_unwanted_replies_total{{reason=\"{reason}\"}}")).await
}

/// So many answers with wrong guesses of the id, and then the right one: NXDOMAIN.
fn guesses(query: &Message, count: u16) -> Script {
    let mut forged = address(query);
    forged.metadata.response_code = ResponseCode::NXDomain;
    let ids = (1..=count).map(|number| query.metadata.id.wrapping_add(number)).chain([query.metadata.id]);
    let guess = |id| {
        forged.metadata.id = id;
        forged.to_vec().expect("encodes")
    };
    Script::Bytes(ids.map(guess).collect())
}

#[tokio::test]
async fn an_answer_after_32256_guessed_ids_is_ignored_and_logged() {
    let script = |query: &Message, by_tcp| {
        if by_tcp { address(query).into() } else { guesses(query, 32_256) }
    };
    let (upstream, mut proxy) = start(script, &[]).await;
    proxy.finds("victim.example.").await;
    assert_eq!((upstream.asked_by_udp(), upstream.asked_by_tcp()), (1, 1));
    assert_eq!((unwanted(&proxy, "id").await, proxy.metric(DOUBTED).await), (1, 1));
    proxy.logged("possible spoofing").await;
}

#[tokio::test]
async fn a_flooded_socket_is_left_even_without_fallbacks_to_tcp() {
    let floods = AtomicUsize::new(0);
    let script = move |query: &Message, by_tcp: bool| {
        // The fifth query is the first that has no fallback to TCP.
        let is_flooded = !by_tcp && floods.fetch_add(1, Ordering::Relaxed) < 5;
        if is_flooded { guesses(query, 100) } else { address(query).into() }
    };
    let (upstream, proxy) = start(script, &[]).await;
    for name in ["a.example.", "b.example.", "c.example.", "d.example.", "e.example."] {
        proxy.finds(name).await;
    }
    assert_eq!((proxy.metric(DOUBTED).await, upstream.asked_by_tcp()), (4, 4));
    assert_eq!(unwanted(&proxy, "id").await, 4 + 64, "and the socket was closed");
}

#[tokio::test]
async fn late_and_incomplete_answers_are_only_counted() {
    let script = |query: &Message, _| {
        let mut late = address(&support::query("other.example.", RecordType::A, 1, None));
        late.metadata.id = query.metadata.id.wrapping_add(1);
        let mut mistaken = late.clone();
        mistaken.metadata.id = query.metadata.id;
        let truth = encode(address(query), query);
        let cut = truth[..truth.len() - 1].to_vec();
        Script::Bytes(vec![encode(late, query), encode(mistaken, query), cut, truth])
    };
    let (upstream, proxy) = start(script, &[]).await;
    proxy.finds("www.example.").await;
    for reason in ["id", "question", "malformed"] {
        assert_eq!(unwanted(&proxy, reason).await, 1, "{reason}");
    }
    assert_eq!((proxy.metric(DOUBTED).await, upstream.asked_by_tcp()), (0, 0));
}

/// The number of queried names with an upper-case letter.
fn mixed(server: &Upstream) -> usize {
    server.names().iter().filter(|name| name.chars().any(char::is_uppercase)).count()
}

/// The true answer with its names in lower case.
fn folded(query: &Message) -> Message {
    let mut query = query.clone();
    let name = query.queries[0].name().to_lowercase();
    query.queries[0].set_name(name);
    address(&query)
}

/// A sidecar behind a tier at that server.
async fn behind(tier: std::net::SocketAddr, upstream: &Upstream) -> Proxy {
    Proxy::start(&[upstream.address], &["--shared-tier", &tier.to_string()]).await
}

const NAMES: usize = 8;

/// Queries names; clients get their own case of the letters, and never the proxy's.
async fn clients_see_their_own_case(proxy: &Proxy) {
    for number in 0..NAMES {
        proxy.finds(&format!("N{number}.Quite-Long-Name.example.")).await;
    }
}

#[tokio::test]
async fn only_queries_to_the_tier_have_random_letters() {
    let upstream = Upstream::start(|query, _| address(query)).await;
    let tier = Proxy::start(&[upstream.address], &["--role", "shared"]).await;
    let sidecar = behind(tier.dns, &upstream).await;
    clients_see_their_own_case(&sidecar).await;
    assert_eq!((upstream.asked(), mixed(&upstream)), (NAMES, 0));
    assert_eq!([unwanted(&sidecar, "case").await, sidecar.metric(DOUBTED).await], [0, 0]);
}

#[tokio::test]
async fn a_forged_answer_in_another_case_is_ignored() {
    let tier = Upstream::start(|query, by_tcp| {
        if by_tcp || !queried_name(query).to_lowercase().starts_with("victim") {
            return address(query);
        }
        let mut forged = folded(query);
        forged.metadata.response_code = ResponseCode::NXDomain;
        forged
    })
    .await;
    let sidecar = behind(tier.address, &tier).await;
    clients_see_their_own_case(&sidecar).await;
    assert!(mixed(&tier) >= NAMES - 1, "all but one in a million");
    sidecar.finds("victim.quite-long-name.example.").await;
    assert_eq!([unwanted(&sidecar, "case").await, sidecar.metric(DOUBTED).await], [1, 1]);
    assert_eq!(tier.asked_by_tcp(), 1);
}

#[tokio::test]
async fn a_tier_that_changes_the_case_is_queried_in_lower_case() {
    let tier = Upstream::start(|query, _| folded(query)).await;
    let sidecar = behind(tier.address, &tier).await;
    clients_see_their_own_case(&sidecar).await;
    assert_eq!((tier.asked_by_udp(), tier.asked_by_tcp(), mixed(&tier)), (NAMES, 0, 1));
}
