//! A scenario: a script of the upstream's answers, of a client's queries and their answers, and of time. No
//! socket is involved and the clock is paused between the lines.
//!
//! ```text
//! # One promise; the first line says which.
//! settings --namespace web --ndots 5        the sidecar's flags; once, first
//! world NAME TYPE SAYS                      what the upstream says from now on; `*.` and a suffix, type `*`
//! later 1s NAME TYPE SAYS                   the same after that time
//! world condition down                      what the upstream thinks of itself: `up`, `down` or `dead`
//! ask NAME TYPE -> RCODE [OUTCOME] [WORDS]  a client asks and gets that
//! both NAME -> RCODE [WORDS]                A and AAAA at the same time, the same verdict
//! pass 5s                                   time passes
//! asked 2                                   so many questions reached the upstream since the last such line
//! at ZONE world ... | later ... | asked ... the same of the servers of a forward zone
//! ```
//!
//! SAYS: `ADDRESS ttl 60`, `RECORD ttl 60` (some record of the type that is asked for), `NODATA`, an RCODE
//! such as `NXDOMAIN` or `SERVFAIL`, `silent`, `panic`, each with `in 2s` behind it for an answer that takes
//! so long instead of 1 ms. Negative answers carry an SOA of `soa 30` seconds unless another is given; with
//! `soa 0` they carry none. The last line that fits wins; what no line fits does not exist.
//!
//! WORDS: `ttl 30` (of the first record), `took 400ms` (of the still clock), an address, `alias NAME`, `holds
//! TYPE`.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query as Question, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, MX, PTR, SOA, SRV, TXT};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use podlocal_dns::key::Key;
use podlocal_dns::upstream::Condition;
use podlocal_dns::wire::Rcode;
use podlocal_settings::value;
use podlocal_sidecar::metrics::{Metrics, Outcome};
use podlocal_sidecar::query::Query;
use podlocal_sidecar::reply;
use podlocal_sidecar::resolver::Resolver;
use podlocal_sidecar::upstream::{Failed, Upstream};
use tokio::time::{Instant, sleep, sleep_until};

/// Runs the script; the error names the line.
pub(crate) async fn run(script: &str) -> Result<(), String> {
    let mut lines =
        script.lines().enumerate().filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#'));
    let mut stage = None;
    for (number, line) in lines.by_ref() {
        let words: Vec<_> = line.split_whitespace().collect();
        let done = match (&stage, words.as_slice()) {
            (None, ["settings", flags @ ..]) => {
                stage = Some(Stage::new(flags)?);
                Ok(())
            }
            (None, _) => Err("the first line that is no comment must be `settings`".to_owned()),
            (Some(stage), words) => stage.step(words).await,
        };
        done.map_err(|error| format!("line {}: {line}: {error}", number + 1))?;
        for _ in 0..20 {
            tokio::task::yield_now().await; // background tasks run as far as they can
        }
    }
    stage.map(|_| ()).ok_or_else(|| "an empty scenario".to_owned())
}

struct Stage {
    resolver: Arc<Resolver<World>>,
    world: World,
    /// The worlds of the forward zones.
    zones: HashMap<String, World>,
}

impl Stage {
    fn new(flags: &[&str]) -> Result<Self, String> {
        let arguments = ["podlocal-sidecar"].iter().chain(flags).map(std::ffi::OsString::from);
        let invocation =
            podlocal_sidecar::cli::parse(arguments, []).map_err(|errors| format!("{errors:?}"))?;
        let settings = &invocation.settings;
        let (world, metrics) = (World::default(), Metrics::new().0);
        let forward: Vec<_> = settings.forward_zones.iter().map(|_| World::default()).collect();
        let resolver = Resolver::with_zones(settings, 1, world.clone(), forward.clone(), metrics);
        let names = settings.forward_zones.iter().map(|forward| forward.zone.to_string());
        Ok(Self { resolver, world, zones: names.zip(forward).collect() })
    }

    async fn step(&self, words: &[&str]) -> Result<(), String> {
        match words {
            ["at", zone, words @ ..] => {
                let world = self.zones.get(*zone).ok_or_else(|| format!("no forward zone {zone}"))?;
                self.step_at(world, words).await
            }
            words => self.step_at(&self.world, words).await,
        }
    }

