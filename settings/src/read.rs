//! Parses texts into [`Settings`], and reports all errors together.
//!
//! Both programs use the same function, because only the consequence of an error differs: the sidecar refuses
//! to start, and the webhook uses the next given value and warns.

use crate::Settings;
use crate::table::{self, Parse, Reader, Setting};
use crate::value::{self, Expected, ForwardZone, Quantity, Role, shown};

mod setting_error;

pub use setting_error::SettingError;

/// One text for a setting, and its origin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Given {
    /// The origin, as its author knows it: `--cache-size`, `annotation podlocal-dns.io/cache-size`.
    pub origin: String,
    /// The text.
    pub text: String,
}

/// The result of [`read`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Read {
    /// The settings. Instead of an invalid value they have the next given one, or the default.
    pub settings: Settings,
    /// The accepted texts by setting, which the webhook passes on to the sidecar.
    pub accepted: Vec<(&'static Setting, String)>,
    /// All errors, in the order of the table.
    pub errors: Vec<SettingError>,
}

/// Parses every setting. `given` returns the texts for one setting in order of precedence; for settings that
/// a program does not accept it returns none.
pub fn read(given: impl Fn(&Setting) -> Vec<Given>) -> Read {
    let mut reader = TextReader { given, role: Role::Pod, accepted: Vec::new(), errors: Vec::new() };
    // The role is first, because the defaults of all other settings depend on it.
    reader.role = reader.plain(&table::ROLE, Role::parse);
    let mut settings = Settings::from_reader(&mut reader);
    reader.pairs(&mut settings);
    Read { settings, accepted: reader.accepted, errors: reader.errors }
}

struct TextReader<G> {
    given: G,
    role: Role,
    accepted: Vec<(&'static Setting, String)>,
    errors: Vec<SettingError>,
}

impl<G: Fn(&Setting) -> Vec<Given>> Reader for TextReader<G> {
    fn known_role(&mut self, _: &'static Setting, _: Parse<Role>) -> Role {
        self.role
    }

    fn ordered<T: PartialOrd>(&mut self, setting: &'static Setting, parse: Parse<T>) -> T {
        self.optional(setting, parse).unwrap_or_else(|| of_table(setting.default_in(self.role), parse))
    }

    fn plain<T>(&mut self, setting: &'static Setting, parse: Parse<T>) -> T {
        self.first(setting, parse).unwrap_or_else(|| of_table(setting.default_in(self.role), parse))
    }

