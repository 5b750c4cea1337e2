//! Parses `resolv.conf(5)`. Pure.

use std::net::IpAddr;

/// The contents of a `resolv.conf`, as far as the programs need them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolvConf {
    /// The servers that the C library queries, in order.
    pub nameservers: Vec<IpAddr>,
    /// The search list.
    pub search: Vec<String>,
    /// The number of dots from which on a name is first queried as it stands.
    pub ndots: usize,
}

/// The maximum of `ndots` in glibc (`RES_MAXNDOTS`).
const MAX_NDOTS: usize = 15;

impl ResolvConf {
    /// Parses the text of a `resolv.conf`. Of the lines `search` and `domain`, only the last one counts.
    pub fn parse(text: &str) -> Self {
        let mut parsed = Self { nameservers: Vec::new(), search: Vec::new(), ndots: 1 };
        for line in text.lines().filter(|line| !line.starts_with(['#', ';'])) {
            let mut words = line.split_whitespace();
            match words.next() {
                Some("nameserver") => {
                    parsed.nameservers.extend(words.next().and_then(|word| word.parse::<IpAddr>().ok()));
                }
                Some("search") => parsed.search = words.map(str::to_owned).collect(),
                Some("domain") => parsed.search = words.take(1).map(str::to_owned).collect(),
                Some("options") => {
                    let ndots = words
                        .filter_map(|word| word.strip_prefix("ndots:")?.parse::<usize>().ok())
                        .next_back();
                    parsed.ndots = ndots.map_or(parsed.ndots, |ndots| ndots.min(MAX_NDOTS));
                }
                _ => {}
            }
        }
        parsed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resolv_conf_is_parsed_as_by_the_c_library() {
        let text = "# written by the kubelet\nnameserver 127.0.0.1\nnameserver ::1\nnameserver x\ndomain d\n\
                    search n.svc.k svc.k\n; no\noptions edns0 ndots:2\noptions ndots:99\n";
        let parsed = ResolvConf::parse(text);
        let local = ["127.0.0.1", "::1"].map(|text| text.parse().expect("an address"));
        assert_eq!(
            parsed,
            ResolvConf {
                nameservers: local.to_vec(),
                search: ["n.svc.k", "svc.k"].map(str::to_owned).to_vec(),
                ndots: 15
            }
        );
        assert_eq!(ResolvConf::parse(""), ResolvConf { nameservers: vec![], search: vec![], ndots: 1 });
    }
}
