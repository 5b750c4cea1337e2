//! The Helm chart: it creates the objects of `manifests/base`, and can be installed, upgraded, rolled back
//! and uninstalled.

use std::collections::BTreeMap;
use std::fs;

use podlocal_harness::cluster::product::{
    self, WEBHOOK, dry_run, sidecar, variable, wait_until_webhook_injects,
};
use podlocal_harness::cluster::{eventually, helm, kubectl, kubectl_with_input};
use podlocal_harness::failure::{Failure, WithContext as _};
use podlocal_settings::table::CACHE_SIZE;
use serde_json::Value;
use tempfile::TempDir;

use crate::runner::Context;

const CHART: &str = "charts/podlocal-dns";
const RELEASE: &str = "podlocal-dns";

/// The Kubernetes versions for which the chart is rendered: the oldest supported one, and later ones.
const VERSIONS: [&str; 4] = ["1.29.0", "1.31.4", "1.34.1-eks-1", "1.37.2"];

pub(crate) async fn the_chart_has_the_objects_of_the_base(_: Context) -> Result<(), Failure> {
    helm(&["lint", "--strict", CHART]).await?;
    for (values, folder) in [
        (&[][..], product::BASE),
        (&["--set", "sharedTier.enabled=false"], "manifests/overlays/without-shared-tier"),
        (&["--set", "sharedTier.autoscaling=true"], "manifests/overlays/shared-autoscaling"),
    ] {
        let mut expected = objects(&kubectl(&["kustomize", folder]).await?).await?;
        // Helm creates the namespace itself, before it stores the release there.
        expected.remove("Namespace podlocal-dns");
        for version in VERSIONS {
            let words = ["template", RELEASE, CHART, "-n", product::NAMESPACE, "--kube-version", version];
            let rendered = objects(&helm(&[&words, values].concat()).await?).await?;
            assert_eq!(rendered.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>(), "{version}");
            for (name, object) in &expected {
                assert_eq!(rendered[name], *object, "{version}: {name}");
            }
        }
    }
    let old = ["template", RELEASE, CHART, "--kube-version", "1.28.9"];
    assert!(helm(&old).await.is_err_and(|failure| failure.to_string().contains("kubeVersion")));
    Ok(())
}

pub(crate) async fn invalid_values_are_refused_with_their_names(_: Context) -> Result<(), Failure> {
    let words =
        ["template", RELEASE, CHART, "--set", "webhook.replicas=many", "--set", "sharedTeer.enabled=true"];
    let Err(failure) = helm(&words).await else { panic!("they are accepted") };
    let text = failure.to_string();
    assert!(text.contains("replicas") && text.contains("sharedTeer"), "{text}");
    Ok(())
}

pub(crate) async fn a_release_is_installed_upgraded_rolled_back_and_uninstalled(
    context: Context,
) -> Result<(), Failure> {
    let cluster = &context.cluster;
    product::remove(product::BASE).await?;
    let before = cluster.inventory().await?;

    // Packaged as for a registry: the archive contains the files to which the folder has links.
    let folder = TempDir::new().with_context("creating a folder")?;
    let path = folder.path().display().to_string();
    helm(&["package", CHART, "--destination", &path]).await?;
    let mut archives = fs::read_dir(&path).with_context(|| format!("listing {path}"))?.filter_map(Result::ok);
    let archive = archives.next().map(|archive| archive.path().display().to_string()).unwrap_or_default();
    let in_namespace = ["--namespace", product::NAMESPACE];
    let waits = ["--wait", "--timeout", "120s"];
    helm(&[&["install", RELEASE, &archive, "--create-namespace"][..], &in_namespace, &waits].concat())
        .await?;
    wait_until_webhook_injects(cluster).await?;

    let values = ["--set", "webhook.replicas=1", "--set", "settings.cache-size=8Mi"];
    helm(&[&["upgrade", RELEASE, &archive][..], &values, &in_namespace, &waits].concat()).await?;
    wait_for_cache_size_of_new_pods(&context, Some("8Mi")).await?;
    let deployment = product::namespace(cluster).get("apps/v1", "Deployment", WEBHOOK).await?;
    assert_eq!(deployment["spec"]["replicas"], 1);

    helm(&[&["rollback", RELEASE, "1"][..], &in_namespace, &waits].concat()).await?;
    wait_for_cache_size_of_new_pods(&context, None).await?;
    wait_until_webhook_injects(cluster).await?;

    helm(&[&["uninstall", RELEASE, "--wait"][..], &in_namespace].concat()).await?;
    kubectl(&["delete", "namespace", product::NAMESPACE, "--wait=true"]).await?;
    let left: Vec<_> = cluster.inventory().await?.difference(&before).map(ToString::to_string).collect();
    assert!(left.is_empty(), "left behind: {left:?}");
    product::install(cluster).await
}

/// Waits until the sidecars of new pods have this cache size. A replica that shuts down still answers for
/// some seconds.
async fn wait_for_cache_size_of_new_pods(context: &Context, expected: Option<&str>) -> Result<(), Failure> {
    eventually(&format!("new pods have the cache size {expected:?}"), async || {
        let pod = dry_run(&context.cluster).await?;
        let size = sidecar(&pod).map(|sidecar| variable(sidecar, &CACHE_SIZE.variable()));
        Ok((size == Some(expected)).then_some(()))
    })
    .await
}

/// The objects of a stream of YAML documents, by kind and name.
async fn objects(yaml: &str) -> Result<BTreeMap<String, Value>, Failure> {
    // kubectl parses the YAML; a client-side dry run asks the API server only for the kinds.
    let json = kubectl_with_input(&["create", "--dry-run=client", "-o", "json", "-f", "-"], yaml).await?;
    let documents = serde_json::Deserializer::from_str(&json).into_iter::<Value>();
    let mut objects = BTreeMap::new();
    for document in documents {
        let document = document.with_context("reading what kubectl printed")?;
        for object in document["items"].as_array().cloned().unwrap_or_else(|| vec![document]) {
            let name = &object["metadata"]["name"];
            let kind = &object["kind"];
            objects.insert(
                format!("{} {}", kind.as_str().unwrap_or_default(), name.as_str().unwrap_or_default()),
                object,
            );
        }
    }
    Ok(objects)
}
