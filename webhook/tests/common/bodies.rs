//! Review bodies that take as much memory as possible for their length.

use serde_json::{Value, json};

/// Reviews that become the largest trees, the longest buffers, and the deepest nesting. Each has about
/// `length` bytes.
pub(crate) fn bodies(length: usize) -> Vec<(&'static str, Vec<u8>)> {
    let filled = |pod: Value, part: &str, separator: &str| {
        let body = super::review_of(&pod).to_string();
        let (before, after) = body.split_once("\"FILL\"").expect("a place to fill");
        let room = length.saturating_sub(body.len()) / (part.len() + separator.len());
        let fill = vec![part; room].join(separator);
        format!("{before}{fill}{after}").into_bytes()
    };
    let spec = |spec: Value| json!({"metadata": {}, "spec": spec});
    let dns_config = || spec(json!({"containers": [], "dnsConfig": ["FILL"]}));
    let text = |part: &str| {
        let body = filled(spec(json!({"containers": [], "dnsPolicy": "FILL"})), part, "");
        String::from_utf8(body)
            .expect("UTF-8")
            .replace("\"dnsPolicy\":", "\"dnsPolicy\":\"")
            .replace("}}}}", "\"}}}}")
    };
    let members = |prefix: &str| {
        let names = (0..length / (prefix.len() + 10)).map(|number| (format!("{prefix}{number}"), json!("")));
        names.collect::<serde_json::Map<_, _>>()
    };
    let of = |pod: Value| super::review_of(&pod).to_string().into_bytes();
    let setting = |name: &str, value: String| {
        let annotations = json!({format!("podlocal-dns.io/{name}"): value});
        of(json!({"metadata": {"annotations": annotations}, "spec": {"containers": []}}))
    };
    // Different addresses with a prefix and a separator; short ones yield the largest number.
    let addresses = |before: &str, separator: &str| {
        let room = length / (before.len() + separator.len() + 12);
        let addresses = (0..room)
            .map(|number| format!("{before}1.{}.{}.{}", number >> 16, number >> 8 & 255, number & 255));
        addresses.collect::<Vec<_>>().join(separator)
    };
    vec![
        ("containers", filled(spec(json!({"containers": ["FILL"]})), "{}", ",")),
        (
            "variables that are skipped",
            filled(spec(json!({"containers": [{"name": "a", "env": ["FILL"]}]})), "{}", ","),
        ),
        (
            "variables that are stored",
            filled(spec(json!({"containers": [], "initContainers": [{"env": ["FILL"]}]})), "{}", ","),
        ),
        (
            "init containers of a pod from elsewhere",
            filled(
                spec(json!({
                    "containers": [],
                    "dnsPolicy": "None",
                    "dnsConfig": {"nameservers": ["127.0.0.1"]},
                    "initContainers": [
                        {
                            "name": "podlocal-dns",
                            "restartPolicy": "Always",
                            "env": [{"name": "PODLOCAL_NAMESPACE", "value": "elsewhere"}],
                        },
                        "FILL",
                    ],
                })),
                r#"{"a":"b"}"#,
                ",",
            ),
        ),
        ("numbers", filled(dns_config(), "1", ",")),
        ("arrays", filled(dns_config(), "[]", ",")),
        ("objects of one member", filled(dns_config(), r#"{"":1}"#, ",")),
        ("escapes", text(r"\n").into_bytes()),
        ("long escapes", text(r"\u0001").into_bytes()),
        ("characters", text("x").into_bytes()),
        ("members", of(spec(json!({"containers": [], "dnsConfig": members("")})))),
        (
            "annotations",
            of(json!({"metadata": {"annotations": members("podlocal-dns.io/")}, "spec": {"containers": []}})),
        ),
        (
            "annotations of others",
            of(json!({"metadata": {"annotations": members("x/")}, "spec": {"containers": []}})),
        ),
        ("names in a list", setting("prefetch-names", addresses("", ","))),
        ("addresses in a list", setting("upstream", addresses("", ","))),
        ("bad forward zones", setting("forward-zones", "a,".repeat(length / 2))),
        ("good forward zones", setting("forward-zones", format!("{}=1.1.1.1", addresses("a", "=1.1.1.1,")))),
        ("servers of a forward zone", setting("forward-zones", format!("a={}", addresses("", "+")))),
        (
            "a bad server of a forward zone",
            setting("forward-zones", format!("a={}", "\u{1}".repeat(length / 6))),
        ),
        ("nesting", vec![b'['; length]),
        ("nested objects", br#"{"a":"#.repeat(length / 5)),
        ("a name", format!("{{\"{}", r"\n".repeat(length / 2)).into_bytes()),
    ]
}
