//! Review bodies that take as much memory as possible for their length.

use serde_json::json;

/// Pods that become the largest trees and the longest buffers. The part between `<` and `>` is repeated, with
/// a number in place of `%`, or with the address of that number in place of `@`: short ones yield the largest
/// number.
const PODS: &[(&str, &str)] = &[
    ("containers", r#"{"spec": {"containers": [<{},>{}]}}"#),
    ("variables that are skipped", r#"{"spec": {"containers": [{"name": "a", "env": [<{},>{}]}]}}"#),
    ("variables that are stored", r#"{"spec": {"containers": [], "initContainers": [{"env": [<{},>{}]}]}}"#),
    (
        "init containers of a pod from elsewhere",
        r#"{"spec": {
            "containers": [], "dnsPolicy": "None", "dnsConfig": {"nameservers": ["127.0.0.1"]},
            "initContainers": [<{"a":"b"},>{
                "name": "podlocal-dns", "restartPolicy": "Always",
                "env": [{"name": "PODLOCAL_NAMESPACE", "value": "elsewhere"}]
            }]
        }}"#,
    ),
    ("numbers", r#"{"spec": {"containers": [], "dnsConfig": [<1,>1]}}"#),
    ("arrays", r#"{"spec": {"containers": [], "dnsConfig": [<[],>[]]}}"#),
    ("objects of one member", r#"{"spec": {"containers": [], "dnsConfig": [<{"":1},>1]}}"#),
    ("escapes", r#"{"spec": {"containers": [], "dnsPolicy": "<\n>"}}"#),
    ("long escapes", r#"{"spec": {"containers": [], "dnsPolicy": "<\u0001>"}}"#),
    ("characters", r#"{"spec": {"containers": [], "dnsPolicy": "<x>"}}"#),
    ("members", r#"{"spec": {"containers": [], "dnsConfig": {<"%":"",>"x": ""}}}"#),
    (
        "annotations",
        r#"{"metadata": {"annotations": {<"podlocal-dns.io/%":"",>"x": ""}}, "spec": {"containers": []}}"#,
    ),
    (
        "annotations of others",
        r#"{"metadata": {"annotations": {<"x/%":"",>"x": ""}}, "spec": {"containers": []}}"#,
    ),
];

/// Long values of settings, in the same form.
const SETTINGS: &[(&str, &str, &str)] = &[
    ("names in a list", "prefetch-names", "<@,>1.1.1.1"),
    ("addresses in a list", "upstream", "<@,>1.1.1.1"),
    ("bad forward zones", "forward-zones", "<a,>"),
    ("good forward zones", "forward-zones", "<a@=1.1.1.1,>a=1.1.1.1"),
    ("servers of a forward zone", "forward-zones", "a=<@+>1.1.1.1"),
    ("a bad server of a forward zone", "forward-zones", r"a=<\u0001>"),
];

/// Reviews of about `length` bytes with each of these pods, and bodies that are no reviews.
pub(crate) fn bodies(length: usize) -> Vec<(&'static str, Vec<u8>)> {
    let of_settings = SETTINGS.iter().map(|(what, name, value)| {
        let annotations = format!(r#"{{"podlocal-dns.io/{name}": "{value}"}}"#);
        (*what, format!(r#"{{"metadata": {{"annotations": {annotations}}}, "spec": {{"containers": []}}}}"#))
    });
    let pods = PODS.iter().map(|(what, pod)| (*what, (*pod).to_owned())).chain(of_settings);
    let review = super::review_of(&json!("POD")).to_string();
    let reviews = pods.map(|(what, pod)| (what, filled(&review.replace("\"POD\"", &pod), length)));
    let others = [
        ("nesting", "<[>".to_owned()),
        ("nested objects", r#"<{"a":>"#.to_owned()),
        ("a name", r#"{"<\n>"#.to_owned()),
    ];
    reviews.chain(others.map(|(what, body)| (what, filled(&body, length)))).collect()
}

/// The text with its part repeated up to that length.
fn filled(text: &str, length: usize) -> Vec<u8> {
    let (before, rest) = text.split_once('<').expect("a part");
    let (part, after) = rest.split_once('>').expect("its end");
    let room = length.saturating_sub(before.len() + after.len());
    if !part.contains(['%', '@']) {
        return format!("{before}{}{after}", part.repeat(room / part.len())).into_bytes();
    }
    let mut filled = String::new();
    for number in 0_usize.. {
        if filled.len() >= room {
            break;
        }
        let address = format!("1.{}.{}.{}", number >> 16, number >> 8 & 255, number & 255);
        filled.push_str(&part.replace('%', &number.to_string()).replace('@', &address));
    }
    format!("{before}{filled}{after}").into_bytes()
}
