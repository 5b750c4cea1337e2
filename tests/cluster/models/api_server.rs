//! The in-memory API server of the webhook's tests gives the same answers as the real one. The cases:
//! replicas agree on one certificate, a CA is written into the webhook configuration, pods are listed in
//! pages, Services are watched.

#[path = "../../../webhook/tests/common/api_server.rs"]
mod model;

use std::pin::pin;

use futures_util::StreamExt as _;
use kube::api::{Api, DynamicObject, ListParams, Patch, PatchParams, PostParams, WatchEvent, WatchParams};
use podlocal_harness::cluster::Cluster;
use podlocal_harness::failure::{Failure, WithContext as _};
use serde_json::{Value, json};

use crate::runner::Context;

pub(crate) async fn the_webhooks_test_api_server_answers_as_the_real_one(
    context: Context,
) -> Result<(), Failure> {
    let namespace = &context.namespace.name;
    let configuration = configuration(namespace);
    let model = model::ApiServer::start().await;
    let path = format!("/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/{namespace}");
    model.put(&path, configuration.clone());
    context.namespace.apply_to_cluster(configuration).await?;

    let mut heard = Vec::new();
    for client in [model.client(), context.cluster.client.clone()] {
        let mut answers = Vec::new();
        let cluster = Cluster { client };
        agree_on_a_secret(&cluster, namespace, &mut answers).await?;
        write_the_ca(&cluster, namespace, &mut answers).await?;
        list_and_watch(&cluster, namespace, &mut answers).await?;
        heard.push(answers);
    }
    for (model, real) in heard[0].iter().zip(&heard[1]) {
        eprintln!("{real}");
        assert_eq!(model, real, "the model, and the real API server");
    }
    assert_eq!(heard[0].len(), heard[1].len());
    Ok(())
}

/// Creates a Secret, creates it again, replaces it, and replaces it after another client has replaced it.
async fn agree_on_a_secret(
    cluster: &Cluster,
    namespace: &str,
    answers: &mut Vec<String>,
) -> Result<(), Failure> {
    let secrets = cluster.api("v1", "Secret", Some(namespace));
    let create = PostParams::default();
    let secret = object(&json!({
        "apiVersion": "v1", "kind": "Secret", "type": "Opaque",
        "metadata": { "name": "certificate", "namespace": namespace }, "data": { "tls.crt": "QQ==" },
    }))?;
    let mut answer = |what: &str, answer: Result<DynamicObject, kube::Error>| -> Option<DynamicObject> {
        answers.push(format!("{what}: {}", described(&answer, |secret| secret.data["data"].to_string())));
        answer.ok()
    };
    answer("a Secret that is not there", secrets.get("certificate").await);
    let stored = answer("create a Secret", secrets.create(&create, &secret).await);
    answer("create it again", secrets.create(&create, &secret).await);
    let mut stored = stored.with_context("the Secret was not created")?;
    stored.data["data"]["tls.crt"] = json!("Qg==");
    answer("replace what was read", secrets.replace("certificate", &create, &stored).await);
    stored.data["data"]["tls.crt"] = json!("Qw==");
    answer("replace what was replaced meanwhile", secrets.replace("certificate", &create, &stored).await);
    answer(
        "replace one that is not there",
        secrets.replace("other", &create, &named(&stored, "other")).await,
    );
    Ok(())
}

/// Patches one of two webhooks; the list is merged by name.
async fn write_the_ca(cluster: &Cluster, name: &str, answers: &mut Vec<String>) -> Result<(), Failure> {
    let configurations = cluster.api("admissionregistration.k8s.io/v1", "MutatingWebhookConfiguration", None);
    let read = || format!("reading the configuration {name}");
    let version = configurations.get(name).await.with_context(read)?.metadata.resource_version;
    for what in ["patch what was read", "patch what was patched meanwhile"] {
        let patch = json!({
            "metadata": { "resourceVersion": version },
            "webhooks": [{ "name": "b.models.test", "clientConfig": { "caBundle": "QQ==" } }],
        });
        let patched = configurations.patch(name, &PatchParams::default(), &Patch::Strategic(patch)).await;
        answers.push(format!(
            "{what}: {}",
            described(&patched, |patched| {
                let webhooks = patched.data["webhooks"].as_array().into_iter().flatten();
                let shown = webhooks.map(|webhook| {
                    let field = |field: &str| webhook[field].to_string();
                    format!(
                        "{} {} {}",
                        field("name"),
                        webhook["clientConfig"]["caBundle"],
                        field("failurePolicy")
                    )
                });
                shown.collect::<Vec<_>>().join(", ")
            })
        ));
    }
    Ok(())
}

