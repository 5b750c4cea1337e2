//! The nameservers of `resolv.conf(5)`.

use std::net::SocketAddr;

use podlocal_dns::resolv_conf::ResolvConf;
use podlocal_settings::Settings;

/// The addresses on the `nameserver` lines, port 53, in order, without the addresses on which the proxy
/// itself listens: those would be a loop.
pub fn upstreams(resolv_conf: &str, settings: &Settings) -> Vec<SocketAddr> {
    let addresses = ResolvConf::parse(resolv_conf).nameservers.into_iter();
    addresses
        .map(|address| SocketAddr::new(address, 53))
        .filter(|address| !settings.listens_on(*address))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_proxys_own_addresses_are_not_upstreams() {
        let text = "search a.b\nnameserver 127.0.0.1\nnameserver ::1\n# nameserver 10.0.0.1\n\
                    nameserver 10.96.0.10 \nnameserver nonsense\nnameserver\noptions ndots:5\n";
        let addresses = upstreams(text, &Settings::defaults());
        assert_eq!(addresses, ["10.96.0.10:53".parse::<SocketAddr>().expect("an address")]);
    }
}
