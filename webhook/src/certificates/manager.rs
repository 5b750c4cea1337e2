//! Manages the certificate: stores it in a Secret that the replicas of the webhook mount, and its CA in the
//! webhook configuration.
//!
//! Several managers, as during a rolling update, agree through the optimistic concurrency of the API server:
//! the first writer wins, and the others use its certificate. The manifests create the Secret, empty, because
//! RBAC cannot restrict the verb `create` to one name, and a client that may create Secrets can obtain a
//! token of any ServiceAccount of the namespace. Failed steps are retried forever; meanwhile the replicas
//! keep their certificate.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use k8s_openapi::ByteString;
use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, Patch, PatchParams, PostParams};
use podlocal_telemetry::Latch;
use serde_json::json;

use super::identity::{Identity, MakeError, Step, Unusable, Usable};

/// How often a write conflict is retried immediately.
const MOST_ROUNDS: usize = 5;

/// The time between two comparisons with the state of the API server.
pub(crate) const INTERVAL: Duration = Duration::from_mins(1);

/// The first pause after a failure; it doubles up to the interval.
const FIRST_PAUSE: Duration = Duration::from_millis(500);

/// The time limit of one comparison.
const DEADLINE: Duration = Duration::from_secs(30);

/// Manages the certificate in a Secret and its CA in a webhook configuration.
#[derive(Clone)]
pub struct CertificateManager {
    /// The client, whose default namespace is the webhook's own.
    pub client: kube::Client,
    /// The name of the Secret, in the default namespace of the client.
    pub secret: String,
    /// The name of the MutatingWebhookConfiguration.
    pub configuration: String,
    /// The DNS names in the certificate.
    pub dns_names: Vec<String>,
    /// [`INTERVAL`], or less in tests.
    pub interval: Duration,
}

/// The prefix of the annotations that mark objects for cert-manager's cainjector
/// (`pkg/apis/certmanager/v1/types.go`).
const CAINJECTOR: &str = "cert-manager.io/inject-";

