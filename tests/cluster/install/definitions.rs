//! CustomResourceDefinitions of other projects, which the overlays need, on a cluster that lacks them.

use podlocal_harness::cluster::{Cluster, eventually, kubectl, object};
use podlocal_harness::failure::{Failure, WithContext as _};
use serde_json::{Value, json};

/// The CustomResourceDefinitions of one project.
pub(super) struct Definitions {
    /// The definitions that the test has created and will remove.
    created: Vec<String>,
}

impl Definitions {
    /// Creates those of `kinds` (singular, as in `PodMonitor`) that the cluster lacks. Their schemas accept
    /// any object.
    pub(super) async fn create(
        cluster: &Cluster,
        group: &str,
        version: &str,
        kinds: &[&str],
    ) -> Result<Self, Failure> {
        let api = cluster.api("apiextensions.k8s.io/v1", "CustomResourceDefinition", None);
        let mut created = Vec::new();
        for kind in kinds {
            let definition = definition(group, version, kind);
            let name = definition["metadata"]["name"].as_str().unwrap_or_default().to_owned();
            if api.get_opt(&name).await.with_context(|| format!("looking for {name}"))?.is_some() {
                continue;
            }
            cluster.create(&definition, "").await?;
            eventually(&format!("the API server serves {name}"), async || {
                let definition = cluster.get(&api, &name).await?;
                let conditions = definition["status"]["conditions"].as_array();
                let mut conditions = conditions.into_iter().flatten();
                let is_served = conditions
                    .any(|condition| condition["type"] == "Established" && condition["status"] == "True");
                Ok(is_served.then_some(()))
            })
            .await?;
            created.push(name);
        }
        Ok(Self { created })
    }

    /// Removes the definitions that [`Self::create`] has created, with all objects of these kinds.
    pub(super) async fn remove(&self) -> Result<(), Failure> {
        for name in &self.created {
            kubectl(&["delete", "customresourcedefinition", name, "--wait=true"]).await?;
        }
        Ok(())
    }
}

fn definition(group: &str, version: &str, kind: &str) -> Value {
    let singular = kind.to_lowercase();
    let plural = format!("{singular}s");
    let schema = json!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true });
    let spec = json!({
        "group": group, "scope": "Namespaced",
        "names": { "kind": kind, "singular": singular, "plural": plural },
        "versions": [{ "name": version, "served": true, "storage": true, "schema": { "openAPIV3Schema": schema } }],
    });
    object("apiextensions.k8s.io/v1", "CustomResourceDefinition", &format!("{plural}.{group}"), &spec)
}
