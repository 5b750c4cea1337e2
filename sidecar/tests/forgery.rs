//! The chances of an attacker who forges answers, and can send datagrams with the upstream's address but does
//! not see the queries.

mod support;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::RecordType;
use tokio::net::UdpSocket;
use tokio::time::timeout;

use support::{PATIENCE, Proxy, Script, Upstream, a, ask, query, reply};

const TYPES_PER_NAME: &str = "podlocal_dns_limits_reached_total{limit=\"types_per_name\"}";

#[tokio::test]
async fn a_thousand_types_of_one_name_are_eight_queries_at_a_time() {
    let upstream = Upstream::start(|query, _| {
        let is_address = matches!(query.queries[0].query_type(), RecordType::A | RecordType::AAAA);
        let name = query.queries[0].name().to_string().to_lowercase();
        if is_address || !name.starts_with("victim.") {
            Script::Send(vec![reply(query, ResponseCode::NoError, vec![a(&name, 60)])])
        } else {
            Script::Silence
        }
    })
    .await;
    let proxy = Proxy::start(&[upstream.address], &[]).await;
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
    assert_eq!(proxy.metric(TYPES_PER_NAME).await, 992);
    assert_eq!(proxy.metric("podlocal_dns_upstream_queries_in_flight").await, 8);
    for rtype in [RecordType::A, RecordType::AAAA] {
        let answer = ask(proxy.dns, &query("victim.example.", rtype, 1, None)).await;
        assert_eq!(answer.answers.len(), 1, "{rtype}");
    }
    let other = ask(proxy.dns, &query("other.example.", RecordType::TXT, 1, None)).await;
    assert_eq!(other.metadata.response_code, ResponseCode::NoError, "another name is not concerned");
}

#[tokio::test]
async fn the_types_that_clients_ask_together_are_within_the_limit() {
    let upstream = Upstream::start(|query, _| {
        let answer = reply(query, ResponseCode::NoError, vec![]);
        Script::Later(std::time::Duration::from_millis(300), answer)
    })
    .await;
    let proxy = Proxy::start(&[upstream.address], &[]).await;
    let mut clients = tokio::task::JoinSet::new();
    for rtype in [RecordType::A, RecordType::AAAA, RecordType::HTTPS, RecordType::SRV, RecordType::TXT] {
        for edns in [None, Some(1232)] {
            let dns = proxy.dns;
            clients.spawn(async move { ask(dns, &query("www.example.", rtype, 1, edns)).await });
        }
    }
    for answer in clients.join_all().await {
        assert_eq!(answer.metadata.response_code, ResponseCode::NoError);
    }
    assert_eq!(proxy.metric(TYPES_PER_NAME).await, 0);
}

#[tokio::test]
async fn a_forged_nxdomain_for_a_rare_type_does_not_affect_addresses() {
    let upstream = Upstream::start(|query, _| {
        let name = query.queries[0].name().to_string();
        let is_odd = query.queries[0].query_type() == RecordType::Unknown(256);
        let (rcode, answers) = if is_odd {
            (ResponseCode::NXDomain, vec![])
        } else {
            (ResponseCode::NoError, vec![a(&name, 60)])
        };
        Script::Send(vec![reply(query, rcode, answers)])
    })
    .await;
    let proxy = Proxy::start(&[upstream.address], &[]).await;
    let dns = proxy.dns;
    let ask = |rtype| async move { ask(dns, &query("www.example.", rtype, 1, None)).await };
    let odd = ask(RecordType::Unknown(256)).await;
    assert_eq!(odd.metadata.response_code, ResponseCode::NXDomain);
    assert_eq!(ask(RecordType::A).await.answers.len(), 1);
}

const DOUBTED: &str = "podlocal_dns_upstream_spoofing_suspected_total";

fn unwanted(reason: &str) -> String {
    format!("podlocal_dns_upstream_unwanted_replies_total{{reason=\"{reason}\"}}")
}

/// The true answer, with the query's own id.
fn truth(query: &Message) -> Message {
    let name = query.queries[0].name().to_string();
    let mut truth = reply(query, ResponseCode::NoError, vec![a(&name, 60)]);
    truth.metadata.id = query.metadata.id;
    truth
}

/// So many answers with wrong guesses of the id, and then the right one: NXDOMAIN.
fn guesses(query: &Message, count: u16) -> Vec<Vec<u8>> {
    let mut forged = truth(query);
    forged.metadata.response_code = ResponseCode::NXDomain;
    let ids = (1..=count).map(|number| query.metadata.id.wrapping_add(number)).chain([query.metadata.id]);
    let guess = |id| {
        forged.metadata.id = id;
        forged.to_vec().expect("encodes")
    };
    ids.map(guess).collect()
}

