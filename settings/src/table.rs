//! The one table of settings. The struct [`Settings`], flags, environment variables, annotations, `--help` and
//! the page in the docs all come from its rows.

use crate::names::{ANNOTATION_PREFIX, VARIABLE_PREFIX};
use crate::value::{Role, one_of};

mod reader;
mod rows;

pub use reader::Given;
pub(crate) use reader::TextReader;
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
    /// The default in the role `pod`; empty if the sentence says how it is found.
    pub default: &'static str,
    /// The default in the role `shared`, if it is another one. The role changes nothing else.
    pub shared: Option<&'static str>,
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
        self.shared.filter(|_| role == Role::Shared).unwrap_or(self.default)
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

/// Makes the constant of each row, [`TABLE`] and [`Settings`]. A row is
/// `CONSTANT field: Type = method_of_reader(arguments) { fields of Setting }`; the default, the one of the role
/// `shared` and the bounds may be left out.
macro_rules! settings {
    (@or $fallback:expr;) => { $fallback };
    (@or $fallback:expr; $value:expr) => { $value };
    ($(
        $(#[$doc:meta])*
        $row:ident $field:ident: $type:ty = $read:ident($($argument:expr),*) {
            name: $name:literal, place: $place:expr, form: $form:expr,
            $(default: $default:literal,)? $(shared: $shared:literal,)? $(bounds: $bounds:expr,)?
            sentence: $sentence:literal,
            source: $source:literal,
        }
    )*) => {
        $(
            #[doc = concat!("`", $name, "`")]
            pub const $row: Setting = Setting {
                name: $name,
                place: $place,
                form: $form,
                default: settings!(@or ""; $($default)?),
                shared: settings!(@or None; $(Some($shared))?),
                bounds: settings!(@or None; $(Some($bounds))?),
                sentence: $sentence,
                source: $source,
            };
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
            $(#[doc = $sentence] $(#[$doc])* pub $field: $type,)*
        }

        impl Settings {
            /// Reads each setting, in the order of the table.
            pub(crate) fn from_reader(reader: &mut TextReader<impl Fn(&Setting) -> Vec<Given>>) -> Self {
                Self { $($field: reader.$read(&$row $(, $argument)*),)* }
            }
        }
    };
}

use settings;

/// The setting with this name, among those for which `wanted` is true.
pub fn find(name: &str, wanted: impl Fn(&Setting) -> bool) -> Option<&'static Setting> {
    TABLE.iter().copied().find(|setting| setting.name == name && wanted(setting))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::read::read;
    use crate::read::tests::given;
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
        let with_both = TABLE.iter().filter_map(|setting| Some((setting, setting.shared?)));
        for (setting, shared) in with_both {
            assert!(setting.is_for_sidecar() && setting.default != shared, "{}", setting.name);
            assert_eq!(setting.default_in(Role::Shared), shared);
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
                assert_eq!(read(given(&[(setting.name, choice)])).errors, [], "{} {choice}", setting.name);
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
