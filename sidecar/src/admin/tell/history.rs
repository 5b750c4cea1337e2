//! What exchanges did, and what was done, in order.

use std::time::Instant;

use super::{Learnt, Server, micros};
use crate::cache::key::Key;
use podlocal_dns::upstream::Step as Asked;

use crate::limits;
use crate::metrics::AttemptResult;
use crate::paint::{counted, duration};
use crate::report::target::kind_text;
use crate::report::{Exchange, Step};
use crate::resolver::explain::{Found, Place, Standing};
use crate::upstream::observers::{Event, Noted};
use crate::wire::NameText;

/// What was asked of the upstream for this question meanwhile.
pub(super) fn exchanges(
    learnt: &Learnt<'_>,
    server: impl Fn(&Key, usize) -> Option<Server>,
) -> Vec<Exchange> {
    let mut done: Vec<Exchange> = Vec::new();
    let mut open: Vec<Open<'_>> = Vec::new();
    for Noted { at, key, event } in concerning(learnt) {
        let index = open.iter().position(|other| other.key == key).unwrap_or_else(|| {
            // One that had begun before anybody listened begins here with its end.
            let is_coalesced = !matches!(event, Event::Asked { .. });
            open.push(Open { key, begun: *at, weight: 0, exchange: begun(key, is_coalesced) });
            open.len() - 1
        });
        let Some(Open { begun, weight, exchange, .. }) = open.get_mut(index) else { continue };
        exchange.took_us = micros(at.saturating_duration_since(*begun));
        let mut decides = |step: &Asked, result: &str| {
            result.clone_into(&mut exchange.result);
            step.transport.name().clone_into(&mut exchange.transport);
            if let Some(Server { address, tier, zone }) = server(key, step.server) {
                (exchange.server, exchange.is_shared_tier, exchange.zone) = (address.to_string(), tier, zone);
            }
        };
        match event {
            Event::Asked { step } => {
                if *weight == 0 {
                    decides(step, IN_FLIGHT);
                }
                exchange.attempts += 1;
            }
            Event::Ended { step, result, .. } if weight_of(*result) >= *weight => {
                *weight = weight_of(*result);
                decides(step, result.name());
            }
            Event::Ended { .. } => {}
            Event::Over { attempts, took } => {
                (exchange.attempts, exchange.took_us) = (u32::from(*attempts), micros(*took));
                exchange.is_coalesced |= at.saturating_duration_since(learnt.explained.begun) < *took;
                done.push(open.swap_remove(index).exchange);
            }
        }
    }
    done.extend(open.into_iter().map(|open| open.exchange));
    done
}

/// An exchange that is not over yet.
struct Open<'a> {
    key: &'a Key,
    begun: tokio::time::Instant,
    /// That of the attempt which decides it so far.
    weight: u8,
    exchange: Exchange,
}

fn begun(key: &Key, is_coalesced: bool) -> Exchange {
    Exchange {
        name: NameText(key.name()).to_string(),
        kind: kind_text(key.type_and_class().0),
        server: String::new(),
        transport: String::new(),
        is_shared_tier: false,
        zone: None,
        result: IN_FLIGHT.to_owned(),
        attempts: 0,
        took_us: 0,
        is_coalesced,
    }
}

const IN_FLIGHT: &str = "in_flight";

/// Which of several attempts decides an exchange.
fn weight_of(result: AttemptResult) -> u8 {
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

/// What was done, in words.
pub(super) fn steps(learnt: &Learnt<'_>, server: impl Fn(&Key, usize) -> Option<Server>) -> Vec<Step> {
    let Learnt { explained, walked, .. } = learnt;
    let mut steps = Vec::new();
    let mut add = |at_us, what: String| steps.push(Step { at_us, what });
    if let Some(standing) = &explained.standing {
        for what in before(standing, explained.begun.into_std()) {
            add(0, what);
        }
    }
    let named = |key: &Key, step: &Asked| {
        let whose = match server(key, step.server) {
            Some(Server { address, zone: Some(zone), .. }) => format!("forward zone {zone} {address}"),
            Some(Server { address, tier: true, .. }) => format!("shared tier {address}"),
            Some(Server { address, .. }) => address.to_string(),
            None => String::new(),
        };
        format!("{whose} over {}", step.transport.name().to_uppercase())
    };
    for Noted { at, key, event } in concerning(learnt) {
        let question = format!("{} {}", NameText(key.name()), kind_text(key.type_and_class().0));
        let what = match event {
            Event::Asked { step } => format!("queries {} for {question}", named(key, step)),
            Event::Ended { step, result, took } => {
                format!("{}: {} after {}", named(key, step), result.name(), duration(micros(*took)))
            }
            Event::Over { attempts, took } => {
                let attempts = counted((*attempts).into(), "attempt");
                format!("exchange for {question} ended: {attempts}, {}", duration(micros(*took)))
            }
        };
        add(micros(at.saturating_duration_since(explained.begun)), what);
    }
    let end = micros(explained.took);
    let now = explained.begun.into_std() + explained.took;
    for (key, standing) in *walked {
        add(end, format!("search list: {}: {}", NameText(key.name()), found(standing, now)));
    }
    add(end, format!("outcome: {}", explained.outcome.name()));
    steps
}

/// What was known when the question came, and decided how it went on.
fn before(standing: &Standing, now: Instant) -> Vec<String> {
    let mut known = vec![format!("cache: {}", cached(standing, now))];
    if !matches!(standing.found, Some(Found::Cached(_, Place::Question))) {
        known.push(standing.reasoning.clone());
    }
    if standing.found.is_some() {
        return known;
    }
    if let Some(zone) = &standing.forward_zone {
        known.push(format!("forward zone {zone}: only its servers are queried for the name as it stands"));
    }
    if standing.has_failed_lately {
        known.push(format!(
            "failures: an upstream query failed less than {} s ago",
            limits::FAILURE_MEMORY.as_secs()
        ));
    }
    if standing.is_upstream_down {
        known.push("upstream: no server is known to answer".to_owned());
    }
    if standing.is_under_way {
        known.push("in flight: the same query was already sent upstream".to_owned());
    }
    known
}

fn found(standing: &Standing, now: Instant) -> String {
    match &standing.found {
        Some(Found::Ruled(rule)) => format!("rule {rule}: {}", rule.because()),
        _ => cached(standing, now),
    }
}

fn cached(standing: &Standing, now: Instant) -> String {
    match (&standing.found, &standing.expired) {
        (Some(Found::Cached(entry, place)), _) => {
            let of = match (place, entry.is_nxdomain()) {
                (Place::EveryType, _) => "the name does not exist, for any type",
                (Place::SearchList, _) => "the result of the search list",
                (Place::Question, true) => "the name does not exist",
                (Place::Question, false) => "an answer",
            };
            let (age, seconds) = (entry.age(now), entry.seconds());
            format!("{of}, {age} s old, good for {} s", seconds.saturating_sub(age))
        }
        (_, Some(entry)) => {
            format!("an answer that expired {} s ago", entry.age(now).saturating_sub(entry.seconds()))
        }
        _ => "nothing".to_owned(),
    }
}

fn concerning<'a>(learnt: &Learnt<'a>) -> impl Iterator<Item = &'a Noted> {
    let (noted, related) = (learnt.noted, learnt.related);
    noted.iter().filter(move |noted| related.contains(&noted.key))
}
