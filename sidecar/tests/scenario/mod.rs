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

mod world;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use hickory_proto::op::{Message, MessageType, OpCode, Query as Question, ResponseCode};
use hickory_proto::rr::{Name, Record, RecordType};
use podlocal_dns::wire::Rcode;
use podlocal_settings::value;
use podlocal_sidecar::metrics::{Metrics, Outcome};
use podlocal_sidecar::query::Query;
use podlocal_sidecar::reply;
use podlocal_sidecar::resolver::Resolver;
use tokio::time::{Instant, sleep, sleep_until};

use world::{Rule, World, kind_of, rcode_of};

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
