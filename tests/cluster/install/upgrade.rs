//! Upgrade to another version and rollback while pods are created.

use std::fs;

use podlocal_harness::cluster::client::Libc;
use podlocal_harness::cluster::load::{self, Load};
use podlocal_harness::cluster::product::{self, WEBHOOK, dry_run, wait_for_webhook_rollout};
use podlocal_harness::cluster::{Cluster, eventually, kubectl};
use podlocal_harness::failure::{Failure, WithContext as _};
use podlocal_harness::repository::root;
use podlocal_harness::time::now;

use crate::creations::Creations;
use crate::runner::Context;

/// The tag of the new version. `just cluster load` loads the same programs under this tag.
const TAG: &str = "upgrade";

pub(crate) async fn upgrade_and_rollback_inject_every_pod(context: Context) -> Result<(), Failure> {
    let cluster = &context.cluster;
    let load =
        Load::start(&context.namespace, load::pod(Libc::Glibc, &["kubernetes.default", "example.com"]))
            .await?;
    let installed = Images::read(cluster).await?;
    let begin = now();
    let creations = Creations::start(&context.namespace);

    let folder = write_kustomization(&installed)?;
    product::apply(&folder).await?;
    wait_for_webhook_rollout(cluster).await?;
    let upgraded = Images {
        webhook: format!("{}:{TAG}", name(&installed.webhook)),
        sidecar: format!("{}:{TAG}", name(&installed.sidecar)),
    };
    assert_ne!(upgraded, installed);
    upgraded.wait_until_used(cluster).await?;

    let deployment = format!("deployment/{WEBHOOK}");
    kubectl(&["-n", product::NAMESPACE, "rollout", "undo", &deployment]).await?;
    wait_for_webhook_rollout(cluster).await?;
    assert_eq!(webhook_image(cluster).await?, installed.webhook);

    creations.finish("upgrade and rollback").await?;
    let summary = load.between(begin, now()).await?;
    eprintln!("upgrade and rollback: {summary}");
    assert_eq!(summary.failed, 0, "{summary}");
    product::install(cluster).await
}

/// The images of the webhook and the sidecar.
#[derive(Debug, PartialEq)]
struct Images {
    webhook: String,
    sidecar: String,
}

impl Images {
    async fn read(cluster: &Cluster) -> Result<Self, Failure> {
        let pod = dry_run(cluster).await?;
        let sidecar = product::sidecar(&pod).and_then(|sidecar| sidecar["image"].as_str());
        Ok(Self { webhook: webhook_image(cluster).await?, sidecar: sidecar.unwrap_or_default().to_owned() })
    }

    /// Waits until new pods have this sidecar. A replica that shuts down still answers for some seconds.
    async fn wait_until_used(&self, cluster: &Cluster) -> Result<(), Failure> {
        let wait_until_used = async || Ok((Self::read(cluster).await? == *self).then_some(()));
        eventually(&format!("{self:?} are in use"), wait_until_used).await
    }
}

async fn webhook_image(cluster: &Cluster) -> Result<String, Failure> {
    let deployments = cluster.api("apps/v1", "Deployment", Some(product::NAMESPACE));
    let deployment = cluster.get(&deployments, WEBHOOK).await?;
    let image = deployment["spec"]["template"]["spec"]["containers"][0]["image"].as_str();
    Ok(image.unwrap_or_default().to_owned())
}

/// Writes an operator's kustomization, as in docs/install.md, with the other version.
fn write_kustomization(images: &Images) -> Result<String, Failure> {
    let folder = root().join("target/cluster-tests/upgrade");
    let writing = || format!("writing {}", folder.display());
    fs::create_dir_all(&folder).with_context(writing)?;
    let (webhook, sidecar) = (name(&images.webhook), name(&images.sidecar));
    let text = format!(
        "apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
resources: [../../../manifests/base]
images:
- name: {webhook}
  newTag: {TAG}
patches:
- target: {{kind: Deployment, name: {WEBHOOK}}}
  patch: |
    - op: replace
      path: /spec/template/spec/containers/0/args/1
      value: --sidecar-image={sidecar}:{TAG}
"
    );
    fs::write(folder.join("kustomization.yaml"), text).with_context(writing)?;
    Ok(folder.display().to_string())
}

fn name(image: &str) -> &str {
    image.rsplit_once(':').map_or(image, |(name, _)| name)
}
