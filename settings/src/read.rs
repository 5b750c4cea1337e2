//! Parses texts into [`Settings`], and reports all errors together.
//!
//! Both programs use the same function, because only the consequence of an error differs: the sidecar refuses
//! to start, and the webhook uses the next given value and warns.

use crate::Settings;
use crate::table::{self, Setting, TextReader};
use crate::value::{self, Expected, Quantity, Role, shown};

pub use crate::setting_error::SettingError;
pub use crate::table::Given;

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

impl<G: Fn(&Setting) -> Vec<Given>> TextReader<G> {
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
            settings.min_ttl = self.default(&table::MIN_TTL, value::duration);
            settings.max_ttl = self.default(&table::MAX_TTL, value::duration);
        }
        if settings.cpu_limit.as_ref().is_some_and(|limit| *limit < settings.cpu_request) {
            self.contradiction(&table::CPU_REQUEST, &table::CPU_LIMIT);
            settings.cpu_request = self.default(&table::CPU_REQUEST, Quantity::parse);
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
            settings.cache_size = self.default(&table::CACHE_SIZE, value::bytes);
            settings.memory_limit = None;
        }
        if settings.admin_port != 0
            && settings.listen.iter().any(|address| address.port() == settings.admin_port)
        {
            self.reject(&table::ADMIN_PORT, "a port that DNS is not served on".to_owned());
            settings.admin_port = self.default(&table::ADMIN_PORT, value::number);
        }
        for (setting, servers) in [
            (&table::UPSTREAM, &mut settings.upstream),
            (&table::BACKUP_UPSTREAM, &mut settings.backup_upstream),
            (&table::SHARED_TIER, &mut settings.shared_tier),
        ] {
            let count = servers.len();
            servers.retain(|server| !crate::is_own(&settings.listen, *server));
            if servers.len() < count {
                self.reject(setting, "servers other than the proxy itself".to_owned());
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

#[cfg(test)]
pub(crate) mod tests;
