//! Resources: QoS classes, quotas, and limit ranges.

use podlocal_harness::cluster::client::{Libc, SLEEP, pod};
use podlocal_harness::cluster::{eventually, object};
use podlocal_harness::failure::Failure;
use podlocal_settings::names::{INJECT_DISABLED, INJECT_LABEL};
use serde_json::{Value, json};

use super::{resolving_pod, run_injected};
use crate::runner::Context;

/// The quota refuses a pod with a container that lacks one of these four values. Pods without any resources,
/// which stay BestEffort, are tested in workloads.rs.
pub(crate) async fn pods_keep_their_qos_class_under_a_quota_that_demands_limits(
    context: Context,
) -> Result<(), Failure> {
    let namespace = &context.namespace;
    let hard = ["requests.cpu", "requests.memory", "limits.cpu", "limits.memory"].map(|name| (name, "4G"));
    let hard: Value = hard.into_iter().map(|(name, most)| (name.to_owned(), json!(most))).collect();
    namespace.apply(object("v1", "ResourceQuota", "bounds", &json!({ "hard": hard }))).await?;
    eventually("the quota is enforced", async || {
        let quota = namespace.get("v1", "ResourceQuota", "bounds").await?;
        Ok(quota["status"]["used"].is_object().then_some(()))
    })
    .await?;
    let limits = json!({ "cpu": "100m", "memory": "64Mi" });
    for (class, requests) in
        [("Guaranteed", limits.clone()), ("Burstable", json!({ "cpu": "10m", "memory": "32Mi" }))]
    {
        let mut pod = resolving_pod(&class.to_lowercase());
        pod["spec"]["containers"][0]["resources"] = json!({ "limits": limits, "requests": requests });
        let pod = run_injected(namespace, pod).await?;
        assert_eq!(pod["status"]["qosClass"], class);
    }
    Ok(())
}

pub(crate) async fn pods_keep_the_class_that_a_limit_range_gives_them(
    context: Context,
) -> Result<(), Failure> {
    let namespace = &context.namespace;
    let defaults = json!({ "cpu": "100m", "memory": "64Mi" });
    let limits = json!([{ "type": "Container", "default": defaults, "defaultRequest": defaults }]);
    namespace.apply(object("v1", "LimitRange", "bounds", &json!({ "limits": limits }))).await?;
    // The same pod without injection shows the expected class.
    let mut direct = pod("direct", Libc::Musl, &SLEEP);
    direct["metadata"]["labels"] = json!({ INJECT_LABEL: INJECT_DISABLED });
    let class = eventually("the limit range applies", async || {
        let shown = namespace.apply_with(direct.clone(), "dryRun=All").await?.object;
        let is_limited = shown["spec"]["containers"][0]["resources"]["limits"] == defaults;
        Ok(is_limited.then(|| shown["status"]["qosClass"].clone()))
    })
    .await?;
    let pod = run_injected(namespace, resolving_pod("defaulted")).await?;
    assert_eq!(pod["status"]["qosClass"], class);
    Ok(())
}

/// A minimum above the sidecar's requests: either the pod is admitted, or `check` names the limit range
/// beforehand.
pub(crate) async fn the_sidecar_meets_the_minimum_of_a_limit_range(context: Context) -> Result<(), Failure> {
    let namespace = &context.namespace;
    let minimum = json!({ "cpu": "50m", "memory": "48Mi" });
    let limits = json!([{ "type": "Container", "min": minimum, "defaultRequest": minimum }]);
    namespace.apply(object("v1", "LimitRange", "bounds", &json!({ "limits": limits }))).await?;
    let mut pod = pod("minimal", Libc::Musl, &SLEEP);
    pod["spec"]["containers"][0]["resources"] = json!({ "requests": minimum });
    pod["spec"]["schedulerName"] = json!("nobody");
    // The webhook learns of the LimitRange from a watch, a moment later.
    eventually("a pod within the minimum is created", async || namespace.apply(pod.clone()).await.map(Some))
        .await
        .map(drop)
}
