//! Pods that are not injected, and pods that opt in with their own label.

use podlocal_harness::cluster::coredns::CoreDns;
use podlocal_harness::cluster::namespace::Namespace;
use podlocal_harness::cluster::pods::phase;
use podlocal_harness::cluster::{Cluster, eventually, name_of, product};
use podlocal_harness::failure::Failure;
use podlocal_settings::names::{INJECT_DISABLED, INJECT_ENABLED, INJECT_LABEL};
use serde_json::{Value, json};

use super::{
    assert_left_alone, assert_resolves, controlled, event_notes, resolving_pod, run_injected, variable,
};
use crate::runner::Context;

/// | pod | resolves through | its controller gets an Event |
/// |---|---|---|
/// | opted out | cluster DNS | no, because it was requested |
/// | dnsPolicy `None` | the servers of its dnsConfig | yes |
/// | dnsPolicy `Default` | its node's DNS | yes |
/// | hostNetwork | its node's DNS | no, the webhook is not even called |
pub(crate) async fn pods_that_are_not_injected_run_unchanged_and_get_an_event(
    context: Context,
) -> Result<(), Failure> {
    let namespace = &context.namespace;
    let mut pods = ["opted-out", "policy-none", "policy-default", "host-network"].map(resolving_pod);
    pods[0]["metadata"]["labels"] = json!({ INJECT_LABEL: INJECT_DISABLED });
    pods[1]["spec"]["dnsPolicy"] = json!("None");
    pods[1]["spec"]["dnsConfig"] = own_dns(&context.cluster, "svc.cluster.local").await?;
    pods[2]["spec"]["dnsPolicy"] = json!("Default");
    pods[3]["spec"]["hostNetwork"] = json!(true);
    for pod in &mut pods {
        pod["metadata"]["ownerReferences"] = controlled(namespace, name_of(pod)).await?;
        let created = namespace.apply(pod.clone()).await?;
        assert_left_alone(&created.object);
        let is_told = pod["spec"]["dnsPolicy"].is_string();
        assert_eq!(!created.warnings.is_empty(), is_told, "{}: {:?}", name_of(pod), created.warnings);
    }
    for pod in ["opted-out", "policy-none"] {
        assert_resolves(namespace, pod, "client").await?;
    }
    for pod in ["policy-default", "host-network"] {
        namespace.wait_for(pod, "running", |pod| phase(pod) == "Running").await?;
    }
    let notes = eventually("an Event for each pod that was to be injected", async || {
        let notes = event_notes(namespace, "PodLocalDNSNotInjected").await?;
        Ok((notes.len() >= 2).then_some(notes))
    })
    .await?;
    let says = |reason: &str| notes.iter().filter(|note| note.contains(reason)).count();
    let found = (notes.len(), says("dnsPolicy is None"), says("dnsPolicy is Default"));
    assert_eq!(found, (2, 1, 1), "{notes:?}");
    Ok(())
}

pub(crate) async fn a_pod_label_opts_in_in_any_namespace(context: Context) -> Result<(), Failure> {
    let namespace = context.namespace_with(json!({}), json!({})).await?;
    let unlabelled = namespace.apply_with(resolving_pod("unlabelled"), "dryRun=All").await?;
    assert_left_alone(&unlabelled.object);

    let labels = json!({ INJECT_LABEL: INJECT_ENABLED });
    let mut labelled = resolving_pod("labelled");
    labelled["metadata"]["labels"] = labels.clone();
    run_injected(&namespace, labelled).await?;

    // A pod with its own servers: the sidecar asks those, and the search list stays the same.
    let mut own = resolving_pod("own-servers");
    own["metadata"]["labels"] = labels;
    own["spec"]["dnsPolicy"] = json!("None");
    own["spec"]["dnsConfig"] = own_dns(&context.cluster, "svc.cluster.local").await?;
    let servers = own["spec"]["dnsConfig"]["nameservers"].clone();
    let pod = run_injected(&namespace, own).await?;
    assert_eq!(variable(&pod, "PODLOCAL_UPSTREAM"), servers[0].as_str());
    assert_eq!(pod["spec"]["dnsConfig"]["searches"], json!(["svc.cluster.local"]));
    Ok(())
}

/// The cluster must be able to start without the webhook, and the webhook must be able to start while no
/// webhook runs.
pub(crate) async fn no_label_injects_pods_of_the_system_or_of_the_webhook(
    context: Context,
) -> Result<(), Failure> {
    for name in ["kube-system", product::NAMESPACE] {
        let namespace = Namespace { cluster: context.cluster.clone(), name: name.to_owned() };
        let mut labelled = resolving_pod("labelled");
        labelled["metadata"]["labels"] = json!({ INJECT_LABEL: INJECT_ENABLED });
        assert_left_alone(&namespace.apply_with(labelled, "dryRun=All").await?.object);
    }
    Ok(())
}

/// A `dnsConfig` whose nameserver is cluster DNS.
async fn own_dns(cluster: &Cluster, search: &str) -> Result<Value, Failure> {
    let address = CoreDns::find(cluster).await?.address;
    // Without `ndots`, musl does not use the search list for a name with a dot.
    let options = [json!({ "name": "ndots", "value": "2" })];
    Ok(json!({ "nameservers": [address], "searches": [search], "options": options }))
}
