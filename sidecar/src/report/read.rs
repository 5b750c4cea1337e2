//! Parses the JSON documents with hand-written code: code derived by serde would add 130 KiB to the program,
//! and every pod would pay for that.

use serde_json::Value;

use super::stats::{Cache, Counts, ForwardZone, Memory, Name, Names, Server, Stats, Upstream};
use super::{Answer, AnsweredBy, CachedFor, Exchange, Report, Step};

/// A document, or a part of one, that can be parsed.
pub trait Read: Sized {
    /// Parses the value; `None` if this version does not write such a value.
    fn read(value: &Value) -> Option<Self>;
}

impl Read for Report {
    fn read(value: &Value) -> Option<Self> {
        Some(Self {
            name: text(value, "name")?,
            rtype: text(value, "type")?,
            rcode: text(value, "rcode")?,
            answers: list(value, "answers")?,
            more_answers: number(value, "more_answers")?,
            outcome: text(value, "outcome")?,
            answered_by: AnsweredBy::read(value.get("answered_by")?)?,
            duration_us: number(value, "duration_us")?,
            exchanges: list(value, "exchanges")?,
            steps: list(value, "steps")?,
        })
    }
}

impl Read for Answer {
    fn read(value: &Value) -> Option<Self> {
        let (name, data) = (text(value, "name")?, text(value, "data")?);
        Some(Self { name, ttl_s: number(value, "ttl_s")?, rtype: text(value, "type")?, data })
    }
}

impl Read for AnsweredBy {
    fn read(value: &Value) -> Option<Self> {
        let (source, value) = value.as_object()?.iter().next()?;
        let reason = || text(value, "reason");
        let is_coalesced = || flag(value, "is_coalesced");
        Some(match source.as_str() {
            "rule" => Self::Rule { rule: text(value, "rule")?, reason: reason()? },
            "cache" => Self::Cache {
                age_s: number(value, "age_s")?,
                remaining_s: number(value, "remaining_s")?,
                cached_for: CachedFor::read(value.get("cached_for")?)?,
            },
            "expired" => Self::Expired {
                age_s: number(value, "age_s")?,
                expired_for_s: number(value, "expired_for_s")?,
                reason: reason()?,
            },
            "upstream" => Self::Upstream(Exchange::read(value)?),
            "search_list" => Self::SearchList { name: text(value, "name")?, is_coalesced: is_coalesced()? },
            "concurrent_query" => Self::ConcurrentQuery { is_coalesced: is_coalesced()? },
            "none" => Self::None { reason: reason()? },
            _ => return None,
        })
    }
}

impl Read for CachedFor {
    fn read(value: &Value) -> Option<Self> {
        match value.as_str()? {
            "question" => Some(Self::Question),
            "every_type" => Some(Self::EveryType),
            "search_list" => Some(Self::SearchList),
            _ => None,
        }
    }
}

impl Read for Exchange {
    fn read(value: &Value) -> Option<Self> {
        Some(Self {
            name: text(value, "name")?,
            rtype: text(value, "type")?,
            server: text(value, "server")?,
            transport: text(value, "transport")?,
            is_shared_tier: flag(value, "is_shared_tier")?,
            zone: text(value, "zone"),
            result: text(value, "result")?,
            attempts: number(value, "attempts")?,
            duration_us: number(value, "duration_us")?,
            is_coalesced: flag(value, "is_coalesced")?,
        })
    }
}

impl Read for Step {
    fn read(value: &Value) -> Option<Self> {
        Some(Self { at_us: number(value, "at_us")?, text: text(value, "text")? })
    }
}

impl Read for Stats {
    fn read(value: &Value) -> Option<Self> {
        let cache = value.get("cache")?;
        Some(Self {
            version: text(value, "version")?,
            uptime_s: number(value, "uptime_s")?,
            role: text(value, "role")?,
            listen: list(value, "listen")?,
            workers: number(value, "workers")?,
            search: list(value, "search")?,
            ndots: number(value, "ndots")?,
            queries: counts(value, "queries")?,
            outcomes: counts(value, "outcomes")?,
            background_queries: counts(value, "background_queries")?,
            limits_reached: counts(value, "limits_reached")?,
            panics: number(value, "panics")?,
            queries_waiting: number(value, "queries_waiting")?,
            queries_in_flight: number(value, "queries_in_flight")?,
            cache: Cache {
                entries: number(cache, "entries")?,
                bytes: number(cache, "bytes")?,
                max_bytes: number(cache, "max_bytes")?,
            },
            upstream: Upstream::read(value.get("upstream")?)?,
            forward_zones: list(value, "forward_zones")?,
            memory: value.get("memory").and_then(Memory::read),
            names: value.get("names").and_then(Names::read),
        })
    }
}

impl Read for ForwardZone {
    fn read(value: &Value) -> Option<Self> {
        Some(Self { zone: text(value, "zone")?, upstream: Upstream::read(value.get("upstream")?)? })
    }
}

