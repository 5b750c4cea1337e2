//! Values that are DNS names, alone or in lists.

use std::fmt;
use std::ops::Deref;

use super::Expected;

/// The maximum number of names in one setting (for the search list: `MaxDNSSearchPaths` of Kubernetes).
const MAX_NAMES: usize = 32;

/// A domain of DNS, in lower case and without the final dot: at most 253 bytes, in labels of 1 to 63.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DomainName(String);

impl DomainName {
    /// A domain name in host name syntax, as [`domain`] has it.
    pub fn parse(text: &str) -> Result<Self, Expected> {
        domain(text).map(Self)
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A name that may have underscores; a final dot changes nothing.
    pub(super) fn with_underscores(text: &str) -> Option<Self> {
        let name = without_dot(text).to_ascii_lowercase();
        is_name(&name).then_some(Self(name))
    }
}

impl Deref for DomainName {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for DomainName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self)
    }
}

/// A domain name in host name syntax (RFC 1123 section 2.1), lower-cased, without the final dot.
pub fn domain(text: &str) -> Result<String, Expected> {
    let name = without_dot(text).to_ascii_lowercase();
    let is_of_host = |label: &str| !label.starts_with('-') && !label.ends_with('-') && !label.contains('_');
    if is_name(&name) && name.split('.').all(is_of_host) {
        Ok(name)
    } else {
        Err("a domain name such as cluster.local".to_owned())
    }
}

/// A namespace: one label (RFC 1123 section 2.1), as in Kubernetes.
pub fn namespace(text: &str) -> Result<String, Expected> {
    let is_label = !text.contains('.') && text.bytes().all(|byte| !byte.is_ascii_uppercase());
    domain(text).ok().filter(|_| is_label).ok_or_else(|| "the name of a namespace".to_owned())
}

/// Domain names separated by commas, lower-cased; a final dot is kept, because it marks an absolute name.
/// Underscores are allowed: Kubernetes allows them in search lists, and SRV names have them.
pub fn names(text: &str) -> Result<Vec<String>, Expected> {
    list(text, "1 to 32 domain names such as db.prod or www.example.com", |name| {
        is_name(without_dot(name)).then(|| name.to_owned())
    })
}

/// Names, or `*.` and a suffix, separated by commas, lower-cased and without a final dot.
pub fn patterns(text: &str) -> Result<Vec<String>, Expected> {
    list(text, "1 to 32 names or *.suffixes such as rank-0.workers or *.workers", |pattern| {
        let pattern = without_dot(pattern);
        is_name(pattern.strip_prefix("*.").unwrap_or(pattern)).then(|| pattern.to_owned())
    })
}

/// Search domains with commas between them, each as [`search_domain`] has it. `.` alone means that there are
/// none, as `search .` does in a `resolv.conf`.
pub fn search_domains(text: &str) -> Result<Vec<String>, Expected> {
    if text == "." {
        return Ok(Vec::new());
    }
    list(text, "1 to 32 search domains such as corp.example, or . for none", |domain| {
        search_domain(domain).ok()
    })
}

/// One search domain, lower-cased and without a final dot, which says nothing: a search domain is always
/// whole.
pub fn search_domain(text: &str) -> Result<String, Expected> {
    let domain = without_dot(text).to_ascii_lowercase();
    if is_name(&domain) { Ok(domain) } else { Err("a search domain such as corp.example".to_owned()) }
}

/// The names that `parse` accepts, lower-cased and without duplicates.
fn list(text: &str, expected: &str, parse: impl Fn(&str) -> Option<String>) -> Result<Vec<String>, Expected> {
    let names = super::list(text, MAX_NAMES, |part| parse(&part.to_ascii_lowercase()));
    names.ok_or_else(|| expected.to_owned())
}

pub(super) fn without_dot(name: &str) -> &str {
    name.strip_suffix('.').unwrap_or(name)
}

/// Whether a name is that domain or below it; both in lower case and without the final dot.
pub(crate) fn is_inside(name: &str, domain: &str) -> bool {
    name.strip_suffix(domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

fn is_name(name: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    name.len() <= 253 && name.split('.').all(is_label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_domain_has_host_name_syntax() {
        assert_eq!(domain("Cluster.Local."), Ok("cluster.local".to_owned()));
        for refused in ["", ".", "a..b", "-a.b", "a_b.c", "ä.b"] {
            assert!(domain(refused).is_err(), "{refused}");
        }
    }

    #[test]
    fn a_namespace_is_one_lower_case_label() {
        assert_eq!(namespace("team-a"), Ok("team-a".to_owned()));
        for refused in ["", "a.b", "A", "-a", "a."] {
            assert!(namespace(refused).is_err(), "{refused}");
        }
    }

    #[test]
    fn names_keep_the_final_dot_of_an_absolute_name() {
        assert_eq!(
            names("db.prod, WWW.example.com.,db.prod"),
            Ok(vec!["db.prod".into(), "www.example.com.".into()])
        );
        assert_eq!(names("_ldap._tcp.corp"), Ok(vec!["_ldap._tcp.corp".into()]));
        for refused in ["", ".", "a..b", "a,,b", "a b", "*.a", &vec!["a"; 256].join(".")] {
            assert!(names(refused).is_err(), "{refused}");
        }
        let too_many: Vec<_> = (0..33).map(|number| format!("n{number}")).collect();
        assert!(names(&too_many.join(",")).is_err());
    }

    #[test]
    fn a_pattern_may_only_begin_with_a_star() {
        assert_eq!(patterns("*.workers,rank-0.ps."), Ok(vec!["*.workers".into(), "rank-0.ps".into()]));
        for refused in ["*", "*.", "a.*.b", "*a.b", "*.*.a"] {
            assert!(patterns(refused).is_err(), "{refused}");
        }
    }
    #[test]
    fn a_search_domain_may_have_a_final_dot() {
        assert_eq!(
            search_domains("Corp.Example., corp.example,_x.example"),
            Ok(vec!["corp.example".into(), "_x.example".into()])
        );
        assert_eq!(search_domains("."), Ok(Vec::new()));
        for refused in ["", "..", "corp.example,.", "a b", "*.a", &"a".repeat(64)] {
            assert!(search_domains(refused).is_err(), "{refused}");
        }
        assert!(search_domain("a.example,b.example").is_err(), "one, not a list");
    }
}
