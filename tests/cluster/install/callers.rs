//! With `--client-ca-file` the webhook answers only the API server, which presents a client certificate.

use podlocal_harness::cluster::pods::is_ready;
use podlocal_harness::cluster::product::{
    self, WEBHOOK, wait_for_webhook_rollout, wait_until_webhook_injects,
};
use podlocal_harness::cluster::{kubectl, on_node};
use podlocal_harness::failure::Failure;
use serde_json::{Value, json};

use crate::runner::Context;

/// The name in the client certificate of the test cluster's API server (.ci/cluster/certificates.sh). Any
/// other client of that CA, an administrator for example, is refused.
const API_SERVER: &str = "kube-apiserver-webhook-client";

/// Calls the webhook without a client certificate. It uses openssl, because the TLS of busybox is not
/// sufficient.
const CALL: &str = "openssl s_client -connect $1:8443 -quiet </dev/null 2>&1 | tail -n 5; true";

pub(crate) async fn with_a_client_ca_the_webhook_answers_only_the_api_server(
    context: Context,
) -> Result<(), Failure> {
    let cluster = &context.cluster;
    assert!(!call(&context).await?.contains("certificate required"), "it asks for no certificate yet");
    let arguments = ["--client-ca-file=/clients/ca.crt", &format!("--client-allowed-names={API_SERVER}")];
    let mut patch: Vec<Value> = arguments
        .iter()
        .map(|argument| json!({ "op": "add", "path": "/spec/template/spec/containers/0/args/-", "value": argument }))
        .collect();
    let volume = json!({ "name": "clients", "configMap": { "name": "kube-root-ca.crt" } });
    patch.push(json!({ "op": "add", "path": "/spec/template/spec/volumes/-", "value": volume }));
    let mount = json!({ "name": "clients", "mountPath": "/clients", "readOnly": true });
    patch.push(
        json!({ "op": "add", "path": "/spec/template/spec/containers/0/volumeMounts/-", "value": mount }),
    );
    let patch = Value::from(patch).to_string();
    kubectl(&["-n", product::NAMESPACE, "patch", "deployment", WEBHOOK, "--type=json", "-p", &patch]).await?;
    wait_for_webhook_rollout(cluster).await?;
    wait_until_webhook_injects(cluster).await?;
    let refused = call(&context).await?;
    assert!(refused.contains("certificate required"), "{refused}");

    kubectl(&["-n", product::NAMESPACE, "rollout", "undo", &format!("deployment/{WEBHOOK}")]).await?;
    wait_for_webhook_rollout(cluster).await?;
    product::install(cluster).await
}

/// The reaction of the webhook to a client without a certificate.
async fn call(context: &Context) -> Result<String, Failure> {
    let label = format!("app.kubernetes.io/name={WEBHOOK}");
    let pods = product::namespace(&context.cluster).pods(&label).await?;
    let is_running = |pod: &&Value| is_ready(pod) && pod["metadata"]["deletionTimestamp"].is_null();
    let Some(pod) = pods.iter().find(is_running) else {
        return Err(Failure::new("no pod of the webhook is ready"));
    };
    let address = pod["status"]["podIP"].as_str().unwrap_or_default();
    let called = on_node(&["sh", "-c", CALL, "sh", address]).await;
    called.unwrap_or_else(|| Err(Failure::new("no access to the node")))
}
