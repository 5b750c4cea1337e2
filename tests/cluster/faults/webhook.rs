//! The webhook is down, restarts, or gets another certificate, while pods are created.

use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use podlocal_harness::cluster::client::{Libc, Lookup, SLEEP, pod};
use podlocal_harness::cluster::load::{self, Load};
use podlocal_harness::cluster::namespace::Namespace;
use podlocal_harness::cluster::product::{self, WEBHOOK, dry_run, wait_for_webhook_rollout};
use podlocal_harness::cluster::{Cluster, eventually, kubectl};
use podlocal_harness::failure::{Failure, WithContext as _};
use podlocal_harness::time::now;
use rcgen::{CertificateParams, Issuer, KeyPair};
use serde_json::{Value, json};
use tokio::sync::Mutex;
use tokio::time::sleep;

use super::{NAMES, assert_none_failed, with_short_cache_ttl};
use crate::creations::Creations;
use crate::runner::Context;

/// The Secret in which the replicas share the certificate.
const SECRET: &str = "podlocal-dns-webhook-certificate";

/// The time-out of the API server for the webhook (`timeoutSeconds`), plus a reserve.
const LONGEST_CREATION_MS: f64 = 6_000.0;

/// Two tests restart the webhook. The lock lets each test observe only its own restart.
static RESTARTS: Mutex<()> = Mutex::const_new(());

/// Removes every replica of the webhook: new pods start without injection and without a long delay, and
/// running pods are not affected.
pub(crate) async fn pods_start_without_it(namespace: &Namespace, load: &Load) -> Result<(), Failure> {
    let begin = now();
    let deployment = format!("deployment/{WEBHOOK}");
    kubectl(&["-n", product::NAMESPACE, "scale", &deployment, "--replicas=0"]).await?;
    let label = format!("app.kubernetes.io/name={WEBHOOK}");
    kubectl(&["-n", product::NAMESPACE, "delete", "pod", "-l", &label, "--grace-period=0", "--force"])
        .await?;
    eventually("no webhook answers", async || {
        // A replica that is being killed still answers, and the others may be gone.
        for _ in 0..5 {
            if product::sidecar(&dry_run(&namespace.cluster).await?).is_some() {
                return Ok(None);
            }
        }
        Ok(Some(()))
    })
    .await?;
    let mut slowest_ms: f64 = 0.0;
    for number in 0..3 {
        let creating = now();
        let pod = namespace.apply(pod(&format!("without-{number}"), Libc::Glibc, &SLEEP)).await?.object;
        slowest_ms = slowest_ms.max((now() - creating) * 1e3);
        assert_eq!(product::sidecar(&pod), None, "the webhook is still there");
    }
    namespace.wait_until_ready("without-0").await?;
    let lookups = namespace.look_up("without-0", &NAMES).await?;
    assert!(!lookups.iter().any(Lookup::is_failure), "{lookups:?}");
    eprintln!("webhook down: the slowest of 3 pods was created within {slowest_ms:.0} ms");
    assert!(slowest_ms < LONGEST_CREATION_MS, "{slowest_ms} ms");
    assert_none_failed("webhook gone", load.between(begin, now()).await?);
    Ok(())
}

pub(crate) async fn every_pod_is_injected_while_the_webhook_restarts(
    context: Context,
) -> Result<(), Failure> {
    let load = Load::start(&context.namespace, with_short_cache_ttl(load::pod(Libc::Glibc, &NAMES))).await?;
    let _only = RESTARTS.lock().await;
    let begin = now();
    let creations = Creations::start(&context.namespace);
    restart(&context.cluster).await?;
    creations.finish("webhook restarted").await?;
    assert_none_failed("webhook restarted", load.between(begin, now()).await?);
    Ok(())
}

pub(crate) async fn every_pod_is_injected_while_the_certificate_is_renewed(
    context: Context,
) -> Result<(), Failure> {
    let cluster = &context.cluster;
    let load = Load::start(&context.namespace, with_short_cache_ttl(load::pod(Libc::Glibc, &NAMES))).await?;
    let _only = RESTARTS.lock().await;
    let begin = now();
    let creations = Creations::start(&context.namespace);
    let due = replace_certificate(cluster).await?;
    // A replica checks the certificate at startup, and then once per minute.
    restart(cluster).await?;
    eventually("the certificate is renewed", async || Ok((certificate(cluster).await? != due).then_some(())))
        .await?;
    creations.finish("certificate renewed").await?;
    assert_none_failed("certificate renewed", load.between(begin, now()).await?);
    Ok(())
}

/// Replaces both replicas, and waits until the old ones have ended.
async fn restart(cluster: &Cluster) -> Result<(), Failure> {
    kubectl(&["-n", product::NAMESPACE, "rollout", "restart", &format!("deployment/{WEBHOOK}")]).await?;
    wait_for_webhook_rollout(cluster).await?;
    // The old replicas still answer reviews for this time (`--shutdown-delay`).
    sleep(Duration::from_secs(6)).await;
    Ok(())
}

/// Replaces the certificate in the Secret by one that the webhook's own CA has signed and that expires within
/// a week, so that the webhook renews it. Returns it as stored in the Secret.
async fn replace_certificate(cluster: &Cluster) -> Result<Value, Failure> {
    let signing = "signing a certificate that ends soon";
    let secrets = cluster.api("v1", "Secret", Some(product::NAMESPACE));
    let data = cluster.get(&secrets, SECRET).await?["data"].clone();
    let part = |name: &str| {
        let bytes = BASE64_STANDARD.decode(data[name].as_str().unwrap_or_default()).with_context(signing)?;
        String::from_utf8(bytes).with_context(signing)
    };
    let key = KeyPair::from_pem(&part("ca.key")?).with_context(signing)?;
    let authority = Issuer::from_ca_cert_pem(&part("ca.crt")?, key).with_context(signing)?;
    let name = format!("{WEBHOOK}.{}.svc", product::NAMESPACE);
    let mut parameters = CertificateParams::new([name]).with_context(signing)?;
    let day = Duration::from_hours(24);
    parameters.not_before = (SystemTime::now() - day).into();
    parameters.not_after = (SystemTime::now() + 7 * day).into();
    let key = KeyPair::generate().with_context(signing)?;
    let certificate = parameters.signed_by(&key, &authority).with_context(signing)?.pem();
    let certificate = BASE64_STANDARD.encode(certificate);
    let key = BASE64_STANDARD.encode(key.serialize_pem());
    let patch = json!({ "data": { "tls.crt": certificate, "tls.key": key } });
    cluster.patch(&secrets, SECRET, &patch).await?;
    Ok(json!(certificate))
}

async fn certificate(cluster: &Cluster) -> Result<Value, Failure> {
    let secrets = cluster.api("v1", "Secret", Some(product::NAMESPACE));
    Ok(cluster.get(&secrets, SECRET).await?["data"]["tls.crt"].clone())
}
