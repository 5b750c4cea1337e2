//! The texts of settings: [`read`], which the webhook calls for annotations and the sidecar for its
//! environment.
//!
//! The input is lines of `NAME=TEXT`. The invariants:
//!
//! - Accepted settings that are written for the sidecar parse to the same settings without an error: no pod
//!   gets a sidecar that refuses to start.
//! - Every error names the origin and the text, and is short.
//! - The oracle for forward zones parses each zone alone: the list is valid if each zone is valid and no zone
//!   occurs twice; otherwise the errors name exactly the invalid ones. And the sidecar queries the servers of
//!   a zone for its names, and cluster DNS for the names of the cluster.

use std::collections::BTreeSet;

use podlocal_dns::wire::{self, NameText};
use podlocal_settings::read::{Given, Read, read};
use podlocal_settings::table::{self, Setting};
use podlocal_settings::value::{self, ForwardZone};
use podlocal_settings::{Settings, write};
use podlocal_sidecar::forward::ForwardZones;

/// The maximum length of an error message in bytes: two texts of 64 characters, each of which may be escaped,
/// and a name.
const LONGEST_MISTAKE: usize = 1800;

/// The maximum number of zones, and of servers of each.
const MOST_ZONES: usize = 16;
const MOST_SERVERS: usize = 8;

/// Parses the settings and checks the result.
pub fn check(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let lines: Vec<_> = text.lines().filter_map(|line| line.split_once('=')).collect();
    // As in the webhook: the settings that an annotation may set, and the cluster domain.
    let is_given = |setting: &Setting| {
        setting.is_for_sidecar() && (setting.is_annotation() || *setting == table::CLUSTER_DOMAIN)
    };
    let of_setting = |setting: &Setting| {
        let texts = lines.iter().filter(|(name, _)| *name == setting.name && is_given(setting));
        texts.map(|(name, text)| given(name, text)).collect::<Vec<_>>()
    };
    let accepted = read(of_setting);
    for error in &accepted.errors {
        assert!(lines.iter().any(|(name, _)| *name == error.origin), "{error}");
        let shown = error.to_string();
        assert!(shown.len() <= LONGEST_MISTAKE, "{} bytes: {shown}", shown.len());
    }
    reads_back(&accepted);
    for Given { text, .. } in of_setting(&table::FORWARD_ZONES) {
        are_read_part_by_part(text.trim(), &accepted.settings.cluster_domain);
    }
}

fn given(origin: &str, text: &str) -> Given {
    Given { origin: origin.to_owned(), text: text.to_owned() }
}

fn reads_back(accepted: &Read) {
    let (mut written, settings) = (accepted.clone(), &accepted.settings);
    // The webhook writes the parsed servers, without the address of the proxy itself.
    for (setting, servers) in
        [(&table::UPSTREAM, &settings.upstream), (&table::BACKUP_UPSTREAM, &settings.backup_upstream)]
    {
        let servers: Vec<_> = servers.iter().map(ToString::to_string).collect();
        written.accepted.retain(|(other, _)| *other != setting);
        written.accepted.push((setting, servers.join(",")));
    }
    let variables = write::variables(&written);
    let back = read(|setting| {
        let of_setting = variables.iter().filter(|(name, _)| *name == setting.variable());
        of_setting.map(|(name, text)| given(name, text)).collect()
    });
    assert_eq!(back.errors, [], "{variables:?}");
    assert_eq!(back.settings, accepted.settings, "{variables:?}");
}

fn are_read_part_by_part(text: &str, domain: &str) {
    let own = Settings::defaults();
    let parse = |text: &str| value::forward_zones(text, domain, |server| own.is_own(server));
    let parts: Vec<_> = text.split(',').map(str::trim).collect();
    let zones = match parse(text) {
        Ok(zones) => zones,
        Err(bad) if parts.len() > MOST_ZONES => return assert_eq!(bad.len(), 1, "{bad:?}"),
        Err(bad) => {
            let mut named: Vec<_> = bad.iter().map(|(part, _)| part.as_str()).collect();
            let mut known = BTreeSet::new();
            let is_bad = |part: &&str| match parse(part) {
                // An empty text means no zones, but an empty part between commas is an error.
                Ok(zones) => {
                    let is_bad = zones.first().is_none_or(|zone| !known.insert(zone.zone.to_string()));
                    are_asked_of_their_servers(zones, domain);
                    is_bad
                }
                Err(_) => true,
            };
            let mut expected: Vec<_> = parts.into_iter().filter(is_bad).collect();
            // A part may have two errors.
            named.dedup();
            expected.dedup();
            return assert_eq!(named, expected, "{bad:?}");
        }
    };
    let alone = parts.iter().flat_map(|part| parse(part).expect("a part of what is good"));
    assert_eq!(zones, alone.collect::<Vec<_>>());
    assert!(zones.len() <= MOST_ZONES);
    let plain: Vec<_> = zones.iter().map(plain).collect();
    assert_eq!(parse(&plain.join(",")).as_ref(), Ok(&zones));
    are_asked_of_their_servers(zones, domain);
}

/// The zone in its normal form, without spaces, capital letters and defaults.
fn plain(ForwardZone { zone, servers }: &ForwardZone) -> String {
    assert!((1..=MOST_SERVERS).contains(&servers.len()));
    let servers: Vec<_> = servers.iter().map(ToString::to_string).collect();
    format!("{zone}={}", servers.join("+"))
}

fn are_asked_of_their_servers(zones: Vec<ForwardZone>, domain: &str) {
    let names: Vec<_> = zones.iter().map(|zone| zone.zone.clone()).collect();
    let settings = Settings {
        cluster_domain: value::DomainName::parse(domain).expect("a domain"),
        forward_zones: zones,
        ..Settings::defaults()
    };
    let forward = ForwardZones::new(&settings, 0..);
    for (place, name) in names.iter().enumerate() {
        let name_on_wire = wire::zone(name);
        assert_eq!(NameText(&name_on_wire).to_string(), format!("{name}."));
        assert_eq!(forward.zone_of(&name_on_wire), Some((name_on_wire.as_slice(), &place)), "{name}");
    }
    for name in [domain, &format!("db.prod.svc.{domain}"), "db.prod.svc", "."] {
        assert_eq!(
            forward.zone_of(&wire::name_from_text(name).unwrap_or_else(|| wire::ROOT.to_vec())),
            None,
            "{name} of {names:?}"
        );
    }
}