    fn optional<T: PartialOrd>(&mut self, setting: &'static Setting, parse: Parse<T>) -> Option<T> {
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

    fn list<T>(&mut self, setting: &'static Setting, parse: Parse<Vec<T>>) -> Vec<T> {
        self.optional_list(setting, parse).unwrap_or_default()
    }

    /// An empty text is valid: it overrides the lists that were given elsewhere with the default. For any
    /// other kind of value an empty text is probably an accident, and so an error.
    fn optional_list<T>(&mut self, setting: &'static Setting, parse: Parse<Vec<T>>) -> Option<Vec<T>> {
        let given =
            self.first(setting, |text| if text.is_empty() { Ok(None) } else { parse(text).map(Some) });
        let default = setting.default_in(self.role);
        given.flatten().or_else(|| (!default.is_empty()).then(|| of_table(default, parse)))
    }

    /// The first given text in which every zone is valid, with this cluster domain and these addresses of the
    /// proxy. Each invalid zone in the texts before it is an error of its own.
    fn forward_zones(&mut self, setting: &'static Setting) -> Vec<ForwardZone> {
        let domain = self.peek(&table::CLUSTER_DOMAIN, value::DomainName::parse);
        let listen = self.peek(&table::LISTEN, value::addresses);
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
}

impl<G: Fn(&Setting) -> Vec<Given>> TextReader<G> {
    /// The value of another setting; its errors are reported when that setting is parsed.
    fn peek<T>(&self, setting: &'static Setting, parse: fn(&str) -> Result<T, Expected>) -> T {
        let given = (self.given)(setting).into_iter().find_map(|given| parse(given.text.trim()).ok());
        given.unwrap_or_else(|| of_table(setting.default_in(self.role), parse))
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

    /// Values that are valid alone and invalid together: the sidecar could not start with them, would be
    /// killed, or would query itself. The webhook parses annotations with this function, and so never writes
    /// settings that a sidecar refuses.
    ///
    /// | together | used instead |
    /// |---|---|
    /// | `min-ttl` above `max-ttl`, a request above its limit | the defaults of both |
    /// | a `memory-limit` that is too small for a full cache of `cache-size` | the defaults of both |
    /// | an `admin-port` that is also a port of `listen` | the default |
    /// | a server that is the proxy itself (`listen`) | the other servers of the list |
    fn pairs(&mut self, settings: &mut Settings) {
        if settings.min_ttl > settings.max_ttl {
            self.contradiction(&table::MIN_TTL, &table::MAX_TTL);
            settings.min_ttl = of_table(table::MIN_TTL.default_in(self.role), value::duration);
            settings.max_ttl = of_table(table::MAX_TTL.default_in(self.role), value::duration);
        }
        if settings.cpu_limit.as_ref().is_some_and(|limit| *limit < settings.cpu_request) {
            self.contradiction(&table::CPU_REQUEST, &table::CPU_LIMIT);
            settings.cpu_request = of_table(table::CPU_REQUEST.default_in(self.role), Quantity::parse);
            settings.cpu_limit = None;
        }
        if settings.memory_limit() < settings.memory_request() {
            self.contradiction(&table::MEMORY_REQUEST, &table::MEMORY_LIMIT);
            settings.memory_request = None;
            settings.memory_limit = None;
        }
        let needed = Quantity::of_bytes(settings.memory_of_full_cache());
        if settings.memory_limit.as_ref().is_some_and(|limit| *limit < needed) {
            let expected = format!("at least {}, because of {}", needed.as_str(), table::CACHE_SIZE.name);
            self.reject(&table::MEMORY_LIMIT, expected);
            self.accepted.retain(|(setting, _)| *setting != &table::CACHE_SIZE);
            settings.cache_size = of_table(table::CACHE_SIZE.default_in(self.role), value::bytes);
            settings.memory_limit = None;
        }
        if settings.admin_port != 0
            && settings.listen.iter().any(|address| address.port() == settings.admin_port)
        {
            self.reject(&table::ADMIN_PORT, "a port that DNS is not served on".to_owned());
            settings.admin_port = of_table(table::ADMIN_PORT.default_in(self.role), value::number);
        }
        for (setting, list) in [
            (&table::UPSTREAM, settings.upstream.clone()),
            (&table::BACKUP_UPSTREAM, settings.backup_upstream.clone()),
            (&table::SHARED_TIER, settings.shared_tier.clone()),
        ] {
            let count = list.len();
            let others: Vec<_> = list.into_iter().filter(|server| !settings.is_own(*server)).collect();
            if others.len() == count {
                continue;
            }
            self.reject(setting, "servers other than the proxy itself".to_owned());
            match setting {
                _ if *setting == table::UPSTREAM => settings.upstream = others,
                _ if *setting == table::BACKUP_UPSTREAM => settings.backup_upstream = others,
                _ => settings.shared_tier = others,
            }
        }
    }

    /// Turns an accepted value into an error.
    fn reject(&mut self, setting: &'static Setting, expected: Expected) {
        let accepted = self.accepted.iter().position(|(other, _)| *other == setting);
        let text = accepted.map(|index| self.accepted.remove(index).1);
        let text = text.unwrap_or_else(|| setting.default_in(self.role).to_owned());
        let given = (self.given)(setting).into_iter().find(|given| given.text.trim() == text);
        let origin = given.map_or_else(|| setting.flag(), |given| given.origin);
        self.errors.push(SettingError::new(origin, &text, expected));
    }

    fn contradiction(&mut self, low: &'static Setting, high: &'static Setting) {
        let text_of = |setting: &Setting| {
            let accepted = self.accepted.iter().find(|(other, _)| *other == setting);
            accepted.map_or(setting.default_in(self.role), |(_, text)| text).to_owned()
        };
        let origin = (self.given)(low).into_iter().chain((self.given)(high)).map(|given| given.origin).next();
        let expected = match text_of(high).as_str() {
            "" => format!("at most the default of {}", high.name),
            text => format!("at most {}, which is {}", high.name, shown(text)),
        };
        let text = text_of(low);
        self.errors.push(SettingError::new(origin.unwrap_or_default(), &text, expected));
        self.accepted.retain(|(setting, _)| *setting != low && *setting != high);
    }
}

/// Parses a text of the table itself. A test checks that each is valid, so users cannot see a failure here.
fn of_table<T>(text: &str, parse: impl Fn(&str) -> Result<T, Expected>) -> T {
    match parse(text) {
        Ok(value) => value,
        Err(expected) => panic!("the table of settings holds {text:?}: expected {expected}"),
    }
}

#[cfg(test)]
mod tests;
