//! The sources of queries that a proxy answers.

use std::net::IpAddr;
use std::ops::RangeInclusive;

use ipnet::IpNet;

use super::Expected;

/// The maximum number of networks in one setting.
const MAX_NETWORKS: usize = 64;

/// The addresses whose queries are answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllowedSources {
    any: bool,
    /// The first and the last address of each network: cheaper to compare with than a prefix.
    networks: Vec<RangeInclusive<IpAddr>>,
}

/// What `private` stands for: loopback, link-local, private use (RFC 1918, RFC 4193), and the shared space of
/// RFC 6598, which some clusters give to pods.
const PRIVATE: [&str; 9] = [
    "127.0.0.0/8",
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "100.64.0.0/10",
    "169.254.0.0/16",
    "::1",
    "fc00::/7",
    "fe80::/10",
];

impl AllowedSources {
    /// `private`, `any`, and networks such as `203.0.113.0/24`, separated by commas.
    pub fn parse(text: &str) -> Result<Self, Expected> {
        let expected = || {
            format!("private, any, or 1 to {MAX_NETWORKS} networks such as 203.0.113.0/24 or 2001:db8::/48")
        };
        let mut sources = Self { any: false, networks: Vec::new() };
        let mut count = 0;
        for part in text.split(',').map(str::trim) {
            count += 1;
            match part {
                "any" => sources.any = true,
                "private" => sources.networks.extend(PRIVATE.into_iter().filter_map(network)),
                other => sources.networks.push(network(other).ok_or_else(expected)?),
            }
        }
        if count > MAX_NETWORKS { Err(expected()) } else { Ok(sources) }
    }

    /// Whether queries from this address are answered. An IPv4-mapped IPv6 address (RFC 4291 section 2.5.5.2)
    /// counts as the IPv4 address.
    pub fn contain(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.any || self.networks.iter().any(|network| network.contains(&address))
    }
}

/// `address/length`; an address alone is one address. Bits after the prefix must be 0; other values are probably
/// an error.
fn network(text: &str) -> Option<RangeInclusive<IpAddr>> {
    let network = text.parse::<IpNet>().ok().or_else(|| Some(text.parse::<IpAddr>().ok()?.into()))?;
    (network == network.trunc()).then(|| network.network()..=network.broadcast())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answers(sources: &str, addresses: &str) -> Vec<bool> {
        let sources = AllowedSources::parse(sources).expect("valid");
        addresses.split(' ').map(|address| sources.contain(address.parse().expect("an address"))).collect()
    }

    #[test]
    fn private_has_the_addresses_that_the_internet_does_not_route() {
        let inside = "127.0.0.1 10.244.1.2 172.31.255.255 192.168.0.1 100.127.0.1 169.254.20.10 ::1 fd00::1 fe80::1 \
                      ::ffff:10.0.0.1";
        let inside = inside.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(answers("private", &inside).into_iter().all(|is_answered| is_answered));
        let outside = "8.8.8.8 172.32.0.1 192.169.0.1 100.128.0.1 2001:db8::1 fec0::1 ::ffff:8.8.8.8 0.0.0.0";
        assert!(answers("private", outside).into_iter().all(|is_answered| !is_answered));
        assert!(answers("any", outside).into_iter().all(|is_answered| is_answered));
    }

    #[test]
    fn networks_add_up() {
        let addresses =
            "10.0.0.1 203.0.113.255 203.0.114.0 2001:db8:0:ffff::1 2001:db8:1::1 198.51.100.7 198.51.100.8";
        let expected = [true, true, false, true, false, true, false];
        assert_eq!(answers("private, 203.0.113.0/24,2001:db8::/48, 198.51.100.7", addresses), expected);
        assert_eq!(answers("0.0.0.0/0", "8.8.8.8 ::1"), [true, false]);
    }

    #[test]
    fn invalid_networks_are_refused() {
        for refused in
            ["", "public", "10.0.0.0/33", "10.0.0.1/8", "2001:db8::/129", "10.0.0.0/", "private,,any"]
        {
            assert!(AllowedSources::parse(refused).is_err(), "{refused}");
        }
    }
}
