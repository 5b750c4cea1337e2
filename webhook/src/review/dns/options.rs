//! The options in the `resolv.conf` of an injected pod, and the `ndots` that a resolver reads from them.
//! Pure.

use std::time::Duration;

use podlocal_settings::read::Read;
use podlocal_settings::table;
use serde_json::{Value, json};

use super::Base;

/// The default without the option (resolv.conf(5)).
const NDOTS_WHEN_ABSENT: u8 = 1;

/// The maximum in resolvers: glibc (`RES_MAXNDOTS`), musl and Go clamp larger numbers to it.
const LARGEST_NDOTS: u8 = 15;

/// The `ndots` of the settings, unless the pod has one, then the pod's own options. A pod with dnsPolicy
/// `None` gets no search domains from the webhook, so it gets `ndots` only if that is set explicitly.
pub(super) fn of_pod(base: Base, own: &Value, read: &Read) -> Vec<Value> {
    let own = own.as_array().map(Vec::as_slice).unwrap_or_default();
    let is_asked_for = read.accepted.iter().any(|(setting, _)| *setting == &table::NDOTS);
    let is_ours = base == Base::Cluster || is_asked_for;
    let ours = (is_ours && !own.iter().any(|option| ndots_text(option).is_some()))
        .then(|| json!({"name": table::NDOTS.name, "value": read.settings.ndots.to_string()}));
    ours.into_iter().chain(own.iter().cloned()).collect()
}

/// The effective `ndots` in a pod with these options. The last option of a name wins, as the kubelet merges
/// them (`mergeDNSOptions` in `kubernetes/pkg/kubelet/network/dns/dns.go`).
///
/// The API server accepts any string, and resolvers disagree about one that is not a number: glibc (`atoi`)
/// and Go read 0, musl keeps 1. The sidecar expands the names that the C library does not expand. With a
/// number that is too low it expands names twice, and with one that is too high it leaves some unexpanded. So
/// an invalid value counts as 0, and so does a negative number, which glibc reads as a large one.
pub(super) fn ndots(options: &[Value]) -> u8 {
    match options.iter().filter_map(ndots_text).next_back() {
        // The kubelet writes the option without a value, which resolvers ignore.
        None | Some("") => NDOTS_WHEN_ABSENT,
        Some(text) => leading_number(text),
    }
}

/// The text after `ndots:` in the file, if the option is `ndots`; empty without a value. The name may contain
/// both: the API server accepts `name: "ndots:5"`, and it is written unchanged.
fn ndots_text(option: &Value) -> Option<&str> {
    match option["name"].as_str()?.strip_prefix(table::NDOTS.name)? {
        "" => Some(option["value"].as_str().unwrap_or_default()),
        rest => rest.strip_prefix(':'),
    }
}

/// How long the lookup of a name of `wait-for-names` may be held in a pod with these options, so that its
/// client gets the negative answer in time: four fifths of its time-out. The longest `wait-timeout` is the
/// same part of the usual 5 s. `None`: the options do not set a time-out. The last option counts. musl waits
/// for one time-out in all, glibc and Go for one for each attempt; glibc makes 0 a second.
pub(super) fn longest_wait(options: &[Value]) -> Option<Duration> {
    let seconds = options.iter().filter_map(timeout_text).next_back().map(leading_number)?;
    Some(Duration::from_secs(seconds.max(1).into()) * 4 / 5)
}

fn timeout_text(option: &Value) -> Option<&str> {
    match option["name"].as_str()?.strip_prefix("timeout")? {
        "" => option["value"].as_str().filter(|text| !text.is_empty()),
        rest => rest.strip_prefix(':'),
    }
}

/// The number at the beginning of `text`, as `atoi` reads it, but at most the maximum.
fn leading_number(text: &str) -> u8 {
    let text = text.trim_start();
    let digits = text.strip_prefix('+').unwrap_or(text).bytes().take_while(u8::is_ascii_digit);
    digits.fold(0, |number, digit| (number * 10 + (digit - b'0')).min(LARGEST_NDOTS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ndots_is_what_a_resolver_makes_of_the_options() {
        let cases = [
            (json!([]), 1),
            (json!([{"name": "rotate"}, {"name": "ndotsy", "value": "3"}]), 1),
            (json!([{"name": "ndots", "value": "5"}]), 5),
            (json!([{"name": "ndots", "value": "0"}]), 0),
            (json!([{"name": "ndots", "value": "007"}]), 7),
            (json!([{"name": "ndots", "value": "+3"}]), 3),
            (json!([{"name": "ndots", "value": "5x"}]), 5),
            (json!([{"name": "ndots", "value": "16"}]), 15),
            (json!([{"name": "ndots", "value": "99999999999999999999999"}]), 15),
            (json!([{"name": "ndots", "value": "many"}]), 0),
            (json!([{"name": "ndots", "value": "-1"}]), 0),
            (json!([{"name": "ndots", "value": ""}]), 1),
            (json!([{"name": "ndots"}]), 1),
            (json!([{"name": "ndots", "value": null}]), 1),
            (json!([{"name": "ndots:4"}]), 4),
            (json!([{"name": "ndots", "value": "3"}, {"name": "ndots", "value": "4"}]), 4),
            (json!([null, 7, "ndots:5", {"value": "5"}, {"name": 5}]), 1),
        ];
        for (options, expected) in cases {
            assert_eq!(ndots(options.as_array().expect("a list")), expected, "{options}");
        }
    }

    #[test]
    fn a_query_waits_for_less_than_the_clients_time_out() {
        let cases = [
            (json!([]), None),
            (json!([{"name": "timeout", "value": "1"}]), Some(800)),
            (json!([{"name": "timeout:2"}]), Some(1600)),
            (json!([{"name": "timeout", "value": "1"}, {"name": "timeout", "value": "3"}]), Some(2400)),
            (json!([{"name": "timeout", "value": "0"}]), Some(800)),
            (json!([{"name": "timeout", "value": "5"}]), Some(4000)),
            (json!([{"name": "timeout", "value": "99"}]), Some(12000)),
            (
                json!([{"name": "timeout"}, {"name": "timeouts", "value": "1"}, {"name": "attempts", "value": "1"}]),
                None,
            ),
        ];
        for (options, expected) in cases {
            let found = longest_wait(options.as_array().expect("a list"));
            assert_eq!(found.map(|found| found.as_millis()), expected, "{options}");
        }
    }

    #[test]
    fn the_sidecar_takes_every_ndots_that_a_resolver_takes() {
        assert_eq!(table::NDOTS.bounds, Some(("0", LARGEST_NDOTS.to_string().as_str())));
    }
}
