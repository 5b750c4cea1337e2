//! The one table of settings. Flags, environment variables, annotations, `--help` and the page in the docs
//! all come from here.

use crate::names::{ANNOTATION_PREFIX, VARIABLE_PREFIX};
use crate::value::Role;

mod answers;
mod network;
mod pod;
mod shared;

pub use answers::*;
pub use network::*;
pub use pod::*;
pub use shared::*;

/// One setting, as data. Defaults and bounds are written as a user writes the value.
#[derive(Debug, PartialEq, Eq)]
pub struct Setting {
    /// The name, in lower case with hyphens: `cache-size`.
    pub name: &'static str,
    /// The kind of value in words: "a duration", "bytes".
    pub unit: &'static str,
    /// The default; empty if the sentence says how it is found. [`Setting::default_in`] has the defaults of
    /// each role.
    pub default: &'static str,
    /// The smallest allowed value; empty for values without an order.
    pub smallest: &'static str,
    /// The largest allowed value; empty for values without an order.
    pub largest: &'static str,
    /// What the setting does.
    pub sentence: &'static str,
    /// The source of the default or of the bounds: an RFC section, a measurement, a reason.
    pub source: &'static str,
    /// The program that reads it, and so the places where it can be given.
    pub place: Place,
}

/// Where a setting can be given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Only to the sidecar: a flag or a variable. For injected pods the webhook sets it.
    Sidecar,
    /// Only to the webhook: an annotation or the settings file of the webhook; it changes the pod.
    Pod,
    /// Both: an annotation that the webhook passes on to the sidecar.
    Both,
}

impl Setting {
    /// `--cache-size`.
    pub fn flag(&self) -> String {
        format!("--{}", self.name)
    }

    /// `PODLOCAL_CACHE_SIZE`.
    pub fn variable(&self) -> String {
        format!("{VARIABLE_PREFIX}{}", self.name.to_ascii_uppercase().replace('-', "_"))
    }

    /// `podlocal-dns.io/cache-size`.
    pub fn annotation(&self) -> String {
        format!("{ANNOTATION_PREFIX}{}", self.name)
    }

    /// The default in this role.
    pub fn default_in(&self, role: Role) -> &'static str {
        let of_role = SHARED_DEFAULTS.iter().find(|(setting, _)| role == Role::Shared && *setting == self);
        of_role.map_or(self.default, |(_, default)| default)
    }

    /// Whether the value is a list, separated by commas.
    pub fn is_list(&self) -> bool {
        matches!(
            self.unit,
            "addresses"
                | "domain names"
                | "names or *.suffixes"
                | "networks, private or any"
                | "zones and their servers"
        )
    }

    /// All valid values, if they are a few words.
    pub fn choices(&self) -> Option<Vec<&'static str>> {
        let is_word = |part: &&str| part.bytes().all(|byte| byte.is_ascii_lowercase());
        let parts: Vec<_> = self.unit.split(", ").flat_map(|part| part.split(" or ")).collect();
        (!self.is_list() && parts.len() > 1 && parts.iter().all(is_word)).then_some(parts)
    }

    /// Whether the sidecar reads it, from flags and variables.
    pub fn is_for_sidecar(&self) -> bool {
        matches!(self.place, Place::Sidecar | Place::Both)
    }

    /// Whether pods and namespaces may set it with an annotation.
    pub fn is_annotation(&self) -> bool {
        matches!(self.place, Place::Pod | Place::Both)
    }
}

