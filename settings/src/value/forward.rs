//! Forward zones: zones with their own servers.

use std::net::SocketAddr;

use super::names::{DomainName, is_inside, without_dot};
use super::{Expected, MAX_ADDRESSES, address, shown};

/// How many zones one setting may list: a company's domain, its reverse zones and a service registry or two.
/// Each is an upstream with a state, sockets and metrics of its own.
const MAX_ZONES: usize = 16;

/// The last label of abbreviated names of the cluster: `db.prod.svc`.
const SHORT_CLUSTER_SUFFIX: &str = "svc";

/// A zone, and the servers for its names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForwardZone {
    /// The zone.
    pub zone: DomainName,
    /// Its servers, in order of preference; at least one.
    pub servers: Vec<SocketAddr>,
}

/// An invalid part of the text, and what was expected instead.
pub type InvalidZone = (String, Expected);

/// Zones separated by commas, each with `=` and its servers, which are separated by `+`:
/// `consul=10.0.0.53,corp.example=10.1.0.1+[fd00::a]:5353`. An empty text means no zones.
///
/// `cluster_domain` is that of the cluster, without the final dot; `is_own` tells the addresses of the proxy
/// itself.
///
/// | zone | valid | reason |
/// |---|---|---|
/// | any name except those below | yes | |
/// | the root | no | `upstream` sets its servers |
/// | the cluster domain, or a domain inside it | no | it would hide names of the cluster |
/// | above the cluster domain | yes | names in the cluster domain still belong to cluster DNS |
/// | `svc`, or a domain inside it | no | `db.prod.svc` is an abbreviated name of the cluster |
/// | a zone that occurs twice | no | its servers would be ambiguous |
///
/// # Errors
///
/// Every invalid part; if there are too many zones, only that.
pub fn forward_zones(
    text: &str,
    cluster_domain: &str,
    is_own: impl Fn(SocketAddr) -> bool,
) -> Result<Vec<ForwardZone>, Vec<InvalidZone>> {
    let (mut zones, mut bad) = (Vec::<ForwardZone>::new(), Vec::new());
    // The text may be as long as a pod, and every part invalid.
    if text.split(',').count() > MAX_ZONES {
        return Err(vec![(text.to_owned(), format!("at most {MAX_ZONES} zones"))]);
    }
    for part in text.split(',').map(str::trim).filter(|_| !text.is_empty()) {
        let mut refuse = |expected: Expected| bad.push((part.to_owned(), expected));
        let Some((zone, servers)) = part.split_once('=') else {
            refuse(
                "a zone and its servers, such as consul=10.0.0.53 or corp.example=10.1.0.1+10.1.0.2"
                    .to_owned(),
            );
            continue;
        };
        let zone = self::zone(zone.trim(), cluster_domain).and_then(|zone| {
            let is_new = zones.iter().all(|other| other.zone != zone);
            if is_new { Ok(zone) } else { Err("each zone once, with all of its servers".to_owned()) }
        });
        match (zone, self::servers(servers, &is_own)) {
            (Ok(zone), Ok(servers)) => zones.push(ForwardZone { zone, servers }),
            (zone, servers) => zone.err().into_iter().chain(servers.err()).for_each(refuse),
        }
    }
    if bad.is_empty() { Ok(zones) } else { Err(bad) }
}

/// Parses a zone; see the table at [`forward_zones`].
fn zone(text: &str, cluster_domain: &str) -> Result<DomainName, Expected> {
    let zone = without_dot(text).to_ascii_lowercase();
    if text == "." {
        Err("a zone below the root: upstream sets the servers for all other names".to_owned())
    } else if zone.starts_with("*.") {
        Err("a zone without *: it holds for all names below it".to_owned())
    } else if is_inside(&zone, cluster_domain) {
        Err(format!(
            "a zone outside the cluster domain, {cluster_domain}: it would hide names of the cluster"
        ))
    } else if is_inside(&zone, SHORT_CLUSTER_SUFFIX) {
        Err(format!(
            "a zone outside {SHORT_CLUSTER_SUFFIX}: names with this ending are abbreviated names of the cluster"
        ))
    } else {
        DomainName::with_underscores(text)
            .ok_or_else(|| "a domain name before the =, such as corp.example".to_owned())
    }
}