/// Lists all Services and labelled Services in pages; then watches the labelled ones while Services get the
/// label, change and lose it.
async fn list_and_watch(
    cluster: &Cluster,
    namespace: &str,
    answers: &mut Vec<String>,
) -> Result<(), Failure> {
    let services = cluster.api("v1", "Service", Some(namespace));
    for name in ["one", "three", "two"] {
        let service = object(&json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": { "name": name, "namespace": namespace, "labels": { "podlocal-dns.io/models": "true" } },
            "spec": { "ports": [{ "port": 53 }] },
        }))?;
        services
            .create(&PostParams::default(), &service)
            .await
            .with_context(|| format!("creating the Service {name}"))?;
    }
    let label = "podlocal-dns.io/models=true";
    for (what, parameters) in
        [("all", ListParams::default()), ("with a label", ListParams::default().labels(label))]
    {
        pages(&services, what, parameters.limit(2), answers).await?;
    }

    let listed = services.list(&ListParams::default()).await.with_context("listing Services")?;
    let version = listed.metadata.resource_version.unwrap_or_default();
    for labels in [
        json!({ "more": "true" }),
        json!({ "podlocal-dns.io/models": null }),
        json!({ "podlocal-dns.io/models": "true" }),
    ] {
        let patch = Patch::Merge(json!({ "metadata": { "labels": labels } }));
        services.patch("two", &PatchParams::default(), &patch).await.with_context("patching a Service")?;
    }
    let watched = services.watch(&WatchParams::default().labels(label), &version).await;
    let mut watched = pin!(watched.with_context("watching Services")?);
    for _ in 0..3 {
        let event = loop {
            match watched.next().await {
                Some(Ok(WatchEvent::Bookmark(_))) => {}
                event => break event,
            }
        };
        let name = |object: &DynamicObject| object.metadata.name.clone().unwrap_or_default();
        answers.push(match event {
            Some(Ok(WatchEvent::Added(object))) => format!("watch: added {}", name(&object)),
            Some(Ok(WatchEvent::Modified(object))) => format!("watch: modified {}", name(&object)),
            Some(Ok(WatchEvent::Deleted(object))) => format!("watch: deleted {}", name(&object)),
            other => format!("watch: {other:?}"),
        });
    }
    Ok(())
}

async fn pages(
    services: &Api<DynamicObject>,
    what: &str,
    mut parameters: ListParams,
    answers: &mut Vec<String>,
) -> Result<(), Failure> {
    loop {
        let page = services.list(&parameters).await.with_context(|| format!("listing Services, {what}"))?;
        let names: Vec<_> =
            page.items.iter().filter_map(|service| service.metadata.name.as_deref()).collect();
        let remaining = page.metadata.remaining_item_count;
        answers.push(format!("list {what}: {names:?}, {remaining:?} remain"));
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => parameters = parameters.continue_token(&token),
            None => return Ok(()),
        }
    }
}

/// A configuration with two webhooks that match no object.
fn configuration(name: &str) -> Value {
    let webhook = |webhook: &str| {
        json!({
            "name": webhook, "admissionReviewVersions": ["v1"], "sideEffects": "None", "failurePolicy": "Ignore",
            "clientConfig": { "service": { "name": "absent", "namespace": name, "path": "/mutate" } },
            "rules": [{ "apiGroups": ["models.test"], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["none"] }],
        })
    };
    json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingWebhookConfiguration",
        "metadata": { "name": name }, "webhooks": [webhook("a.models.test"), webhook("b.models.test")],
    })
}

fn described(
    answer: &Result<DynamicObject, kube::Error>,
    of_object: impl Fn(&DynamicObject) -> String,
) -> String {
    match answer {
        Ok(object) => of_object(object),
        Err(kube::Error::Api(status)) => format!("{} {}", status.code, status.reason),
        Err(error) => error.to_string(),
    }
}

fn object(value: &Value) -> Result<DynamicObject, Failure> {
    serde_json::from_value(value.clone()).with_context(|| format!("reading {value}"))
}

fn named(object: &DynamicObject, name: &str) -> DynamicObject {
    let mut object = object.clone();
    object.metadata.name = Some(name.to_owned());
    object.metadata.uid = None;
    object.metadata.resource_version = None;
    object
}