    async fn step_at(&self, world: &World, words: &[&str]) -> Result<(), String> {
        match words {
            ["world", "condition", word] => {
                let mut world = world.lock();
                (world.is_down, world.is_dead) = (*word != "up", *word == "dead");
                Ok(())
            }
            ["later", time, name, kind, says @ ..] => {
                let (world, rule) = (world.clone(), Rule::parse(name, kind, says)?);
                let time = value::duration(time)?;
                tokio::spawn(async move {
                    sleep(time).await;
                    world.lock().rules.push(rule);
                });
                Ok(())
            }
            ["world", name, kind, says @ ..] => {
                world.lock().rules.push(Rule::parse(name, kind, says)?);
                Ok(())
            }
            ["ask", name, kind, "->", expected @ ..] => {
                let start = Instant::now();
                let (answer, outcome) = self.ask(name, kind_of(kind)?).await;
                compare(&answer, Some(outcome), start.elapsed(), expected)
            }
            ["both", name, "->", expected @ ..] => {
                let start = Instant::now();
                let (a, aaaa) = tokio::join!(self.ask(name, RecordType::A), self.ask(name, RecordType::AAAA));
                let took = start.elapsed();
                compare(&a.0, None, took, expected).map_err(|error| format!("A: {error}"))?;
                compare(&aaaa.0, None, took, expected).map_err(|error| format!("AAAA: {error}"))
            }
            ["pass", time] => {
                // Exchanges in flight run meanwhile.
                let end = Instant::now() + value::duration(time)?;
                sleep_until(end).await;
                Ok(())
            }
            ["asked", number] => {
                let asked = world.asked.swap(0, Ordering::SeqCst).to_string();
                if asked == *number { Ok(()) } else { Err(format!("{asked} questions reached the upstream")) }
            }
            _ => Err("no such step".to_owned()),
        }
    }

    /// Resolves like the server: from the cache, else by a miss.
    async fn ask(&self, name: &str, kind: RecordType) -> (Message, Outcome) {
        let mut message = Message::new(1, MessageType::Query, OpCode::Query);
        message.metadata.recursion_desired = true;
        message.add_query(Question::query(Name::from_ascii(name).expect("a name"), kind));
        let bytes = message.to_vec().expect("encodes");
        let query = Query::parse(&bytes).expect("a query");
        let mut out = Vec::new();
        let now = Instant::now().into_std();
        let outcome = match self.resolver.try_hit(&query, now, 512, &mut out) {
            Ok(outcome) => outcome,
            Err(_) if self.resolver.is_loop(&query) => {
                reply::write_error(&query, Rcode::SERVFAIL, &mut out);
                Outcome::Loop
            }
            Err(_) => self.resolver.resolve_miss(&Arc::new(query.key.clone())).await.write(
                query.client(),
                512,
                &mut out,
            ),
        };
        (Message::from_vec(&out).expect("what a client gets decodes"), outcome)
    }
}

/// Checks every word that is expected of an answer.
fn compare(
    answer: &Message,
    outcome: Option<Outcome>,
    took: Duration,
    expected: &[&str],
) -> Result<(), String> {
    let first = answer.answers.iter().chain(&answer.authorities).next();
    let seen =
        format!("got {:?}, {outcome:?}, after {took:?}, {:?}", answer.metadata.response_code, answer.answers);
    let mut words = expected.iter().copied();
    while let Some(word) = words.next() {
        let mut next = || words.next().unwrap_or_default();
        let holds = match word {
            "NOERROR" => answer.metadata.response_code == ResponseCode::NoError && !answer.answers.is_empty(),
            "NODATA" => {
                let is_alias = |record: &Record| record.record_type() == RecordType::CNAME;
                answer.metadata.response_code == ResponseCode::NoError && answer.answers.iter().all(is_alias)
            }
            "empty" => answer.answers.is_empty(),
            "ttl" => {
                let ttl = next();
                first.is_some_and(|record| record.ttl.to_string() == ttl)
            }
            "took" => value::duration(next())? == Duration::from_millis(took.as_millis() as u64),
            "alias" => {
                let target = next();
                let is_target = |record: &Record| record.data.to_string().trim_end_matches('.') == target;
                answer
                    .answers
                    .iter()
                    .any(|record| record.record_type() == RecordType::CNAME && is_target(record))
            }
            "holds" => {
                let rtype = kind_of(next())?;
                answer.answers.iter().any(|record| record.record_type() == rtype)
            }
            word if rcode_of(word).is_some() => rcode_of(word) == Some(answer.metadata.response_code),
            word => match word.parse::<IpAddr>() {
                Ok(address) => answer.answers.iter().any(|record| record.data.ip_addr() == Some(address)),
                Err(_) => outcome.is_some_and(|outcome| outcome.label() == word),
            },
        };
        if !holds {
            return Err(format!("{word:?} does not hold: {seen}"));
        }
    }
    Ok(())
}

/// The RCODEs without an answer.
fn rcode_of(text: &str) -> Option<ResponseCode> {
    Some(match text {
        "FORMERR" => ResponseCode::FormErr,
        "SERVFAIL" => ResponseCode::ServFail,
        "NXDOMAIN" => ResponseCode::NXDomain,
        "NOTIMP" => ResponseCode::NotImp,
        "REFUSED" => ResponseCode::Refused,
        "YXDOMAIN" => ResponseCode::YXDomain,
        "NOTAUTH" => ResponseCode::NotAuth,
        "BADVERS" => ResponseCode::BADVERS,
        "BADCOOKIE" => ResponseCode::BADCOOKIE,
        _ => return None,
    })
}

fn kind_of(text: &str) -> Result<RecordType, String> {
    text.parse().map_err(|_| format!("{text:?} is no record type"))
}

