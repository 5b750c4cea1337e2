//! Identities are created, stored, renewed and rejected.

use std::time::UNIX_EPOCH;

use super::*;

fn names() -> Vec<String> {
    vec!["a.example.svc".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()]
}

#[test]
fn new_identity_is_usable_until_it_expires() {
    let now = SystemTime::now();
    let identity = Identity::make(&names(), now).expect("makes");
    let usable = identity.usable(&names(), now).expect("usable");
    let end = UNIX_EPOCH + Duration::from_secs(usable.expires);
    assert!(identity.usable(&names(), end - Duration::from_secs(1)).is_ok());
    for outside in [end, now - Duration::from_hours(2)] {
        assert!(matches!(identity.usable(&names(), outside), Err(Unusable::NotInForce(_))));
    }
}

#[test]
fn identity_survives_a_round_trip_through_a_secret() {
    let identity = Identity::make(&names(), SystemTime::now()).expect("makes");
    let parts = identity.parts();
    assert_eq!(Identity::from_parts(|name| parts.get(name).cloned()).expect("whole"), identity);
    let without_key = Identity::from_parts(|name| parts.get(name).cloned().filter(|_| name != "tls.key"));
    assert!(matches!(without_key, Err(Unusable::Missing("tls.key"))));
}

#[test]
fn inconsistent_secret_is_rejected() {
    let now = SystemTime::now();
    let identity = Identity::make(&names(), now).expect("makes");
    let other = Identity::make(&names(), now).expect("makes");
    let mixed = Identity { key: other.key.clone(), ..identity.clone() };
    assert!(matches!(mixed.usable(&names(), now), Err(Unusable::Tls(_))), "a key of another certificate");
    let garbage = Identity { certificate: "garbage".to_owned(), ..identity.clone() };
    assert!(matches!(garbage.usable(&names(), now), Err(Unusable::Tls(_))));
    let empty = Identity { ca: String::new(), ..identity.clone() };
    assert!(matches!(empty.usable(&names(), now), Err(Unusable::Tls(_))));
    let renamed = identity.usable(&["b.example.svc".to_owned()], now);
    assert!(matches!(renamed, Err(Unusable::OtherName(name)) if name == "b.example.svc"));
}

#[test]
fn certificates_are_trusted_before_they_are_served_for_20_years() {
    const DAY: Duration = Duration::from_hours(24);
    let begin = SystemTime::now();
    let mut identity = Identity::make(&names(), begin).expect("makes");
    let (mut authorities, mut certificates) = (1, 1);
    // The CAs that the API server trusts: those of five days ago.
    let mut trusted = identity.ca.clone();
    for day in (0..20 * 365).step_by(5) {
        let now = begin + day * DAY;
        let step = identity.next(&names(), now, identity.ca == trusted);
        trusted.clone_from(&identity.ca);
        let renewed = identity.renewed(step, &names(), now).expect("renews");
        match step {
            Step::Keep => assert_eq!(renewed, identity),
            Step::NewCertificate => certificates += 1,
            Step::NewAuthority => {
                authorities += 1;
                assert_eq!(renewed.certificate, identity.certificate, "the certificate stays");
                assert!(renewed.ca.contains(&identity.ca), "the old CA is still trusted");
            }
            Step::StartOver => panic!("day {day}: nothing was lost"),
        }
        identity = renewed;
        let served = Identity { ca: trusted.clone(), ..identity.clone() };
        served.usable(&names(), now).unwrap_or_else(|error| panic!("day {day}, {step:?}: {error}"));
    }
    assert_eq!((authorities, certificates > 20 * 365 / 61), (3, true), "{certificates} certificates");
    assert_eq!(identity.ca.matches("END CERTIFICATE").count(), 1, "CAs that have ended are gone");
}

#[test]
fn certificate_of_another_ca_is_replaced_by_the_same_ca() {
    let now = SystemTime::now();
    let identity = Identity::make(&names(), now).expect("makes");
    let other = Identity::make(&names(), now).expect("makes");
    let mixed =
        Identity { certificate: other.certificate.clone(), key: other.key.clone(), ..identity.clone() };
    assert!(matches!(mixed.usable(&names(), now), Err(Unusable::OtherAuthority)));
    assert_eq!(mixed.next(&names(), now, true), Step::NewCertificate);
    let renewed = mixed.renewed(Step::NewCertificate, &names(), now).expect("renews");
    assert_eq!(renewed.ca, identity.ca);
    assert!(renewed.usable(&names(), now).is_ok());

    let keyless = Identity { ca_key: other.ca_key.clone(), ..identity.clone() };
    assert_eq!(keyless.next(&names(), now, true), Step::StartOver);
    let renamed = identity.next(&["b.example.svc".to_owned()], now, true);
    assert_eq!(renamed, Step::NewCertificate);
}
