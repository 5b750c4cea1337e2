//! The sources of queries that a proxy answers.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::Expected;

/// The maximum number of networks in one setting.
const MAX_NETWORKS: usize = 64;

/// The addresses whose queries are answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllowedSources {
    any: bool,
    networks: Vec<Network>,
}

/// A network: an address and the length of its prefix in bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Network {
    address: IpAddr,
    length: u8,
}

/// What `private` stands for: loopback, link-local, private use (RFC 1918, RFC 4193), and the shared space of
/// RFC 6598, which some clusters give to pods.
const PRIVATE: [Network; 9] = [
    v4([127, 0, 0, 0], 8),
    v4([10, 0, 0, 0], 8),
    v4([172, 16, 0, 0], 12),
    v4([192, 168, 0, 0], 16),
    v4([100, 64, 0, 0], 10),
    v4([169, 254, 0, 0], 16),
    v6(Ipv6Addr::LOCALHOST, 128),
    v6(Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0), 7),
    v6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0), 10),
];

const fn v4([a, b, c, d]: [u8; 4], length: u8) -> Network {
    Network { address: IpAddr::V4(Ipv4Addr::new(a, b, c, d)), length }
}

const fn v6(address: Ipv6Addr, length: u8) -> Network {
    Network { address: IpAddr::V6(address), length }
}

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
                "private" => sources.networks.extend(PRIVATE),
                other => sources.networks.push(Network::parse(other).ok_or_else(expected)?),
            }
        }
        if count > MAX_NETWORKS { Err(expected()) } else { Ok(sources) }
    }

    /// Whether queries from this address are answered. An IPv4-mapped IPv6 address (RFC 4291 section 2.5.5.2)
    /// counts as the IPv4 address.
    pub fn contain(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.any || self.networks.iter().any(|network| network.contains(address))
    }
}

impl Network {
    /// `address/length`; an address alone is one address. Bits after the prefix must be 0; other
    /// values are probably an error.
    fn parse(text: &str) -> Option<Self> {
        let (address, length) =
            text.split_once('/').map_or((text, None), |(address, length)| (address, Some(length)));
        let address: IpAddr = address.parse().ok()?;
        let max = if address.is_ipv4() { 32 } else { 128 };
        let length =
            length.map_or(Some(max), |length| super::number(length).ok().filter(|length| *length <= max))?;
        let network = Self { address, length };
        (bits(address) & !network.mask() == 0).then_some(network)
    }

    fn contains(&self, address: IpAddr) -> bool {
        self.address.is_ipv4() == address.is_ipv4() && bits(address) & self.mask() == bits(self.address)
    }

    /// Ones for the bits of the prefix, aligned like [`bits`].
    fn mask(&self) -> u128 {
        u128::MAX.checked_shl(128 - u32::from(self.length)).unwrap_or(0)
    }
}

/// The address, with its first bit as the most significant one.
fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(address.to_bits()) << 96,
        IpAddr::V6(address) => address.to_bits(),
    }
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
