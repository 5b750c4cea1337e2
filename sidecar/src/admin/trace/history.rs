//! The exchanges of a lookup, and its steps in order.

use std::time::Instant;

use podlocal_dns::key::Key;
use podlocal_dns::report::target::rtype_text;
use podlocal_dns::report::words::{counted, duration};
use podlocal_dns::report::{CachedFor, Exchange, Step};
use podlocal_dns::upstream::Target;
use podlocal_dns::wire::NameText;

use super::{LookupTrace, QueriedServer, micros};
use crate::limits;
use crate::metrics::AttemptResult;
use crate::resolver::explain::{Found, QuestionStatus};
use crate::upstream::observers::{Event, ObservedEvent};

/// The exchanges with the upstream that the query may depend on.
pub(super) fn exchanges(
    trace: &LookupTrace<'_>,
    server: impl Fn(&Key, usize) -> Option<QueriedServer>,
) -> Vec<Exchange> {
    let mut finished: Vec<Exchange> = Vec::new();
    let mut open: Vec<OpenExchange<'_>> = Vec::new();
    for ObservedEvent { at, key, event } in related_events(trace) {
        let index = open.iter().position(|other| other.key == key).unwrap_or_else(|| {
            // The start of an exchange that is older than the observation is not known: it starts here with
            // its end.
            let is_coalesced = !matches!(event, Event::AttemptStarted { .. });
            open.push(OpenExchange { key, started: *at, rank: 0, exchange: new_exchange(key, is_coalesced) });
            open.len() - 1
        });
        let Some(OpenExchange { started, rank, exchange, .. }) = open.get_mut(index) else { continue };
        exchange.duration_us = micros(at.saturating_duration_since(*started));
        let mut set_deciding_attempt = |attempt: &Target, result: &str| {
            result.clone_into(&mut exchange.result);
            attempt.transport.name().clone_into(&mut exchange.transport);
            if let Some(QueriedServer { address, is_shared_tier, zone }) = server(key, attempt.server) {
                exchange.server = address.to_string();
                (exchange.is_shared_tier, exchange.zone) = (is_shared_tier, zone);
            }
        };
        match event {
            Event::AttemptStarted { target } => {
                if *rank == 0 {
                    set_deciding_attempt(target, IN_FLIGHT);
                }
                exchange.attempts += 1;
            }
            Event::AttemptEnded { target, result, .. } if rank_of(*result) >= *rank => {
                *rank = rank_of(*result);
                set_deciding_attempt(target, result.label());
            }
            Event::AttemptEnded { .. } => {}
            Event::ExchangeEnded { attempts, took } => {
                (exchange.attempts, exchange.duration_us) = (u32::from(*attempts), micros(*took));
                exchange.is_coalesced |= at.saturating_duration_since(trace.explained.started) < *took;
                finished.push(open.swap_remove(index).exchange);
            }
        }
    }
    finished.extend(open.into_iter().map(|open| open.exchange));
    finished
}

/// An exchange whose end has not been observed yet.
struct OpenExchange<'a> {
    key: &'a Key,
    started: tokio::time::Instant,
    /// The rank of the attempt that decides the exchange so far.
    rank: u8,
    exchange: Exchange,
}

fn new_exchange(key: &Key, is_coalesced: bool) -> Exchange {
    Exchange {
        name: NameText(key.name()).to_string(),
        rtype: rtype_text(key.type_and_class().0),
        server: String::new(),
        transport: String::new(),
        is_shared_tier: false,
        zone: None,
        result: IN_FLIGHT.to_owned(),
        attempts: 0,
        duration_us: 0,
        is_coalesced,
    }
}

const IN_FLIGHT: &str = "in_flight";

/// Of several attempts, the one with the highest rank decides the exchange.
fn rank_of(result: AttemptResult) -> u8 {
    match result {
        AttemptResult::Answer => 6,
        AttemptResult::Truncated => 5,
        AttemptResult::Failure => 4,
        AttemptResult::NegativeIgnored => 3,
        AttemptResult::Unreachable => 2,
        AttemptResult::Timeout => 1,
        AttemptResult::Superseded => 0,
    }
}

