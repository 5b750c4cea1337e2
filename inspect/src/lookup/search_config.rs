//! The search list and `ndots` for a lookup. Pure.
//!
//! | `--resolv-conf` | `/etc/resolv.conf` | search list and `ndots` are |
//! |---|---|---|
//! | given | | those of the given file, whatever its nameservers are |
//! | | names the proxy first | those of that file: the command runs in the pod |
//! | | names another server first, or cannot be read | those in the settings of the proxy; a note says why |

use std::io;
use std::net::SocketAddr;

use podlocal_dns::report::stats::Stats;
use podlocal_dns::resolv_conf::ResolvConf;
use podlocal_settings::Settings;

/// The file that a C library reads.
pub(super) const RESOLV_CONF: &str = "/etc/resolv.conf";

/// The search list and `ndots`, with their source.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct SearchConfig {
    pub(super) search: Vec<String>,
    /// The number of dots from which on a name is first queried as it stands.
    pub(super) ndots: usize,
    /// A file, or the settings of the proxy.
    pub(super) source: String,
    /// Anything unusual, as sentences.
    pub(super) notes: Vec<String>,
}

impl SearchConfig {
    /// From the given file with its text, from the text of [`RESOLV_CONF`], or from the statistics of the
    /// proxy.
    pub(super) fn new(given: Option<(&str, &str)>, own: io::Result<String>, stats: &Stats) -> Self {
        let mut notes = version_note(stats);
        let from_file = |path: &str, parsed: ResolvConf, notes| {
            let ResolvConf { search, ndots, .. } = parsed;
            Self { search, ndots, source: path.to_owned(), notes }
        };
        if let Some((path, text)) = given {
            return from_file(path, ResolvConf::parse(text), notes);
        }
        let instead = "The lookup uses the search list and ndots in the settings of the proxy.";
        match own.map(|text| ResolvConf::parse(&text)) {
            Ok(parsed) if names_proxy_first(&parsed, stats) => return from_file(RESOLV_CONF, parsed, notes),
            Ok(parsed) => {
                let server =
                    parsed.nameservers.first().map_or_else(|| "no server".to_owned(), ToString::to_string);
                let proxy = stats.listen.join(" and ");
                notes.push(format!(
                    "{RESOLV_CONF} names {server}, not this proxy at {proxy}, so programs here do not use the proxy. {instead}"
                ));
            }
            Err(error) => notes.push(format!("cannot read {RESOLV_CONF} ({error}). {instead}")),
        }
        let Stats { search, ndots, .. } = stats;
        Self { search: search.clone(), ndots: *ndots, source: "the settings of the proxy".to_owned(), notes }
    }
}

fn names_proxy_first(parsed: &ResolvConf, stats: &Stats) -> bool {
    let listen = stats.listen.iter().filter_map(|address| address.parse::<SocketAddr>().ok()).collect();
    let settings = Settings { listen, ..Settings::defaults() };
    parsed.nameservers.first().is_some_and(|address| settings.listens_on(SocketAddr::new(*address, 53)))
}

fn version_note(stats: &Stats) -> Vec<String> {
    let ours = env!("CARGO_PKG_VERSION");
    let note = || format!("the proxy has version {}, this program has version {ours}", stats.version);
    (stats.version != ours).then(note).into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_search_list_is_that_of_the_pod_or_of_the_settings() {
        let documents = serde_json::from_str::<[Stats; 1]>(include_str!("../../tests/pages/stats.json"));
        let [stats] = documents.expect("a document");
        let stats = Stats { version: env!("CARGO_PKG_VERSION").to_owned(), ..stats };
        let conf = |nameserver: &str| format!("nameserver {nameserver}\nsearch own.k\noptions ndots:3\n");
        let other = conf("10.96.0.10");
        let missing = || Err(io::Error::from(io::ErrorKind::NotFound));
        let table = [
            (None, Ok(conf("127.0.0.1")), "own.k", 3, RESOLV_CONF, None),
            (
                None,
                Ok(other.clone()),
                "settings.k",
                2,
                "the settings of the proxy",
                Some("names 10.96.0.10, not this proxy"),
            ),
            (None, Ok(String::new()), "settings.k", 2, "the settings of the proxy", Some("names no server")),
            (None, missing(), "settings.k", 2, "the settings of the proxy", Some("cannot read")),
            (Some(("x.conf", other.as_str())), missing(), "own.k", 3, "x.conf", None),
        ];
        for (given, own, search, ndots, expected, note) in table {
            let config = SearchConfig::new(given, own, &stats);
            assert_eq!(
                (config.search.as_slice(), config.ndots),
                (&[search.to_owned()][..], ndots),
                "{expected}"
            );
            assert_eq!((config.source.as_str(), config.notes.len()), (expected, usize::from(note.is_some())));
            assert!(note.is_none_or(|note| config.notes[0].contains(note)), "{:?}", config.notes);
        }
        let older = Stats { version: "0.0.9".to_owned(), ..stats };
        let notes = SearchConfig::new(None, Ok(conf("127.0.0.1")), &older).notes;
        assert!(notes[0].contains("the proxy has version 0.0.9"), "{notes:?}");
    }
}
