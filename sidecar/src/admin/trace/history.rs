//! The exchanges of a lookup, and its steps in order.

use std::time::Instant;

use podlocal_dns::key::Key;
use podlocal_dns::report::target::rtype_text;
use podlocal_dns::report::words::{counted, duration};
use podlocal_dns::report::{CachedFor, Exchange, Step};
use podlocal_dns::upstream::Target;
use podlocal_dns::wire::NameText;

use super::{LookupTrace, micros};
use crate::limits;
use crate::metrics::AttemptResult;
use crate::resolver::explain::{Found, QuestionStatus};
use crate::upstream::observers::{Event, ObservedEvent};

/// The exchanges with the upstream that the query may depend on, in the order of their ends; those in flight are
/// last.
pub(super) fn exchanges(trace: &LookupTrace<'_>) -> Vec<Exchange> {
    let mut exchanges: Vec<Vec<&ObservedEvent>> = Vec::new();
    for event in trace.events {
        let is_open = |events: &&mut Vec<&ObservedEvent>| {
            events.last().is_some_and(|last| last.key == event.key && !is_end(last))
        };
        match exchanges.iter_mut().find(is_open) {
            Some(events) => events.push(event),
            None => exchanges.push(vec![event]),
        }
    }
    exchanges.sort_by_key(|events| events.last().map(|last| (!is_end(last), last.at)));
    exchanges.iter().filter_map(|events| exchange(events, trace)).collect()
}

fn is_end(observed: &ObservedEvent) -> bool {
    matches!(observed.event, Event::ExchangeEnded { .. })
}

/// The exchange with these events.
fn exchange(events: &[&ObservedEvent], trace: &LookupTrace<'_>) -> Option<Exchange> {
    let (first, last) = (events.first()?, events.last()?);
    let is_start = |event: &Event| matches!(event, Event::AttemptStarted { .. });
    let starts = events.iter().filter(|observed| is_start(&observed.event)).count() as u32;
    // An exchange that is older than the observation begins here with a later event.
    let (attempts, took, is_coalesced) = match last.event {
        Event::ExchangeEnded { attempts, took } => {
            (attempts.into(), took, last.at < trace.explained.started + took)
        }
        _ => (starts, last.at - first.at, false),
    };
    let deciding = events.iter().filter_map(|observed| match observed.event {
        Event::AttemptStarted { target } => Some((0, target, IN_FLIGHT)),
        Event::AttemptEnded { target, result, .. } => Some((rank_of(result), target, result.label())),
        Event::ExchangeEnded { .. } => None,
    });
    let deciding = deciding.max_by_key(|(rank, ..)| *rank);
    let (target, result) = deciding.map_or((None, IN_FLIGHT), |(_, target, result)| (Some(target), result));
    let server = target.and_then(|target| trace.resolver.upstream(&first.key).server(target.server));
    Some(Exchange {
        name: NameText(first.key.name()).to_string(),
        rtype: rtype_text(first.key.type_and_class().0),
        transport: target.map_or("", |target| target.transport.name()).to_owned(),
        is_shared_tier: server.is_some_and(|(_, is_shared_tier)| is_shared_tier),
        server: server.map(|(address, _)| address.to_string()).unwrap_or_default(),
        zone: server.and_then(|_| trace.resolver.forward_zone(&first.key)),
        result: result.to_owned(),
        attempts,
        duration_us: micros(took),
        is_coalesced: is_coalesced || !is_start(&first.event),
    })
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

pub(super) fn steps(trace: &LookupTrace<'_>) -> Vec<Step> {
    let LookupTrace { explained, walked, .. } = trace;
    let mut steps = Vec::new();
    let mut add = |at_us, text: String| steps.push(Step { at_us, text });
    if let Some(status) = &explained.status {
        for text in describe_before(status, explained.started.into_std()) {
            add(0, text);
        }
    }
    let destination = |key: &Key, attempt: &Target| {
        let kind = match trace.resolver.upstream(key).server(attempt.server) {
            Some((address, true)) => format!("shared tier {address}"),
            Some((address, false)) => match trace.resolver.forward_zone(key) {
                Some(zone) => format!("forward zone {zone} {address}"),
                None => address.to_string(),
            },
            None => String::new(),
        };
        format!("{kind} over {}", attempt.transport.name().to_uppercase())
    };
    for ObservedEvent { at, key, event } in trace.events {
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
