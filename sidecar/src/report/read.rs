//! JSON -> the documents, by hand: what serde derives for it weighs 130 KiB, and every pod would pay for
//! that.

use serde_json::Value;

use super::figures::{Cache, Counts, Figures, ForwardZone, Memory, Name, Names, Server, Upstream};
use super::{Answer, By, Exchange, Place, Report, Step};

/// A document, or a part of one, that can be read; `None`: it is not what this version writes.
pub trait Read: Sized {
    /// Reads it.
    fn read(value: &Value) -> Option<Self>;
}

impl Read for Report {
    fn read(value: &Value) -> Option<Self> {
        Some(Self {
            name: text(value, "name")?,
            kind: text(value, "type")?,
            rcode: text(value, "rcode")?,
            answers: list(value, "answers")?,
            more_answers: number(value, "more_answers")?,
            outcome: text(value, "outcome")?,
            by: By::read(value.get("by")?)?,
            took_us: number(value, "took_us")?,
            exchanges: list(value, "exchanges")?,
            steps: list(value, "steps")?,
        })
    }
}

impl Read for Answer {
    fn read(value: &Value) -> Option<Self> {
        let (name, data) = (text(value, "name")?, text(value, "data")?);
        Some(Self { name, ttl_s: number(value, "ttl_s")?, kind: text(value, "type")?, data })
    }
}

impl Read for By {
    fn read(value: &Value) -> Option<Self> {
        let (way, value) = value.as_object()?.iter().next()?;
        let because = || text(value, "because");
        let is_coalesced = || flag(value, "is_coalesced");
        Some(match way.as_str() {
            "rule" => Self::Rule { rule: text(value, "rule")?, because: because()? },
            "cache" => Self::Cache {
                age_s: number(value, "age_s")?,
                remaining_s: number(value, "remaining_s")?,
                place: Place::read(value.get("place")?)?,
            },
            "expired" => Self::Expired {
                age_s: number(value, "age_s")?,
                expired_for_s: number(value, "expired_for_s")?,
                because: because()?,
            },
            "upstream" => Self::Upstream(Exchange::read(value)?),
            "search_list" => Self::SearchList { name: text(value, "name")?, is_coalesced: is_coalesced()? },
            "concurrent_query" => Self::ConcurrentQuery { is_coalesced: is_coalesced()? },
            "none" => Self::None { because: because()? },
            _ => return None,
        })
    }
}

impl Read for Place {
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
            kind: text(value, "type")?,
            server: text(value, "server")?,
            transport: text(value, "transport")?,
            is_shared_tier: flag(value, "is_shared_tier")?,
            zone: text(value, "zone"),
            result: text(value, "result")?,
            attempts: number(value, "attempts")?,
            took_us: number(value, "took_us")?,
            is_coalesced: flag(value, "is_coalesced")?,
        })
    }
}

impl Read for Step {
    fn read(value: &Value) -> Option<Self> {
        Some(Self { at_us: number(value, "at_us")?, what: text(value, "what")? })
    }
}

impl Read for Figures {
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

    fn again<T: Serialize + Read>(document: &T) -> Option<T> {
        T::read(&serde_json::from_str(&serde_json::to_string(document).expect("writes")).expect("JSON"))
    }

    #[test]
    fn what_is_written_is_read_again_whoever_answered() {
        let because = || "so".to_owned();
        let exchange = Exchange {
            name: "a.".to_owned(),
            kind: "A".to_owned(),
            server: "10.96.0.10:53".to_owned(),
            transport: "tcp".to_owned(),
            is_shared_tier: true,
            zone: Some("b.".to_owned()),
            result: "answer".to_owned(),
            attempts: 2,
            took_us: 3,
            is_coalesced: true,
        };
        let ways = [
            By::Rule { rule: "R1".to_owned(), because: because() },
            By::Cache { age_s: 1, remaining_s: 2, place: Place::Question },
            By::Cache { age_s: 1, remaining_s: 2, place: Place::EveryType },
            By::Cache { age_s: 1, remaining_s: 2, place: Place::SearchList },
            By::Expired { age_s: 3, expired_for_s: 1, because: because() },
            By::Upstream(exchange.clone()),
            By::SearchList { name: "b.".to_owned(), is_coalesced: true },
            By::ConcurrentQuery { is_coalesced: false },
            By::None { because: because() },
        ];
        for by in ways {
            let report = Report {
                name: "a.".to_owned(),
                kind: "A".to_owned(),
                rcode: "NOERROR".to_owned(),
                answers: vec![Answer {
                    name: "a.".to_owned(),
                    ttl_s: 30,
                    kind: "A".to_owned(),
                    data: because(),
                }],
                more_answers: 4,
                outcome: "miss".to_owned(),
                by,
                took_us: 5,
                exchanges: vec![exchange.clone()],
                steps: vec![Step { at_us: 6, what: because() }],
            };
            assert_eq!(again(&report), Some(report));
        }
    }

    #[test]
    fn figures_are_read_again_with_and_without_what_may_be_missing() {
        let top = vec![Name { name: "a.".to_owned(), count: 2, error: 1 }];
        let figures = crate::stats::text::tests::figures();
        let named = Figures { names: Some(Names { counted_for_s: 1, top }), ..figures.clone() };
        let without = Figures { memory: None, ..figures.clone() };
        for figures in [figures, named, without] {
            assert_eq!(again(&figures), Some(figures));
        }
        assert_eq!(Figures::read(&Value::Null), None);
    }
}