pub(super) fn steps(
    trace: &LookupTrace<'_>,
    server: impl Fn(&Key, usize) -> Option<QueriedServer>,
) -> Vec<Step> {
    let LookupTrace { explained, walked, .. } = trace;
    let mut steps = Vec::new();
    let mut add = |at_us, text: String| steps.push(Step { at_us, text });
    if let Some(status) = &explained.status {
        for text in describe_before(status, explained.started.into_std()) {
            add(0, text);
        }
    }
    let destination = |key: &Key, attempt: &Target| {
        let server = match server(key, attempt.server) {
            Some(QueriedServer { address, zone: Some(zone), .. }) => format!("forward zone {zone} {address}"),
            Some(QueriedServer { address, is_shared_tier: true, .. }) => format!("shared tier {address}"),
            Some(QueriedServer { address, .. }) => address.to_string(),
            None => String::new(),
        };
        format!("{server} over {}", attempt.transport.name().to_uppercase())
    };
    for ObservedEvent { at, key, event } in related_events(trace) {
        let question = format!("{} {}", NameText(key.name()), rtype_text(key.type_and_class().0));
        let text = match event {
            Event::AttemptStarted { target } => {
                format!("queries {} for {question}", destination(key, target))
            }
            Event::AttemptEnded { target, result, took } => {
                format!("{}: {} after {}", destination(key, target), result.label(), duration(micros(*took)))
            }
            Event::ExchangeEnded { attempts, took } => {
                let attempts = counted((*attempts).into(), "attempt");
                format!("exchange for {question} ended: {attempts}, {}", duration(micros(*took)))
            }
        };
        add(micros(at.saturating_duration_since(explained.started)), text);
    }
    let end = micros(explained.duration);
    let now = explained.started.into_std() + explained.duration;
    for (key, status) in *walked {
        add(end, format!("search list: {}: {}", NameText(key.name()), describe_found(status, now)));
    }
    add(end, format!("outcome: {}", explained.outcome.label()));
    steps
}

/// What the sidecar knew when the query arrived, as far as it decided the next steps.
fn describe_before(status: &QuestionStatus, now: Instant) -> Vec<String> {
    let mut known = vec![format!("cache: {}", describe_cached(status, now))];
    if !matches!(status.found, Some(Found::Cached(_, CachedFor::Question))) {
        known.push(status.reasoning.clone());
    }
    if status.found.is_some() {
        return known;
    }
    if let Some(zone) = &status.forward_zone {
        known.push(format!("forward zone {zone}: only its servers are queried for the name as it stands"));
    }
    if status.has_failed_lately {
        let seconds = limits::FAILURE_MEMORY.as_secs();
        known.push(format!("failures: an upstream query failed less than {seconds} s ago"));
    }
    if status.is_upstream_down {
        known.push("upstream: every server is down".to_owned());
    }
    if status.is_in_flight {
        known.push("in flight: the same query was already sent upstream".to_owned());
    }
    known
}

fn describe_found(status: &QuestionStatus, now: Instant) -> String {
    match &status.found {
        Some(Found::Ruled(rule)) => format!("rule {rule}: {}", rule.because()),
        _ => describe_cached(status, now),
    }
}

fn describe_cached(status: &QuestionStatus, now: Instant) -> String {
    match (&status.found, &status.expired) {
        (Some(Found::Cached(entry, place)), _) => {
            let content = match (place, entry.is_nxdomain()) {
                (CachedFor::EveryType, _) => "the name does not exist, for any type",
                (CachedFor::SearchList, _) => "the result of the search list",
                (CachedFor::Question, true) => "the name does not exist",
                (CachedFor::Question, false) => "an answer",
            };
            let (age, seconds) = (entry.age(now), entry.seconds());
            format!("{content}, {age} s old, expires in {} s", seconds.saturating_sub(age))
        }
        (_, Some(entry)) => {
            format!("an answer that expired {} s ago", entry.age(now).saturating_sub(entry.seconds()))
        }
        _ => "nothing".to_owned(),
    }
}

fn related_events<'a>(trace: &LookupTrace<'a>) -> impl Iterator<Item = &'a ObservedEvent> {
    let (noted, related) = (trace.noted, trace.related);
    noted.iter().filter(move |noted| related.contains(&noted.key))
}