/// The upstream of a scenario.
#[derive(Debug, Clone, Default)]
struct World {
    state: Arc<Mutex<State>>,
    asked: Arc<AtomicUsize>,
}

#[derive(Debug, Default)]
struct State {
    rules: Vec<Rule>,
    is_down: bool,
    is_dead: bool,
    last_response: Option<Instant>,
}

#[derive(Debug, Clone)]
struct Rule {
    name: String,
    kind: Option<RecordType>,
    says: String,
    numbers: HashMap<String, u32>,
    after: Duration,
}

impl Rule {
    fn parse(name: &str, kind: &str, says: &[&str]) -> Result<Self, String> {
        let kind = if kind == "*" { None } else { Some(kind_of(kind)?) };
        let says = says.split_first().ok_or("what does it say?")?;
        let (mut numbers, mut after) = (HashMap::new(), Duration::from_millis(1));
        for pair in says.1.chunks(2) {
            match pair {
                ["in", time] => after = value::duration(time)?,
                [word, number] => {
                    numbers.insert((*word).to_owned(), value::number(number)?);
                }
                _ => return Err("a word without its number".to_owned()),
            }
        }
        Ok(Self { name: name.to_owned(), kind, says: (*says.0).to_owned(), numbers, after })
    }

    fn fits(&self, name: &str, kind: RecordType) -> bool {
        let is_name = match self.name.strip_prefix('*') {
            Some(suffix) => name.ends_with(suffix),
            None => name == self.name,
        };
        is_name && self.kind.is_none_or(|own| own == kind)
    }

    fn number(&self, word: &str, otherwise: u32) -> u32 {
        self.numbers.get(word).copied().unwrap_or(otherwise)
    }

    /// The response to a question, as it is put on the wire.
    fn response(&self, mut message: Message) -> Message {
        let (question, rtype) = (message.queries[0].name().clone(), message.queries[0].query_type());
        message.metadata.response_code = rcode_of(&self.says).unwrap_or(ResponseCode::NoError);
        if message.metadata.response_code.high() > 0 {
            message.set_edns(Edns::new());
        }
        let soa = self.number("soa", 30);
        if let Ok(address) = self.says.parse::<IpAddr>() {
            message.insert_answers(vec![Record::from_rdata(
                question,
                self.number("ttl", 60),
                address.into(),
            )]);
        } else if self.says == "RECORD" {
            let record = Record::from_rdata(question, self.number("ttl", 60), some_data(rtype));
            message.insert_answers(vec![record]);
        } else if matches!(self.says.as_str(), "NXDOMAIN" | "NODATA") && soa > 0 {
            let zone = Name::from_ascii("cluster.local.").expect("a name");
            let data = RData::SOA(SOA::new(zone.clone(), zone.clone(), 1, 7200, 1800, 86400, soa));
            message.insert_authorities(vec![Record::from_rdata(zone, soa, data)]);
        }
        message
    }
}

/// Data of that type.
fn some_data(rtype: RecordType) -> RData {
    let target = Name::from_ascii("target.example.").expect("a name");
    match rtype {
        RecordType::A => RData::A(A::new(203, 0, 113, 1)),
        RecordType::AAAA => RData::AAAA(AAAA::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)),
        RecordType::MX => RData::MX(MX::new(10, target)),
        RecordType::PTR => RData::PTR(PTR(target)),
        RecordType::SRV => RData::SRV(SRV::new(0, 100, 80, target)),
        _ => RData::TXT(TXT::new(vec!["text".to_owned()])),
    }
}

impl World {
    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().expect("no test panics with the lock")
    }
}

impl Upstream for World {
    async fn ask(&self, key: &Key, deadline: Instant) -> Result<Vec<u8>, Failed> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let mut question = vec![0, 0, 0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0];
        question.extend_from_slice(key.question());
        let question = Message::from_vec(&question).expect("a question decodes");
        let name = question.queries[0].name().to_string();
        let (name, kind) = (name.trim_end_matches('.').to_owned(), question.queries[0].query_type());
        let rule = self.lock().rules.iter().rev().find(|rule| rule.fits(&name, kind)).cloned();
        let rule = rule.unwrap_or_else(|| Rule::parse("*", "*", &["NXDOMAIN"]).expect("a rule"));
        assert_ne!(rule.says, "panic", "the scenario says so");
        if rule.says == "silent" || Instant::now() + rule.after > deadline {
            sleep_until(deadline).await;
            return Err(Failed);
        }
        sleep(rule.after).await;
        self.lock().last_response = Some(Instant::now());
        Ok(rule.response(question).to_vec().expect("encodes"))
    }

    fn condition(&self) -> Condition {
        let state = self.lock();
        Condition {
            is_down: state.is_down,
            is_dead: state.is_dead,
            is_refusing: false,
            last_response: state.last_response.map(Instant::into_std),
        }
    }

    fn try_spend_token(&self) -> bool {
        true
    }

    fn may_refresh(&self) -> bool {
        true
    }

    fn is_loop(&self, query: &Query<'_>) -> bool {
        query.key.name().starts_with(b"\x04loop")
    }
}