#[tokio::test]
async fn an_answer_after_32256_guessed_ids_is_ignored_and_logged() {
    let upstream = Upstream::start(|query, by_tcp| {
        if by_tcp { Script::Send(vec![truth(query)]) } else { Script::Bytes(guesses(query, 32_256)) }
    })
    .await;
    let mut proxy = Proxy::start(&[upstream.address], &[]).await;
    let answer = ask(proxy.dns, &query("victim.example.", RecordType::A, 1, None)).await;
    assert_eq!((answer.metadata.response_code, answer.answers.len()), (ResponseCode::NoError, 1));
    assert_eq!((upstream.asked_by_udp(), upstream.asked_by_tcp()), (1, 1));
    assert_eq!((proxy.metric(&unwanted("id")).await, proxy.metric(DOUBTED).await), (1, 1));
    proxy.logged("possible spoofing").await;
}

#[tokio::test]
async fn a_server_with_wrong_extra_replies_is_still_queried_over_udp() {
    let upstream = Upstream::start(|query, by_tcp| {
        if by_tcp {
            return Script::Close;
        }
        let wrong = guesses(query, 1).swap_remove(0);
        Script::Bytes(vec![wrong, truth(query).to_vec().expect("encodes")])
    })
    .await;
    let proxy = Proxy::start(&[upstream.address], &[]).await;
    for number in 0..40 {
        let name = format!("n{number}.example.");
        let answer = ask(proxy.dns, &query(&name, RecordType::A, 1, None)).await;
        assert_eq!(answer.answers.len(), 1, "{name}");
    }
    let by_tcp = upstream.asked_by_tcp();
    assert!(by_tcp <= 4 + 40 / 8, "{by_tcp} of 40 over TCP");
}

#[tokio::test]
async fn a_flooded_socket_is_left_even_without_fallbacks_to_tcp() {
    let floods = AtomicUsize::new(0);
    let upstream = Upstream::start(move |query, by_tcp| {
        // The fifth query is the first that has no fallback to TCP.
        if !by_tcp && floods.fetch_add(1, Ordering::Relaxed) < 5 {
            Script::Bytes(guesses(query, 100))
        } else {
            Script::Send(vec![truth(query)])
        }
    })
    .await;
    let proxy = Proxy::start(&[upstream.address], &[]).await;
    for name in ["a.example.", "b.example.", "c.example.", "d.example.", "e.example."] {
        let answer = ask(proxy.dns, &query(name, RecordType::A, 1, None)).await;
        assert_eq!(answer.metadata.response_code, ResponseCode::NoError, "{name}");
    }
    assert_eq!((proxy.metric(DOUBTED).await, upstream.asked_by_tcp()), (4, 4));
    assert_eq!(proxy.metric(&unwanted("id")).await, 4 + 64, "and the socket was closed");
}

#[tokio::test]
async fn late_answers_to_other_queries_are_only_counted() {
    let upstream = Upstream::start(|query, _| {
        let mut late = truth(&support::query("other.example.", RecordType::A, 1, None));
        late.metadata.id = query.metadata.id.wrapping_add(1);
        let mut mistaken = late.clone();
        mistaken.metadata.id = query.metadata.id;
        Script::Send(vec![late, mistaken, truth(query)])
    })
    .await;
    let proxy = Proxy::start(&[upstream.address], &[]).await;
    let answer = ask(proxy.dns, &query("www.example.", RecordType::A, 1, None)).await;
    assert_eq!(answer.answers[0].name.to_string(), "www.example.");
    let counted = [proxy.metric(&unwanted("id")).await, proxy.metric(&unwanted("question")).await];
    assert_eq!((counted, proxy.metric(DOUBTED).await, upstream.asked_by_tcp()), ([1, 1], 0, 0));
}

#[tokio::test]
async fn an_incomplete_answer_is_counted() {
    let upstream = Upstream::start(|query, _| {
        let mut cut = truth(query).to_vec().expect("encodes");
        cut.pop();
        Script::Bytes(vec![cut, truth(query).to_vec().expect("encodes")])
    })
    .await;
    let proxy = Proxy::start(&[upstream.address], &[]).await;
    ask(proxy.dns, &query("www.example.", RecordType::A, 1, None)).await;
    assert_eq!((proxy.metric(&unwanted("malformed")).await, proxy.metric(DOUBTED).await), (1, 0));
}

/// A server that records the case of every name in its queries.
async fn spelled(script: impl Fn(&Message, bool) -> Script + Send + Sync + 'static) -> (Upstream, Spellings) {
    let spellings = Spellings::default();
    let noted = Arc::clone(&spellings);
    let upstream = Upstream::start(move |query, by_tcp| {
        noted.lock().expect("no panic").push(query.queries[0].name().to_string());
        script(query, by_tcp)
    })
    .await;
    (upstream, spellings)
}

