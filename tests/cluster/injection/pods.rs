//! Pods without a controller: their other containers and their annotations.

use podlocal_harness::cluster::client::{Libc, container};
use podlocal_harness::cluster::pods::container_status;
use podlocal_harness::cluster::{eventually, kubectl, name_of};
use podlocal_harness::failure::{Failure, WithContext as _};
use podlocal_settings::names::{CONTAINER_NAME, INJECT_ENABLED, INJECT_LABEL, STATUS_ANNOTATION};
use serde_json::json;

use super::{
    NAMES, RESOLVE, RESOLVE_AND_SLEEP, assert_injected, assert_resolves, container_names, controlled,
    event_notes, resolving_pod, run_injected, variable,
};
use crate::runner::Context;

/// The reason of the Event about settings that were ignored.
const SETTINGS_IGNORED: &str = "PodLocalDNSSettingsIgnored";

/// A pod with `generateName` has neither a name nor a namespace in its metadata when the webhook sees it.
pub(crate) async fn a_generated_name_and_an_ephemeral_container_resolve_names(
    context: Context,
) -> Result<(), Failure> {
    let namespace = &context.namespace;
    let mut pod = resolving_pod("");
    pod["metadata"] = json!({ "generateName": "generated-" });
    let pod = run_injected(namespace, pod).await?;
    let name = name_of(&pod);
    assert!(name.starts_with("generated-"), "{name}");

    let image = format!("--image={}", Libc::Glibc.image());
    let debug = ["--namespace", &namespace.name, "debug", name, &image, "--container=later", "--"];
    kubectl(&[&debug[..], &RESOLVE].concat()).await?;
    let has_ended = |container: &serde_json::Value| container["state"]["terminated"].is_object();
    eventually("the ephemeral container has ended", async || {
        let pod = namespace.pod(name).await?;
        Ok(pod["status"]["ephemeralContainerStatuses"]
            .as_array()
            .and_then(|all| all.iter().find(|one| has_ended(one)).map(drop)))
    })
    .await?;
    assert_resolves(namespace, name, "later").await
}

/// Kubernetes refuses pods that violate `restricted`, and warns about pod templates, so the response must
/// have no warning.
pub(crate) async fn sidecars_and_init_containers_of_a_restricted_pod_resolve_names(
    context: Context,
) -> Result<(), Failure> {
    let labels = json!({
        INJECT_LABEL: INJECT_ENABLED,
        "pod-security.kubernetes.io/enforce": "restricted",
        "pod-security.kubernetes.io/warn": "restricted",
    });
    let namespace = context.namespace_with(labels, json!({})).await?;
    let mut sidecar = container("sidecar", Libc::Glibc, &RESOLVE_AND_SLEEP);
    sidecar["restartPolicy"] = json!("Always");
    let mut pod = resolving_pod("restricted");
    pod["spec"]["initContainers"] = json!([sidecar, container("init", Libc::Glibc, &RESOLVE)]);
    let created = namespace.apply(pod).await?;
    assert_eq!(created.warnings, [""; 0]);
    assert_injected(&created.object);
    assert_eq!(container_names(&created.object), [CONTAINER_NAME, "sidecar", "init", "client"]);
    namespace.wait_until_ready("restricted").await?;
    for container in ["sidecar", "init", "client"] {
        assert_resolves(&namespace, "restricted", container).await?;
    }
    let pod = namespace.pod("restricted").await?;
    let status = container_status(&pod, CONTAINER_NAME);
    assert_eq!(status.map(|status| &status["restartCount"]), Some(&json!(0)), "{status:?}");
    Ok(())
}

pub(crate) async fn an_invalid_annotation_is_reported_and_its_default_used(
    context: Context,
) -> Result<(), Failure> {
    let labels = json!({ INJECT_LABEL: INJECT_ENABLED });
    let annotations = json!({ "podlocal-dns.io/serve-stale": "2h" });
    let namespace = context.namespace_with(labels, annotations).await?;
    let mut pod = resolving_pod("tuned");
    pod["metadata"]["annotations"] =
        json!({ "podlocal-dns.io/ndots": "many", "podlocal-dns.io/cache-size": "8Mi" });
    pod["metadata"]["ownerReferences"] = controlled(&namespace, "tuned").await?;
    // The webhook learns a namespace's annotations from a watch, a moment after the namespace was created.
    eventually("the webhook knows the annotation of the namespace", async || {
        let shown = namespace.apply_with(pod.clone(), "dryRun=All").await?.object;
        Ok((variable(&shown, "PODLOCAL_SERVE_STALE") == Some("2h")).then_some(()))
    })
    .await?;

    let created = namespace.apply(pod).await?;
    let error = "annotation podlocal-dns.io/ndots: invalid value \"many\": expected a whole number";
    assert_eq!(created.warnings, [format!("podlocal-dns: ignored {error}")]);
    let status = &created.object["metadata"]["annotations"][STATUS_ANNOTATION];
    assert_eq!(*status, format!("injected; ignored: {error}"));
    assert_eq!(variable(&created.object, "PODLOCAL_CACHE_SIZE"), Some("8Mi"));
    assert_eq!(variable(&created.object, "PODLOCAL_SERVE_STALE"), Some("2h"));
    let options = &created.object["spec"]["dnsConfig"]["options"];
    assert_eq!(*options, json!([{ "name": "ndots", "value": "2" }]));
    eventually("an Event names the invalid annotation", async || {
        let notes = event_notes(&namespace, SETTINGS_IGNORED).await?;
        Ok(notes.iter().any(|note| note.contains("ignored: ndots;")).then_some(()))
    })
    .await?;
    namespace
        .wait_until_ready("tuned")
        .await
        .with_context(|| format!("starting a pod that resolves {NAMES:?}"))?;
    assert_resolves(&namespace, "tuned", "client").await
}

/// The Event of a pod that is created afterwards proves that an Event of the dry run would exist by then.
pub(crate) async fn a_dry_run_returns_the_injected_pod_and_leaves_no_trace(
    context: Context,
) -> Result<(), Failure> {
    let namespace = &context.namespace;
    let tuned = async |name: &str, setting: &str| {
        let mut pod = resolving_pod(name);
        pod["metadata"]["annotations"] = json!({ format!("podlocal-dns.io/{setting}"): "nonsense" });
        pod["metadata"]["ownerReferences"] = controlled(namespace, name).await?;
        // No scheduler places it on a node, because only its admission is tested.
        pod["spec"]["schedulerName"] = json!("nobody");
        Ok::<_, Failure>(pod)
    };
    let shown = namespace.apply_with(tuned("shown", "ndots").await?, "dryRun=All").await?;
    assert_injected(&shown.object);
    assert!(
        shown.warnings.iter().any(|warning| warning.contains("podlocal-dns.io/ndots")),
        "{:?}",
        shown.warnings
    );
    namespace.apply(tuned("stored", "cache-size").await?).await?;
    let notes = eventually("the Event of the pod that was stored", async || {
        let notes = event_notes(namespace, SETTINGS_IGNORED).await?;
        Ok((!notes.is_empty()).then_some(notes))
    })
    .await?;
    assert!(notes.len() == 1 && notes[0].contains("ignored: cache-size;"), "{notes:?}");
    let pods = namespace.pods("").await?;
    assert_eq!(pods.iter().map(name_of).collect::<Vec<_>>(), ["stored"]);
    Ok(())
}
