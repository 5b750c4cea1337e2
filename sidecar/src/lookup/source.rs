//! The search list and `ndots` that a look-up is made with. Pure.
//!
//! | `--resolv-conf` | `/etc/resolv.conf` | they are |
//! |---|---|---|
//! | given | | that file's, whomever it asks |
//! | | asks the proxy first | that file's: this is the pod |
//! | | asks somebody else, or cannot be read | what the proxy was told; a note says why |

use std::io;
use std::net::SocketAddr;

use podlocal_settings::Settings;

use super::ladder::ResolvConf;
use crate::report::figures::Figures;

/// The file that a C library reads.
pub(super) const FILE: &str = "/etc/resolv.conf";

/// What the ladder is made with, and where that comes from.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Source {
    /// The search list.
    pub(super) search: Vec<String>,
    /// From how many dots on a name is asked as it is first.
    pub(super) ndots: usize,
    /// A file, or the proxy's settings.
    pub(super) from: String,
    /// What is unusual about that, as sentences.
    pub(super) notes: Vec<String>,
}

impl Source {
    /// Of the file that was given, with its text; of the text of [`FILE`]; or of the proxy's figures.
    pub(super) fn new(given: Option<(&str, &str)>, own: io::Result<String>, figures: &Figures) -> Self {
        let mut notes = versions(figures);
        let of_file = |path: &str, read: ResolvConf, notes| {
            let ResolvConf { search, ndots, .. } = read;
            Self { search, ndots, from: path.to_owned(), notes }
        };
        if let Some((path, text)) = given {
            return of_file(path, ResolvConf::parse(text), notes);
        }
        let instead = "What follows is with the proxy's own search list and ndots.";
        match own.map(|text| ResolvConf::parse(&text)) {
            Ok(read) if leads_to(&read, figures) => return of_file(FILE, read, notes),
            Ok(read) => {
                let asked = read.nameservers.first().map_or_else(|| "nobody".to_owned(), ToString::to_string);
                let proxy = figures.listen.join(" and ");
                notes.push(format!(
                    "{FILE} asks {asked}, not this proxy at {proxy}, so a program here does, too. {instead}"
                ));
            }
            Err(error) => notes.push(format!("{FILE} cannot be read ({error}). {instead}")),
        }
        let Figures { search, ndots, .. } = figures;
        Self { search: search.clone(), ndots: *ndots, from: "the proxy's settings".to_owned(), notes }
    }
}

/// Whether the C library asks the proxy first.
fn leads_to(read: &ResolvConf, figures: &Figures) -> bool {
    let listen = figures.listen.iter().filter_map(|address| address.parse::<SocketAddr>().ok()).collect();
    let settings = Settings { listen, ..Settings::defaults() };
    read.nameservers.first().is_some_and(|address| settings.listens_on(SocketAddr::new(*address, 53)))
}

fn versions(figures: &Figures) -> Vec<String> {
    let ours = env!("CARGO_PKG_VERSION");
    let note = || format!("the proxy is version {}, this program {ours}", figures.version);
    (figures.version != ours).then(note).into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::text::tests::figures;

    #[test]
    fn the_search_list_is_that_of_the_pod_or_the_one_that_the_proxy_was_told() {
        let figures = Figures {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            search: vec!["told.k".to_owned()],
            ..figures()
        };
        let conf = |nameserver: &str| format!("nameserver {nameserver}\nsearch own.k\noptions ndots:3\n");
        let other = conf("10.96.0.10");
        let missing = || Err(io::Error::from(io::ErrorKind::NotFound));
        let table = [
            (None, Ok(conf("127.0.0.1")), "own.k", 3, FILE, None),
            (
                None,
                Ok(other.clone()),
                "told.k",
                2,
                "the proxy's settings",
                Some("asks 10.96.0.10, not this proxy"),
            ),
            (None, Ok(String::new()), "told.k", 2, "the proxy's settings", Some("asks nobody")),
            (None, missing(), "told.k", 2, "the proxy's settings", Some("cannot be read")),
            (Some(("x.conf", other.as_str())), missing(), "own.k", 3, "x.conf", None),
        ];
        for (given, own, search, ndots, from, note) in table {
            let source = Source::new(given, own, &figures);
            assert_eq!((source.search.as_slice(), source.ndots), (&[search.to_owned()][..], ndots), "{from}");
            assert_eq!((source.from.as_str(), source.notes.len()), (from, usize::from(note.is_some())));
            assert!(note.is_none_or(|note| source.notes[0].contains(note)), "{:?}", source.notes);
        }
        let older = Figures { version: "0.0.9".to_owned(), ..figures };
        let notes = Source::new(None, Ok(conf("127.0.0.1")), &older).notes;
        assert!(notes[0].contains("the proxy is version 0.0.9"), "{notes:?}");
    }
}