fn servers(text: &str, is_own: impl Fn(SocketAddr) -> bool) -> Result<Vec<SocketAddr>, Expected> {
    if text.split('+').count() > MAX_ADDRESSES {
        return Err(format!("at most {MAX_ADDRESSES} servers for a zone"));
    }
    let mut servers = Vec::new();
    for part in text.split('+').map(str::trim) {
        let Some(server) = address(part).filter(|server| server.port() != 0) else {
            return Err(format!(
                "IP addresses with or without port after the =, such as 10.1.0.1+[fd00::a]:53; {:?} is not one",
                shown(part)
            ));
        };
        if is_own(server) {
            return Err(format!("servers other than the proxy itself, which is {server}"));
        }
        if servers.contains(&server) {
            return Err(format!("each server of a zone once; {server} occurs twice"));
        }
        servers.push(server);
    }
    Ok(servers)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Vec<ForwardZone>, Vec<InvalidZone>> {
        let own: SocketAddr = "127.0.0.1:53".parse().expect("an address");
        forward_zones(text, "k8s.corp.example", |server| server == own)
    }

    #[test]
    fn zones_have_their_servers_in_order_with_port_53_unless_given() {
        let parsed =
            parsed(" Consul.=10.0.0.53 , corp.example = 10.1.0.1 + [fd00::a]:5353+fd00::b").expect("good");
        let texts = parsed.iter().map(|ForwardZone { zone, servers }| {
            format!("{zone} {}", servers.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "))
        });
        assert_eq!(
            texts.collect::<Vec<_>>(),
            ["consul 10.0.0.53:53", "corp.example 10.1.0.1:53 [fd00::a]:5353 [fd00::b]:53"]
        );
    }

    #[test]
    fn zones_outside_and_above_the_cluster_domain_are_valid() {
        for zone in [
            "example",
            "corp.example",
            "a.corp.example",
            "myk8s.corp.example",
            "local",
            "10.in-addr.arpa",
            "_x.corp",
            "mysvc",
            "svc.example",
        ] {
            assert_eq!(parsed(&format!("{zone}=10.0.0.1")).expect("good")[0].zone.as_str(), zone);
        }
        assert_eq!(parsed(""), Ok(Vec::new()));
        // A service registry in the same pod.
        assert!(parsed("consul=127.0.0.1:8600").is_ok());
    }

    #[test]
    fn the_error_of_an_invalid_zone_says_what_is_expected() {
        let servers = |count: usize| (0..count).map(|n| format!("10.0.0.{n}")).collect::<Vec<_>>().join("+");
        assert!(parsed(&format!("a={}", servers(8))).is_ok());
        for (text, expected) in [
            ("consul", "a zone and its servers"),
            ("/consul/10.0.0.1", "a zone and its servers"),
            ("a=10.0.0.1,", "a zone and its servers"),
            (".=10.0.0.1", "a zone below the root"),
            ("=10.0.0.1", "a domain name before"),
            ("a..b=10.0.0.1", "a domain name before"),
            ("a b=10.0.0.1", "a domain name before"),
            ("ä=10.0.0.1", "a domain name before"),
            ("*.consul=10.0.0.1", "a zone without *"),
            ("k8s.corp.example=10.0.0.1", "a zone outside the cluster domain, k8s.corp.example"),
            ("x.K8S.corp.example.=10.0.0.1", "a zone outside the cluster domain, k8s.corp.example"),
            ("svc=10.0.0.1", "a zone outside svc"),
            ("prod.svc=10.0.0.1", "a zone outside svc"),
            ("a=", "IP addresses with or without port after the ="),
            ("a=dns.example", "\"dns.example\" is not one"),
            ("a=10.0.0.256", "\"10.0.0.256\" is not one"),
            ("a=10.0.0.1+", "\"\" is not one"),
            ("a=10.0.0.1:0", "\"10.0.0.1:0\" is not one"),
            ("a=10.0.0.1=b", "\"10.0.0.1=b\" is not one"),
            ("a=127.0.0.1", "servers other than the proxy itself"),
            ("a=10.0.0.1+10.0.0.1:53", "each server of a zone once"),
            (&format!("a={}", servers(9)), "at most 8 servers"),
            ("a=10.0.0.1,A.=10.0.0.2", "each zone once"),
        ] {
            let bad = parsed(text).expect_err(text);
            assert!(bad.len() == 1 && bad[0].1.contains(expected), "{text}: {bad:?}");
        }
        let zones = |count: usize| (0..count).map(|n| format!("z{n}=10.0.0.1")).collect::<Vec<_>>().join(",");
        assert!(parsed(&zones(16)).is_ok());
        assert_eq!(parsed(&zones(17)).expect_err("too many")[0].1, "at most 16 zones");
    }

    #[test]
    fn all_invalid_zones_are_reported_together() {
        let bad = parsed("a..b=x,ok=10.0.0.1,svc=10.0.0.1,ok=10.0.0.2").expect_err("bad");
        let texts: Vec<_> = bad.iter().map(|(text, _)| text.as_str()).collect();
        assert_eq!(texts, ["a..b=x", "a..b=x", "svc=10.0.0.1", "ok=10.0.0.2"]);
    }

    #[test]
    fn errors_about_a_long_text_are_short() {
        for text in ["a,".repeat(1000), format!("a={}", "x".repeat(1000)), format!("a={}", "x+".repeat(1000))]
        {
            let bad = parsed(&text).expect_err(&text);
            assert!(bad.len() == 1 && bad[0].1.len() < 200, "{bad:?}");
        }
    }
}