type Spellings = Arc<Mutex<Vec<String>>>;

/// The number of queried names with an upper-case letter.
fn mixed(spellings: &Spellings) -> usize {
    let spellings = spellings.lock().expect("no panic");
    spellings.iter().filter(|name| name.chars().any(char::is_uppercase)).count()
}

/// The same answer with its names in lower case.
fn folded(query: &Message) -> Message {
    let mut query = query.clone();
    let name = query.queries[0].name().to_lowercase();
    query.queries[0].set_name(name);
    truth(&query)
}

/// Queries so many names; clients get their own case of the letters, and never the proxy's.
async fn assert_clients_see_their_own_case(proxy: &Proxy, count: usize) {
    for number in 0..count {
        let name = format!("N{number}.Quite-Long-Name.example.");
        let answer = ask(proxy.dns, &query(&name, RecordType::A, 1, None)).await;
        let names: Vec<_> = answer.answers.iter().map(|record| record.name.to_string()).collect();
        assert_eq!(names, [name]);
    }
}

const NAMES: usize = 8;

#[tokio::test]
async fn only_queries_to_the_tier_have_random_letters() {
    let (upstream, spellings) = spelled(|query, _| Script::Send(vec![truth(query)])).await;
    let tier = Proxy::start(&[upstream.address], &["--role", "shared"]).await;
    let sidecar = Proxy::start(&[upstream.address], &["--shared-tier", &tier.dns.to_string()]).await;
    assert_clients_see_their_own_case(&sidecar, NAMES).await;
    assert_eq!((upstream.asked(), mixed(&spellings)), (NAMES, 0));
    let doubts = [sidecar.metric(&unwanted("case")).await, sidecar.metric(DOUBTED).await];
    assert_eq!(doubts, [0, 0]);
}

#[tokio::test]
async fn a_forged_answer_in_another_case_is_ignored() {
    let (tier, spellings) = spelled(|query, by_tcp| {
        let is_victim = query.queries[0].name().to_string().to_lowercase().starts_with("victim");
        if by_tcp || !is_victim {
            return Script::Send(vec![truth(query)]);
        }
        let mut forged = folded(query);
        forged.metadata.response_code = ResponseCode::NXDomain;
        Script::Send(vec![forged])
    })
    .await;
    let sidecar = Proxy::start(&[tier.address], &["--shared-tier", &tier.address.to_string()]).await;
    assert_clients_see_their_own_case(&sidecar, NAMES).await;
    assert!(mixed(&spellings) >= NAMES - 1, "all but one in a million");
    let victim = query("victim.quite-long-name.example.", RecordType::A, 1, None);
    assert_eq!(ask(sidecar.dns, &victim).await.metadata.response_code, ResponseCode::NoError);
    let counted = [sidecar.metric(&unwanted("case")).await, sidecar.metric(DOUBTED).await];
    assert_eq!((counted, tier.asked_by_tcp()), ([1, 1], 1));
}

#[tokio::test]
async fn a_tier_that_changes_the_case_is_queried_in_lower_case() {
    let (tier, spellings) = spelled(|query, _| Script::Send(vec![folded(query)])).await;
    let sidecar = Proxy::start(&[tier.address], &["--shared-tier", &tier.address.to_string()]).await;
    assert_clients_see_their_own_case(&sidecar, NAMES).await;
    assert_eq!((tier.asked_by_udp(), tier.asked_by_tcp(), mixed(&spellings)), (NAMES, 0, 1));
}

#[tokio::test]
async fn no_lookup_fails_when_the_tier_begins_to_change_the_case() {
    let asked = AtomicUsize::new(0);
    let tier = Upstream::start(move |query, by_tcp| {
        let keeps = asked.fetch_add(1, Ordering::Relaxed) < NAMES / 2;
        let answer = if keeps { truth(query) } else { folded(query) };
        if by_tcp { Script::Close } else { Script::Send(vec![answer]) }
    })
    .await;
    let sidecar = Proxy::start(&[tier.address], &["--shared-tier", &tier.address.to_string()]).await;
    assert_clients_see_their_own_case(&sidecar, NAMES).await;
}

#[tokio::test]
async fn cluster_dns_is_queried_in_lower_case() {
    let (upstream, spellings) = spelled(|query, _| Script::Send(vec![truth(query)])).await;
    let proxy = Proxy::start(&[upstream.address], &[]).await;
    assert_clients_see_their_own_case(&proxy, NAMES).await;
    assert_eq!(mixed(&spellings), 0);
}
