//! The static programs of both images, each in an empty, read-only root as uid 65532 without capabilities.
//!
//! Not part of `cargo test`, whose programs are dynamic: `.ci/run images` builds static ones, as the Dockerfiles
//! do, and names them in `SIDECAR_UNDER_TEST` and `WEBHOOK_UNDER_TEST`.

use std::process::ExitCode;

use podlocal_settings::names;
use podlocal_tests::failure::Failure;
use podlocal_tests::pod::{Exit, Status};
use podlocal_tests::testbed::{self, Testbed};
use podlocal_tests::tests;
use serde_json::{Value, json};

fn main() -> ExitCode {
    testbed::run(tests![
        the_sidecars_program_serves_a_pod_from_an_empty_root,
        the_webhooks_program_serves_from_an_empty_root_and_drains,
    ])
}

fn pod(container: &Value) -> Value {
    json!({ "metadata": { "name": "app" }, "spec": { "restartPolicy": "Never", "containers": [container] } })
}

async fn the_sidecars_program_serves_a_pod_from_an_empty_root(testbed: Testbed) -> Result<(), Failure> {
    let cluster = testbed.cluster_with_webhook().await?;
    let words =
        ["lookup", "kubernetes.default", "www.example.com", "--expect-missing", "missing.example.com"];
    let app = json!({ "name": "app", "image": "example/app:1", "command": words });
    let admitted = cluster.admit(pod(&app), "default").await?;
    let spec = cluster.spec(admitted, "default").with_empty_root(names::CONTAINER_NAME);
    let status = cluster.run(spec)?.finished().await?;
    // The gate, `await`, has run in the same root: without it the application would not have been started.
    for container in ["app", names::CONTAINER_NAME] {
        assert_eq!(status.exit(container), Some(Exit::Code(0)), "{container}\n{}", status.describe());
    }
    Ok(())
}

async fn the_webhooks_program_serves_from_an_empty_root_and_drains(testbed: Testbed) -> Result<(), Failure> {
    let cluster = testbed.cluster().await?;
    let webhook = json!({
        "name": "webhook",
        "image": "example/webhook:1",
        "command": ["/podlocal-webhook"],
        "args": [
            "serve", "--listen", "127.0.0.1:8443", "--admin-listen", "127.0.0.1:8080",
            "--sidecar-image", "example/sidecar:1", "--cluster-dns", cluster.names.dns.to_string(),
        ],
        "securityContext": {
            "runAsNonRoot": true, "runAsUser": 65532, "runAsGroup": 65532, "readOnlyRootFilesystem": true,
            "allowPrivilegeEscalation": false, "capabilities": { "drop": ["ALL"] },
        },
    });
    let admitted = cluster.admit(pod(&webhook), "default").await?;
    let running = cluster.run(cluster.spec(admitted, "default").with_empty_root("webhook"))?;
    let serves = |status: &Status| {
        status.container("webhook").is_some_and(|webhook| webhook.error.contains("serving reviews"))
    };
    running.wait_for("the webhook to serve", serves).await?;
    running.delete().await?;
    let status = running.finished().await?;
    assert_eq!(status.exit("webhook"), Some(Exit::Code(0)), "{}", status.describe());
    Ok(())
}
