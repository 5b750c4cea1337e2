//! A separate shared tier for one test, which the test may break or attack while other tests use the
//! installation.

use serde_json::{Value, json};

use super::namespace::Namespace;
use super::{kubectl, product};
use crate::failure::{Failure, WithContext as _};

/// The name of the tier's objects.
pub const NAME: &str = "podlocal-dns-shared";

/// The label selector of its pods.
pub const LABEL: &str = "app.kubernetes.io/name=podlocal-dns-shared";

/// Installs [`product::SHARED_TIER`] in a namespace, without its cluster-scoped objects, with this number of
/// replicas and optionally with an environment variable. Waits until every replica is ready, and returns the
/// address of the Service.
pub async fn start(
    namespace: &Namespace,
    replicas: u32,
    variable: Option<(String, String)>,
) -> Result<String, Failure> {
    let objects = kubectl(&["create", "-k", product::SHARED_TIER, "--dry-run=client", "-o", "json"]).await?;
    let objects = serde_json::Deserializer::from_str(&objects).into_iter::<Value>();
    for object in objects {
        let object = object.with_context(|| format!("reading {}", product::SHARED_TIER))?;
        let items = object["items"].as_array().cloned().unwrap_or_else(|| vec![object]);
        for mut item in items {
            match item["kind"].as_str() {
                Some("PriorityClass") => continue,
                Some("Deployment") => {
                    item["spec"]["replicas"] = json!(replicas);
                    let pod = &mut item["spec"]["template"]["spec"];
                    if let Some(pod) = pod.as_object_mut() {
                        pod.remove("priorityClassName");
                    }
                    let variables = pod["containers"][0]["env"].as_array_mut();
                    if let (Some(variables), Some((name, value))) = (variables, &variable) {
                        variables.push(json!({ "name": name, "value": value }));
                    }
                }
                _ => {}
            }
            namespace.apply(item).await?;
        }
    }
    namespace.wait_for_rollout(&format!("deployment/{NAME}")).await?;
    let service = namespace.get("v1", "Service", NAME).await?;
    Ok(service["spec"]["clusterIP"].as_str().unwrap_or_default().to_owned())
}
