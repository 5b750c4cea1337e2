use super::*;
use std::time::Duration;

fn sources(max_misses_per_source: u32, max_miss_rate_per_source: u32, now: Instant) -> Sources {
    let defaults = Settings::defaults();
    Sources::new(&Settings { max_misses_per_source, max_miss_rate_per_source, ..defaults }, now)
}

const ONE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));
const OTHER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 2));

#[test]
fn a_source_may_take_a_quarter_of_the_free_places() {
    let table = [(65_536, 256), (1024, 256), (400, 100), (4, 1), (3, 1), (1, 1), (0, 0)];
    assert!(table.into_iter().all(|(free, expected)| max_waiting(256, free) == expected));
}

#[test]
fn a_source_has_a_burst_of_two_seconds_and_then_its_rate() {
    let now = Instant::now();
    let sources = sources(0, 100, now);
    let asks = |count: u32, now| (0..count).filter(|_| sources.admit_miss(ONE, || 1000, now).is_ok()).count();
    assert_eq!(asks(1000, now), 201);
    assert_eq!(asks(1000, now + Duration::from_millis(500)), 50);
    assert_eq!(asks(1000, now + Duration::from_secs(60)), 201, "unused misses are not saved for longer");
    assert!(sources.admit_miss(OTHER, || 1000, now).is_ok());
}

#[test]
fn a_flooding_source_gets_four_refusals_per_miss_and_then_silence() {
    let now = Instant::now();
    let sources = sources(0, 100, now);
    let refused: Vec<_> = (0..10_000).filter_map(|_| sources.admit_miss(ONE, || 1000, now).err()).collect();
    assert_eq!(refused.iter().filter(|refused| refused.is_reported).count(), 801);
    assert!(refused.iter().all(|refused| refused.limit == Limit::MissRatePerSource));
    let later = now + Duration::from_millis(500);
    let refused = (0..1000).filter_map(|_| sources.admit_miss(ONE, || 1000, later).err());
    assert_eq!(refused.filter(|refused| refused.is_reported).count(), 200);
    assert!(sources.is_silenced(ONE, later) && !sources.is_silenced(OTHER, later));
    assert!(!sources.is_silenced(ONE, later + Duration::from_secs(1)));
}

#[test]
fn unverified_sources_share_the_misses_of_ten_sources() {
    let now = Instant::now();
    let sources = sources(0, 100, now);
    assert!(sources.is_new(ONE, now));
    let asked = |now| (0..10_000).filter(|_| sources.try_spend_new_source(now)).count();
    assert_eq!([asked(now), asked(now + Duration::from_millis(500))], [2001, 500]);
    sources.know(ONE, now);
    assert!(!sources.is_new(ONE, now) && sources.is_new(OTHER, now));
    assert!(!sources.is_new(ONE, now + Duration::from_hours(1)));
    assert!(sources.is_new(ONE, now + Duration::from_secs(3601)));
}

#[test]
fn an_address_in_the_slot_of_a_verified_one_is_unverified() {
    let now = Instant::now();
    let sources = sources(0, 100, now);
    sources.know(ONE, now);
    let number = sources.number(ONE);
    let mut others = (0..u32::MAX).map(|bits| IpAddr::from(bits.to_be_bytes()));
    let other = others.find(|other| *other != ONE && sources.number(*other) == number);
    assert!(sources.is_new(other.expect("one in 16,384"), now));
}

#[test]
fn in_a_pod_nothing_is_counted() {
    let now = Instant::now();
    let sources = sources(0, 0, now);
    assert!((0..100_000).all(|_| sources.admit_miss(ONE, || 0, now).is_ok()));
    assert!(!sources.is_new(ONE, now));
    assert!((0..100_000).all(|_| sources.try_spend_long_answer(ONE, now)));
    assert!(sources.are_answered(ONE, now) && !sources.are_answered([8, 8, 8, 8].into(), now));
}

#[test]
fn an_ipv4_mapped_ipv6_address_is_the_same_source() {
    let now = Instant::now();
    let sources = sources(1, 0, now);
    let _held = sources.admit_miss(ONE, || 100, now).expect("admitted");
    assert!(sources.admit_miss("::ffff:10.0.0.1".parse().expect("an address"), || 100, now).is_err());
}
