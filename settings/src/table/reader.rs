//! How a row gets its value from the texts that were given for it.

use std::net::SocketAddr;

use super::Setting;
use crate::setting_error::SettingError;
use crate::value::{self, DomainName, Expected, ForwardZone, Role};

/// One text for a setting, and its origin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Given {
    /// The origin, as its author knows it: `--cache-size`, `annotation podlocal-dns.io/cache-size`.
    pub origin: String,
    /// The text.
    pub text: String,
}

/// A parser of one kind of value.
type Parse<T> = fn(&str) -> Result<T, Expected>;

/// Reads one setting after the other.
pub(crate) struct TextReader<G> {
    /// The texts for one setting, in order of precedence.
    pub(crate) given: G,
    /// The role, on which the defaults of all settings depend.
    pub(crate) role: Role,
    pub(crate) accepted: Vec<(&'static Setting, String)>,
    pub(crate) errors: Vec<SettingError>,
}

impl<G: Fn(&Setting) -> Vec<Given>> TextReader<G> {
    /// The role, which was read before all other settings.
    pub(super) fn known_role(&mut self, _: &'static Setting) -> Role {
        self.role
    }

    /// A value within the bounds of the table.
    pub(super) fn ordered<T: PartialOrd>(&mut self, setting: &'static Setting, parse: Parse<T>) -> T {
        self.optional(setting, parse).unwrap_or_else(|| self.default(setting, parse))
    }

    /// A value without an order.
    pub(crate) fn plain<T>(&mut self, setting: &'static Setting, parse: Parse<T>) -> T {
        self.first(setting, parse).unwrap_or_else(|| self.default(setting, parse))
    }

    /// An optional value, within the bounds of the table if it has any.
    pub(super) fn optional<T: PartialOrd>(
        &mut self,
        setting: &'static Setting,
        parse: Parse<T>,
    ) -> Option<T> {
        let Some((smallest, largest)) = setting.bounds else { return self.first(setting, parse) };
        let allowed = of_table(smallest, parse)..=of_table(largest, parse);
        self.first(setting, |text| {
            let value = parse(text)?;
            if allowed.contains(&value) {
                Ok(value)
            } else {
                Err(format!("{} from {smallest} to {largest}", setting.form.words()))
            }
        })
    }

    /// A list; by default that of the table, or an empty one.
    pub(super) fn list<T>(&mut self, setting: &'static Setting, parse: Parse<Vec<T>>) -> Vec<T> {
        self.optional_list(setting, parse).unwrap_or_default()
    }

    /// A list of which the reader must know whether it was given. An empty text is valid: it overrides the
    /// lists that were given elsewhere with the default. For any other kind of value an empty text is
    /// probably an accident, and so an error.
    pub(super) fn optional_list<T>(
        &mut self,
        setting: &'static Setting,
        parse: Parse<Vec<T>>,
    ) -> Option<Vec<T>> {
        let given =
            self.first(setting, |text| if text.is_empty() { Ok(None) } else { parse(text).map(Some) });
        let has_default = !setting.default_in(self.role).is_empty();
        given.flatten().or_else(|| has_default.then(|| self.default(setting, parse)))
    }

    /// The first given text in which every zone is valid, with this cluster domain and these addresses of the
    /// proxy. Each invalid zone in the texts before it is an error of its own.
    pub(super) fn forward_zones(
        &mut self,
        setting: &'static Setting,
        cluster_domain: &Setting,
        listen: &Setting,
    ) -> Vec<ForwardZone> {
        let domain = self.peek(cluster_domain, DomainName::parse);
        let listen: Vec<SocketAddr> = self.peek(listen, value::addresses);
        for Given { origin, text } in (self.given)(setting) {
            let text = text.trim();
            match value::forward_zones(text, &domain, |server| crate::is_own(&listen, server)) {
                Ok(zones) => {
                    self.accepted.push((setting, text.to_owned()));
                    return zones;
                }
                Err(bad) => self.errors.extend(
                    bad.into_iter()
                        .map(|(text, expected)| SettingError::new(origin.clone(), &text, expected)),
                ),
            }
        }
        Vec::new()
    }

    /// The value of another setting; its errors are reported when that setting is parsed.
    fn peek<T>(&self, setting: &Setting, parse: Parse<T>) -> T {
        let given = (self.given)(setting).into_iter().find_map(|given| parse(given.text.trim()).ok());
        given.unwrap_or_else(|| self.default(setting, parse))
    }

    /// The first given text that is valid; each text before it is an error.
    fn first<T>(
        &mut self,
        setting: &'static Setting,
        parse: impl Fn(&str) -> Result<T, Expected>,
    ) -> Option<T> {
        for Given { origin, text } in (self.given)(setting) {
            match parse(text.trim()) {
                Ok(value) => {
                    self.accepted.push((setting, text.trim().to_owned()));
                    return Some(value);
                }
                Err(expected) => self.errors.push(SettingError::new(origin, &text, expected)),
            }
        }
        None
    }

    /// The default in this role.
    pub(crate) fn default<T>(&self, setting: &Setting, parse: Parse<T>) -> T {
        of_table(setting.default_in(self.role), parse)
    }
}

/// Parses a text of the table itself. A test checks that each is valid, so users cannot see a failure here.
fn of_table<T>(text: &str, parse: Parse<T>) -> T {
    match parse(text) {
        Ok(value) => value,
        Err(expected) => panic!("the table of settings holds {text:?}: expected {expected}"),
    }
}
