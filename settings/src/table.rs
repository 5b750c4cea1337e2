//! The one table of settings. The struct [`Settings`], flags, environment variables, annotations, `--help` and
//! the page in the docs all come from its rows.

use crate::names::{ANNOTATION_PREFIX, VARIABLE_PREFIX};
use crate::value::{Expected, ForwardZone, Role, one_of};

mod rows;

pub use rows::*;

/// One setting, as data. Defaults and bounds are written as a user writes the value.
#[derive(Debug, PartialEq, Eq)]
pub struct Setting {
    /// The name, in lower case with hyphens: `cache-size`.
    pub name: &'static str,
    /// The program that reads it, and so the places where it can be given.
    pub place: Place,
    /// What a value looks like.
    pub form: Form,
    /// The default; empty if the sentence says how it is found. [`Setting::default_in`] has the defaults of
    /// each role.
    pub default: &'static str,
    /// The smallest and the largest allowed value; `None` for values without an order.
    pub bounds: Option<(&'static str, &'static str)>,
    /// What the setting does.
    pub sentence: &'static str,
    /// The source of the default or of the bounds: an RFC section, a measurement, a reason.
    pub source: &'static str,
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

/// What a value looks like, with its kind in words: "a duration", "addresses".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// One value.
    One(&'static str),
    /// Several values, separated by commas.
    List(&'static str),
    /// One of these words.
    Choice(&'static [&'static str]),
}

impl Form {
    /// The kind of value in words.
    pub fn words(self) -> String {
        match self {
            Self::One(words) | Self::List(words) => words.to_owned(),
            Self::Choice(words) => one_of(words),
        }
    }
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
        matches!(self.form, Form::List(_))
    }

    /// All valid values, if they are a few words.
    pub fn choices(&self) -> Option<&'static [&'static str]> {
        match self.form {
            Form::Choice(words) => Some(words),
            Form::One(_) | Form::List(_) => None,
        }
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

/// A parser of one kind of value.
pub(crate) type Parse<T> = fn(&str) -> Result<T, Expected>;

/// How a row gets its value. [`crate::read`] implements it.
pub(crate) trait Reader {
    /// The role, on which the defaults of all settings depend.
    fn known_role(&mut self, setting: &'static Setting, parse: Parse<Role>) -> Role;
    /// A value within the bounds of the table.
    fn ordered<T: PartialOrd>(&mut self, setting: &'static Setting, parse: Parse<T>) -> T;
    /// A value without an order.
    fn plain<T>(&mut self, setting: &'static Setting, parse: Parse<T>) -> T;
    /// An optional value, within the bounds of the table if it has any.
    fn optional<T: PartialOrd>(&mut self, setting: &'static Setting, parse: Parse<T>) -> Option<T>;
    /// A list; by default that of the table, or an empty one.
    fn list<T>(&mut self, setting: &'static Setting, parse: Parse<Vec<T>>) -> Vec<T>;
    /// A list of which the reader must know whether it was given.
    fn optional_list<T>(&mut self, setting: &'static Setting, parse: Parse<Vec<T>>) -> Option<Vec<T>>;
    /// The forward zones, whose validity depends on other settings.
    fn forward_zones(&mut self, setting: &'static Setting) -> Vec<ForwardZone>;
}

/// Makes the constant of each row, [`TABLE`] and [`Settings`]. A row is
/// `CONSTANT field: Type = method_of_reader(parser) { fields of Setting }`.
macro_rules! settings {
    ($($(#[$doc:meta])* $row:ident $field:ident: $type:ty = $read:ident($($parse:expr)?) { $($facts:tt)* })*) => {
        $(
            #[doc = concat!("`", stringify!($field), "`")]
            pub const $row: Setting = Setting { $($facts)* };
        )*

        /// Every setting, in the order of the documentation.
        pub const TABLE: &[&Setting] = &[$(&$row),*];

        /// All settings as typed values; the table says what each means, its default and its bounds.
        ///
        /// Made by [`crate::read::read`]. Both programs read the same struct; each uses the fields that
        /// concern it.
        #[derive(Debug, Clone, PartialEq, Eq)]
        #[allow(clippy::struct_excessive_bools, reason = "each is the setting of that name")]
        pub struct Settings {
            $($(#[$doc])* pub $field: $type,)*
        }

        impl Settings {
            /// Reads each setting, in the order of the table.
            pub(crate) fn from_reader(reader: &mut impl Reader) -> Self {
                Self { $($field: reader.$read(&$row $(, $parse)?),)* }
            }
        }
    };
}

use settings;

/// The defaults of the role `shared` that differ from those of the role `pod`. The role changes nothing else.
pub const SHARED_DEFAULTS: &[(&Setting, &str)] = &[
    (&LISTEN, "0.0.0.0:53,[::]:53"),
    (&WORKERS, "auto"),
    (&CACHE_SIZE, "64Mi"),
    // Rules R1 to R3, which hold for every pod; what follows from a pod's own namespace and search list stays
    // there.
    (&LOCAL_NXDOMAIN, "impossible"),
    (&SEARCH, "."),
    (&MAX_UDP_SIZE, "1232"),
    (&LAME_DUCK, "10s"),
    (&MAX_IN_FLIGHT, "4000"),
    (&MAX_WAITERS, "65536"),
    (&MAX_WAITERS_PER_QUERY, "65536"),
    (&MAX_TCP_CONNECTIONS, "4096"),
    (&MAX_TCP_CONNECTIONS_PER_SOURCE, "32"),
    (&MAX_MISSES_PER_SOURCE, "1024"),
    (&MAX_MISS_RATE_PER_SOURCE, "1000"),
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
            assert!(!setting.source.is_empty() && !setting.form.words().is_empty(), "{}", setting.name);
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
            for &choice in choices {
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
