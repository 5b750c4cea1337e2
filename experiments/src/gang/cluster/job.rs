//! The Job of an arm.

use podlocal_harness::cluster::client::{Libc, pod_spec};
use serde_json::{Value, json};

use super::super::arm::Arm;
use super::node_local::ZONE;

/// The Job's name, and the value of the label `app` of its pods.
pub(super) const NAME: &str = "gang";

/// Resolves names at a common start, and then sleeps, so that the metrics of its sidecar can be read
/// afterwards.
const SCRIPT: &str = "getaddr \"$@\"; exec sleep 3600";

/// The Job whose pods look up `names` at `start`, in seconds since 1970.
///
/// `cache` is the nameserver, in the arm that has a separate one.
pub(super) fn job(
    arm: Arm,
    pods: usize,
    start: f64,
    names: &[String],
    namespace: &str,
    cache: Option<&str>,
) -> Value {
    let start = format!("{start:.0}");
    let words = ["sh", "-c", SCRIPT, NAME, &start];
    let words: Vec<&str> = words.into_iter().chain(names.iter().map(String::as_str)).collect();
    let mut pod = json!({ "metadata": { "labels": { "app": NAME } }, "spec": pod_spec(Libc::Glibc, &words) });
    if let Some(cache) = cache {
        // The configuration of ClusterFirst, except for the nameserver.
        pod["spec"]["dnsPolicy"] = json!("None");
        pod["spec"]["dnsConfig"] = json!({
            "nameservers": [cache],
            "searches": [format!("{namespace}.svc.{ZONE}"), format!("svc.{ZONE}"), ZONE],
            "options": [{ "name": "ndots", "value": "5" }],
        });
    }
    json!({
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": { "name": NAME },
        "spec": { "parallelism": pods, "completions": pods, "backoffLimit": 0, "template": arm.pod(pod) },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dns(arm: Arm, cache: Option<&str>) -> Value {
        let job = job(arm, 2, 1_700_000_000.0, &["a".to_owned(), "b".to_owned()], "ns", cache);
        let spec = &job["spec"]["template"]["spec"];
        assert_eq!(
            spec["containers"][0]["command"],
            json!(["sh", "-c", SCRIPT, "gang", "1700000000", "a", "b"])
        );
        json!([spec["dnsPolicy"], spec["dnsConfig"]])
    }

    #[test]
    fn only_the_dns_of_the_pods_differs_between_arms() {
        for arm in [Arm::Direct, Arm::Injected, Arm::Shared] {
            assert_eq!(dns(arm, None), json!([null, null]));
        }
        let ndots = json!([null, { "options": [{ "name": "ndots", "value": "2" }] }]);
        assert_eq!(dns(Arm::Ndots2, None), ndots);
        let cache = json!(["None", {
            "nameservers": ["10.96.1.1"],
            "searches": ["ns.svc.cluster.local", "svc.cluster.local", "cluster.local"],
            "options": [{ "name": "ndots", "value": "5" }],
        }]);
        assert_eq!(dns(Arm::NodeLocal, Some("10.96.1.1")), cache);
    }
}
