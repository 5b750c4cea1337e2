//! Writes the accepted annotations as the environment of the sidecar.

use crate::read::Read;
use crate::table;

/// The variables of the sidecar with their values, in the order of the table: only those that were given and
/// differ from the default.
///
/// So a sidecar image that is older than the webhook gets as few unknown variables as possible. The admin
/// port is the exception: a Service named `podlocal-admin` in the pod's namespace would define the variable
/// of that name (the kubelet's service links), and an explicit one wins over it.
pub fn variables(read: &Read) -> Vec<(String, String)> {
    let for_sidecar = table::TABLE.iter().filter(|setting| setting.is_for_sidecar());
    let mut variables = Vec::new();
    for setting in for_sidecar {
        let given = read.accepted.iter().find(|(other, _)| other == setting).map(|(_, text)| text.as_str());
        match given {
            Some(text) if text != setting.default => variables.push((setting.variable(), text.to_owned())),
            _ if **setting == table::ADMIN_PORT => {
                variables.push((setting.variable(), setting.default.to_owned()));
            }
            _ => {}
        }
    }
    variables
}

/// A search list as a text; `.` for an empty one, because an empty text means that no list is given.
pub fn search_list(domains: &[String]) -> String {
    if domains.is_empty() { ".".to_owned() } else { domains.join(",") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::read::tests::given;
    use crate::read::{Given, read};
    use crate::table::Setting;
    use crate::value;

    fn read_back(variables: &[(String, String)]) -> Read {
        read(|setting: &Setting| {
            let of_setting = variables.iter().filter(|(name, _)| *name == setting.variable());
            of_setting.map(|(name, text)| Given { origin: name.clone(), text: text.clone() }).collect()
        })
    }

    #[test]
    fn written_settings_parse_as_the_same_settings() {
        let texts = [
            ("cache-size", "64Ki"),
            ("max-ttl", "7d"),
            ("min-ttl", "1h"),
            ("max-negative-ttl", "3h"),
            ("upstream", "10.96.0.10,[fd00::a]:5353"),
            ("backup-upstream", "192.0.2.53"),
            ("forward-zones", "consul=10.0.0.53,corp.example=10.1.0.1+[fd00::a]:5353"),
            ("cluster-domain", "a.b"),
            ("listen", "127.0.0.1:5353"),
            ("admin-port", "1"),
            ("log-level", "trace"),
            ("query-log", "true"),
            ("ready-timeout", "0s"),
            ("ndots", "5"),
            ("local-nxdomain", "impossible"),
            ("prefetch-names", "db.prod,www.example.com."),
            ("wait-for-names", "*.workers,rank-0.ps"),
            ("wait-timeout", "2s"),
            ("serve-stale", "0s"),
            ("refresh-ahead", "false"),
            ("upstream-transport", "tcp"),
            ("namespace", "web"),
            ("search", "web.svc.a.b,corp.example"),
            ("completion-domains", "corp.example"),
            ("original-ndots", "3"),
        ];
        let original = read(given(&texts));
        assert_eq!(original.errors, []);
        assert_eq!(original.accepted.len(), texts.len());
        assert_eq!(read_back(&variables(&original)).settings, original.settings);
    }

    #[test]
    fn a_written_search_list_parses_as_the_same_list() {
        for domains in [vec![], vec!["a.example".to_owned(), "_b.example".to_owned()]] {
            assert_eq!(value::search_domains(&search_list(&domains)), Ok(domains));
        }
    }

    #[test]
    fn defaults_are_not_written_except_the_admin_port() {
        let variables = variables(&read(|_| Vec::new()));
        assert_eq!(variables, [("PODLOCAL_ADMIN_PORT".to_owned(), "9353".to_owned())]);
    }
}