impl Read for Upstream {
    fn read(value: &Value) -> Option<Self> {
        Some(Self {
            is_unavailable: flag(value, "is_unavailable")?,
            retry_budget: number(value, "retry_budget")?,
            attempts: counts(value, "attempts")?,
            retransmissions: number(value, "retransmissions")?,
            retry_budget_exhausted: number(value, "retry_budget_exhausted")?,
            servers: list(value, "servers")?,
        })
    }
}

impl Read for Server {
    fn read(value: &Value) -> Option<Self> {
        Some(Self {
            address: text(value, "address")?,
            is_shared_tier: flag(value, "is_shared_tier")?,
            is_ejected: flag(value, "is_ejected")?,
            failures: number(value, "failures")?,
            srtt_us: number(value, "srtt_us"),
            rttvar_us: number(value, "rttvar_us"),
            last_response_s: number(value, "last_response_s"),
            last_failure_s: number(value, "last_failure_s"),
            last_failure: text(value, "last_failure"),
        })
    }
}

impl Read for Memory {
    fn read(value: &Value) -> Option<Self> {
        let peak_resident_bytes = number(value, "peak_resident_bytes")?;
        Some(Self { resident_bytes: number(value, "resident_bytes")?, peak_resident_bytes })
    }
}

impl Read for Names {
    fn read(value: &Value) -> Option<Self> {
        Some(Self { counted_for_s: number(value, "counted_for_s")?, top: list(value, "top")? })
    }
}

impl Read for Name {
    fn read(value: &Value) -> Option<Self> {
        let (count, error) = (number(value, "count")?, number(value, "error")?);
        Some(Self { name: text(value, "name")?, count, error })
    }
}

impl Read for String {
    fn read(value: &Value) -> Option<Self> {
        value.as_str().map(str::to_owned)
    }
}

fn text(value: &Value, field: &str) -> Option<String> {
    String::read(value.get(field)?)
}

fn flag(value: &Value, field: &str) -> Option<bool> {
    value.get(field)?.as_bool()
}

fn number<T: TryFrom<u64>>(value: &Value, field: &str) -> Option<T> {
    T::try_from(value.get(field)?.as_u64()?).ok()
}

fn list<T: Read>(value: &Value, field: &str) -> Option<Vec<T>> {
    value.get(field)?.as_array()?.iter().map(T::read).collect()
}

fn counts(value: &Value, field: &str) -> Option<Counts> {
    let counts = value.get(field)?.as_object()?.iter();
    counts.map(|(label, count)| Some((label.clone(), count.as_u64()?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Serialize;

    fn write_and_parse<T: Serialize + Read>(document: &T) -> Option<T> {
        T::read(&serde_json::from_str(&serde_json::to_string(document).expect("writes")).expect("JSON"))
    }

    #[test]
    fn every_report_is_parsed_as_it_was_written() {
        let reason = || "so".to_owned();
        let exchange = Exchange {
            name: "a.".to_owned(),
            rtype: "A".to_owned(),
            server: "10.96.0.10:53".to_owned(),
            transport: "tcp".to_owned(),
            is_shared_tier: true,
            zone: Some("b.".to_owned()),
            result: "answer".to_owned(),
            attempts: 2,
            duration_us: 3,
            is_coalesced: true,
        };
        let sources = [
            AnsweredBy::Rule { rule: "R1".to_owned(), reason: reason() },
            AnsweredBy::Cache { age_s: 1, remaining_s: 2, cached_for: CachedFor::Question },
            AnsweredBy::Cache { age_s: 1, remaining_s: 2, cached_for: CachedFor::EveryType },
            AnsweredBy::Cache { age_s: 1, remaining_s: 2, cached_for: CachedFor::SearchList },
            AnsweredBy::Expired { age_s: 3, expired_for_s: 1, reason: reason() },
            AnsweredBy::Upstream(exchange.clone()),
            AnsweredBy::SearchList { name: "b.".to_owned(), is_coalesced: true },
            AnsweredBy::ConcurrentQuery { is_coalesced: false },
            AnsweredBy::None { reason: reason() },
        ];
        for answered_by in sources {
            let report = Report {
                name: "a.".to_owned(),
                rtype: "A".to_owned(),
                rcode: "NOERROR".to_owned(),
                answers: vec![Answer {
                    name: "a.".to_owned(),
                    ttl_s: 30,
                    rtype: "A".to_owned(),
                    data: reason(),
                }],
                more_answers: 4,
                outcome: "miss".to_owned(),
                answered_by,
                duration_us: 5,
                exchanges: vec![exchange.clone()],
                steps: vec![Step { at_us: 6, text: reason() }],
            };
            assert_eq!(write_and_parse(&report), Some(report));
        }
    }

    #[test]
    fn stats_are_parsed_with_and_without_optional_fields() {
        let top = vec![Name { name: "a.".to_owned(), count: 2, error: 1 }];
        let stats = crate::stats::text::tests::stats();
        let named = Stats { names: Some(Names { counted_for_s: 1, top }), ..stats.clone() };
        let without = Stats { memory: None, ..stats.clone() };
        for stats in [stats, named, without] {
            assert_eq!(write_and_parse(&stats), Some(stats));
        }
        assert_eq!(Stats::read(&Value::Null), None);
    }
}