/// Every setting, in the order of the documentation.
pub const TABLE: &[&Setting] = &[
    &NDOTS,
    &LOCAL_NXDOMAIN,
    &PREFETCH_NAMES,
    &READY_TIMEOUT,
    &WAIT_FOR_NAMES,
    &WAIT_TIMEOUT,
    &CACHE_SIZE,
    &MIN_TTL,
    &MAX_TTL,
    &MAX_NEGATIVE_TTL,
    &SERVE_STALE,
    &REFRESH_AHEAD,
    &UPSTREAM,
    &BACKUP_UPSTREAM,
    &FORWARD_ZONES,
    &UPSTREAM_TRANSPORT,
    &SHARED_TIER,
    &USE_SHARED_TIER,
    &CLUSTER_DOMAIN,
    &NAMESPACE,
    &SEARCH,
    &ORIGINAL_NDOTS,
    &COMPLETION_DOMAINS,
    &LISTEN,
    &FALLBACK_NAMESERVER,
    &ADMIN_PORT,
    &LOG_LEVEL,
    &QUERY_LOG,
    &IMAGE,
    &CPU_REQUEST,
    &CPU_LIMIT,
    &MEMORY_REQUEST,
    &MEMORY_LIMIT,
    &ROLE,
    &WORKERS,
    &ALLOWED_SOURCES,
    &MAX_UDP_SIZE,
    &LAME_DUCK,
    &MAX_IN_FLIGHT,
    &MAX_WAITERS,
    &MAX_WAITERS_PER_QUERY,
    &MAX_TCP_CONNECTIONS,
    &MAX_TCP_CONNECTIONS_PER_SOURCE,
    &MAX_MISSES_PER_SOURCE,
    &MAX_MISS_RATE_PER_SOURCE,
];

/// The setting with this name, among those for which `wanted` is true.
pub fn find(name: &str, wanted: impl Fn(&Setting) -> bool) -> Option<&'static Setting> {
    TABLE.iter().copied().find(|setting| setting.name == name && wanted(setting))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::read::{Given, read};
    use std::collections::BTreeSet;

    #[test]
    fn names_are_unique_lower_case_and_hyphenated() {
        let names: BTreeSet<_> = TABLE.iter().map(|setting| setting.name).collect();
        assert_eq!(names.len(), TABLE.len());
        for name in names {
            assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-'), "{name}");
        }
    }

    #[test]
    fn every_setting_has_a_sentence_and_a_source() {
        for setting in TABLE {
            assert!(setting.sentence.ends_with('.'), "{}", setting.name);
            assert!(!setting.source.is_empty() && !setting.unit.is_empty(), "{}", setting.name);
            assert_eq!(setting.smallest.is_empty(), setting.largest.is_empty(), "{}", setting.name);
        }
    }

    #[test]
    fn defaults_of_the_shared_role_differ_from_those_of_the_pod() {
        for (setting, default) in SHARED_DEFAULTS {
            assert!(setting.is_for_sidecar() && setting.default != *default, "{}", setting.name);
            assert_eq!(setting.default_in(Role::Shared), *default);
            assert_eq!(setting.default_in(Role::Pod), setting.default);
        }
        assert_eq!(MAX_TTL.default_in(Role::Shared), MAX_TTL.default);
    }

    /// The parser accepts every value that a completion offers.
    #[test]
    fn choices_are_values_and_the_default_is_among_them() {
        let with_choices: Vec<_> = TABLE.iter().filter_map(|s| Some((*s, s.choices()?))).collect();
        assert!(with_choices.iter().any(|(setting, _)| **setting == ROLE));
        for (setting, choices) in with_choices {
            assert!(choices.contains(&setting.default), "{}", setting.name);
            for choice in choices {
                let given = |other: &Setting| {
                    let texts = (other == setting).then(|| choice.to_owned());
                    texts.into_iter().map(|text| Given { origin: String::new(), text }).collect()
                };
                assert_eq!(read(given).errors, [], "{} {choice}", setting.name);
            }
        }
    }

    #[test]
    fn a_setting_is_a_flag_a_variable_and_an_annotation() {
        assert_eq!(CACHE_SIZE.flag(), "--cache-size");
        assert_eq!(CACHE_SIZE.variable(), "PODLOCAL_CACHE_SIZE");
        assert_eq!(CACHE_SIZE.annotation(), "podlocal-dns.io/cache-size");
    }
}