/// Why the certificate could not be managed.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum Error {
    #[error("cannot {what}: {source}")]
    Kube { what: &'static str, source: Box<kube::Error> },
    #[error("Secret {0} not found: apply the manifests again, which create it")]
    NoSecret(String),
    #[error("cannot create a certificate: {0}")]
    Make(#[from] MakeError),
    #[error("write conflict with another writer, {MOST_ROUNDS} times in a row")]
    NoAgreement,
    #[error("the API server did not answer within {DEADLINE:?}")]
    Deadline,
}

impl CertificateManager {
    /// Manages the certificate forever; drops `latch` once the webhook configuration trusts it.
    pub async fn run(self, latch: Latch) {
        let mut latch = Some(latch);
        let mut expires = None;
        // The CAs that the webhook configuration is known to trust.
        let mut trusted = None;
        let mut pause = FIRST_PAUSE;
        loop {
            let round = async {
                let (identity, usable) =
                    self.ensure_certificate(SystemTime::now(), trusted.as_deref()).await?;
                if expires.replace(usable.expires) != Some(usable.expires) {
                    tracing::info!(
                        secret = self.secret,
                        expires = usable.expires,
                        "using the certificate in the Secret"
                    );
                }
                if self.publish_ca(&identity.ca).await? {
                    tracing::info!(
                        configuration = self.configuration,
                        "wrote the CA into the webhook configuration"
                    );
                }
                trusted = Some(identity.ca);
                latch = None;
                Ok(())
            };
            let result = tokio::time::timeout(DEADLINE, round).await.unwrap_or(Err(Error::Deadline));
            let slept = match result {
                Ok(()) => {
                    pause = FIRST_PAUSE;
                    self.interval
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot renew or publish the certificate; retrying");
                    let slept = pause;
                    pause = (pause * 2).min(self.interval);
                    slept
                }
            };
            tokio::time::sleep(slept).await;
        }
    }

    /// The identity in the Secret, created or renewed if necessary. `trusted`: the CAs that the webhook
    /// configuration is known to trust.
    pub async fn ensure_certificate(
        &self,
        now: SystemTime,
        trusted: Option<&str>,
    ) -> Result<(Identity, Usable), Error> {
        let secrets: Api<Secret> = Api::default_namespaced(self.client.clone());
        for _ in 0..MOST_ROUNDS {
            let kept = secrets.get_opt(&self.secret).await.map_err(failed("read the Secret"))?;
            let kept = kept.ok_or_else(|| Error::NoSecret(self.secret.clone()))?;
            let is_empty = kept.data.as_ref().is_none_or(BTreeMap::is_empty);
            let identity = identity(&kept)
                .inspect_err(|error| {
                    if !is_empty {
                        tracing::warn!(secret = self.secret, %error, "the Secret holds no valid certificate; creating a new one");
                    }
                })
                .ok();
            let (made, usable) = match identity {
                None => (Identity::make(&self.dns_names, now)?, None),
                Some(identity) => {
                    let step = identity.next(&self.dns_names, now, trusted == Some(&identity.ca));
                    let usable = identity.usable(&self.dns_names, now);
                    if step != Step::Keep {
                        let reason = usable.as_ref().err().map(ToString::to_string);
                        tracing::info!(secret = self.secret, ?step, reason, "renewing the certificate");
                    }
                    match usable {
                        Ok(usable) if step == Step::Keep => return Ok((identity, usable)),
                        usable => {
                            let renewed = identity.renewed(step, &self.dns_names, now)?;
                            (renewed, usable.ok().map(|usable| (identity, usable)))
                        }
                    }
                }
            };
            // The API server rejects the write after another one, because the resourceVersion is that of
            // `kept`.
            let data = made.parts().into_iter().map(|(name, bytes)| (name, ByteString(bytes))).collect();
            let made = Secret { data: Some(data), ..kept };
            match secrets.replace(&self.secret, &PostParams::default(), &made).await {
                Ok(_) => {}
                // Another writer was faster: use its certificate.
                Err(kube::Error::Api(status)) if status.code == 409 => {}
                Err(error) => {
                    let error = failed("write the Secret")(error);
                    if let Some((_, Usable { expires, .. })) = &usable {
                        tracing::warn!(%error, expires, "renewal failed; keeping the current certificate");
                    }
                    return usable.ok_or(error);
                }
            }
            // Read again in both cases, so that the stored certificate is used.
        }
        Err(Error::NoAgreement)
    }

    /// Writes `ca` into every webhook of the configuration that calls a Service and has another CA; returns
    /// whether it wrote. A configuration with an annotation of cert-manager belongs to its cainjector: two
    /// writers would overwrite each other forever.
    pub async fn publish_ca(&self, ca: &str) -> Result<bool, Error> {
        let configurations: Api<MutatingWebhookConfiguration> = Api::all(self.client.clone());
        let bundle = ByteString(ca.as_bytes().to_vec());
        for _ in 0..MOST_ROUNDS {
            let found = configurations.get(&self.configuration).await;
            let found = found.map_err(failed("read the webhook configuration"))?;
            let annotations = found.metadata.annotations.iter().flatten();
            if let Some((key, _)) = annotations.into_iter().find(|(key, _)| key.starts_with(CAINJECTOR)) {
                tracing::info!(configuration = self.configuration, key, "leaving the CA to cert-manager");
                return Ok(false);
            }
            let others = found.webhooks.iter().flatten().filter(|webhook| {
                let client_config = &webhook.client_config;
                client_config.service.is_some() && client_config.ca_bundle.as_ref() != Some(&bundle)
            });
            // The list is merged by name: `patchMergeKey` in `k8s.io/api/admissionregistration/v1`.
            let webhooks: Vec<_> = others
                .map(|webhook| json!({"name": webhook.name, "clientConfig": {"caBundle": bundle}}))
                .collect();
            if webhooks.is_empty() {
                return Ok(false);
            }
            let version = &found.metadata.resource_version;
            let patch = json!({"metadata": {"resourceVersion": version}, "webhooks": webhooks});
            let patch = Patch::Strategic(patch);
            match configurations.patch(&self.configuration, &PatchParams::default(), &patch).await {
                Ok(_) => return Ok(true),
                // Another client wrote in between: read again.
                Err(kube::Error::Api(status)) if status.code == 409 => {}
                Err(error) => return Err(failed("write the CA into the webhook configuration")(error)),
            }
        }
        Err(Error::NoAgreement)
    }
}

fn identity(kept: &Secret) -> Result<Identity, Unusable> {
    let data = kept.data.as_ref();
    Identity::from_parts(|name| data.and_then(|data| data.get(name)).map(|bytes| bytes.0.clone()))
}

fn failed(what: &'static str) -> impl Fn(kube::Error) -> Error {
    move |source| Error::Kube { what, source: Box::new(source) }
}
