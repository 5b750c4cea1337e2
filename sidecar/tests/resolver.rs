//! The resolver over a scripted upstream in memory, with the clock held still: what is remembered how long.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use hickory_proto::op::{Message, MessageType, OpCode, Query as Question, ResponseCode};
use hickory_proto::rr::rdata::{A, SOA};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use podlocal_sidecar::cache::key::Key;
use podlocal_sidecar::cache::lifetime::Limits;
use podlocal_sidecar::metrics::Outcome;
use podlocal_sidecar::query::Query;
use podlocal_sidecar::resolver::Resolver;
use podlocal_sidecar::upstream::{Condition, Failed, Upstream};
use tokio::time::{Instant, advance};

/// Answers every question from a script, and counts.
#[derive(Debug)]
struct Scripted {
    asked: Arc<AtomicUsize>,
    answer: fn(Message) -> Option<Message>,
}

impl Upstream for Scripted {
    async fn ask(&self, key: &Key, _deadline: Instant) -> Result<Vec<u8>, Failed> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let mut question = vec![0, 0, 0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0];
        question.extend_from_slice(key.question());
        let question = Message::from_vec(&question).expect("a question decodes");
        let answer = (self.answer)(question).ok_or(Failed)?;
        Ok(answer.to_vec().expect("encodes"))
    }

    fn condition(&self) -> Condition {
        Condition::default()
    }

    fn may_ask_again(&self) -> bool {
        true
    }

    fn is_loop(&self, _query: &Query) -> bool {
        false
    }
}

struct Setup {
    resolver: Arc<Resolver<Scripted>>,
    asked: Arc<AtomicUsize>,
}

impl Setup {
    fn new(answer: fn(Message) -> Option<Message>) -> Self {
        let asked = Arc::new(AtomicUsize::new(0));
        let limits = Limits {
            min_ttl: Duration::ZERO,
            max_ttl: Duration::from_hours(1),
            negative_max_ttl: Duration::from_secs(30),
            zone: Name::from_ascii("cluster.local.").expect("a name"),
        };
        let upstream = Scripted { asked: Arc::clone(&asked), answer };
        Self { resolver: Resolver::new(1 << 20, limits, upstream), asked }
    }

    /// What a client gets for `name`, type A: the answer and how it came about.
    async fn ask(&self, name: &str) -> (Message, Outcome) {
        let mut message = Message::new(1, MessageType::Query, OpCode::Query);
        message.add_query(Question::query(Name::from_ascii(name).expect("a name"), RecordType::A));
        let query = Query::parse(&message.to_vec().expect("encodes")).expect("a query");
        let mut out = Vec::new();
        let outcome = if self.resolver.hit(&query, Instant::now().into_std(), 512, &mut out) {
            Outcome::Hit
        } else {
            self.resolver.miss(&query, 512, &mut out).await
        };
        (Message::from_vec(&out).expect("decodes"), outcome)
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

fn a(question: &Message, ttl: u32) -> Record {
    Record::from_rdata(question.queries[0].name().clone(), ttl, RData::A(A(Ipv4Addr::LOCALHOST)))
}

fn nxdomain(mut message: Message) -> Message {
    message.metadata.response_code = ResponseCode::NXDomain;
    let name = Name::from_ascii("cluster.local.").expect("a name");
    let soa = SOA::new(name.clone(), name.clone(), 1, 7200, 1800, 86400, 30);
    message.insert_authorities(vec![Record::from_rdata(name, 30, RData::SOA(soa))]);
    message
}

#[tokio::test(start_paused = true)]
async fn ttls_fall_with_the_clock_and_the_answer_ends_with_them() {
    let setup = Setup::new(|mut message| {
        message.insert_answers(vec![a(&message, 60)]);
        Some(message)
    });
    assert_eq!(setup.ask("www.example.").await.0.answers[0].ttl, 60);
    advance(Duration::from_secs(50)).await;
    let (answer, outcome) = setup.ask("www.example.").await;
    assert_eq!((answer.answers[0].ttl, outcome), (10, Outcome::Hit));
    advance(Duration::from_secs(10)).await;
    assert_eq!(setup.ask("www.example.").await.1, Outcome::Miss);
    assert_eq!(setup.asked(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_missing_service_is_asked_for_again_after_five_seconds_whatever_the_soa_says() {
    let setup = Setup::new(|message| Some(nxdomain(message)));
    let name = "late.default.svc.cluster.local.";
    assert_eq!(setup.ask(name).await.0.authorities[0].ttl, 5);
    advance(Duration::from_millis(4999)).await;
    assert_eq!(setup.ask(name).await.1, Outcome::Hit);
    advance(Duration::from_millis(1)).await;
    assert_eq!(setup.ask(name).await.1, Outcome::Miss);
}

#[tokio::test(start_paused = true)]
async fn a_missing_outside_name_is_remembered_up_to_the_negative_limit() {
    let setup = Setup::new(|message| Some(nxdomain(message)));
    setup.ask("missing.example.").await;
    advance(Duration::from_secs(29)).await;
    assert_eq!(setup.ask("missing.example.").await.1, Outcome::Hit);
    advance(Duration::from_secs(1)).await;
    assert_eq!(setup.ask("missing.example.").await.1, Outcome::Miss);
}

#[tokio::test(start_paused = true)]
async fn an_answer_with_ttl_zero_is_given_and_not_kept() {
    let setup = Setup::new(|mut message| {
        message.insert_answers(vec![a(&message, 0)]);
        Some(message)
    });
    for _ in 0..2 {
        let (answer, outcome) = setup.ask("www.example.").await;
        assert_eq!((answer.answers.len(), outcome), (1, Outcome::Miss));
    }
    assert_eq!(setup.asked(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_failed_exchange_is_servfail_and_the_next_client_asks_again() {
    let setup = Setup::new(|_| None);
    for _ in 0..2 {
        let (answer, outcome) = setup.ask("www.example.").await;
        assert_eq!((answer.metadata.response_code, outcome), (ResponseCode::ServFail, Outcome::Failed));
    }
    assert_eq!(setup.asked(), 2);
}
