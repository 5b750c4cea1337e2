//! Keeps the certificate: in a Secret that the replicas share, and its CA in our own webhook configuration.
//!
//! Replicas agree through the API server's optimistic concurrency: whoever creates the Secret, or renews what is in it,
//! first, wins, and the others take what is there. What fails is tried again, for ever, and reviews go on with what is
//! known.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use k8s_openapi::ByteString;
use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{Api, Patch, PatchParams, PostParams};
use serde_json::json;

use crate::certificates::{Identity, MakeError, Step, Unusable, Usable};
use crate::metrics::{Metrics, Task};
use crate::readiness::Latch;
use crate::tls::Served;

/// How often a conflict with another replica is tried again at once.
const MOST_ROUNDS: usize = 5;

/// How often everything is compared with what the API server has.
pub const INTERVAL: Duration = Duration::from_mins(1);

/// The first pause after a failure; it doubles up to the interval.
const FIRST_PAUSE: Duration = Duration::from_millis(500);

/// The longest that one comparison may take.
const DEADLINE: Duration = Duration::from_secs(30);

/// Where the certificate is kept and who trusts it.
#[derive(Clone)]
pub struct Keeper {
    /// The client, whose default namespace is ours.
    pub client: kube::Client,
    /// The name of the Secret, in our namespace.
    pub secret: String,
    /// The name of the MutatingWebhookConfiguration.
    pub configuration: String,
    /// The names that the certificate is for.
    pub dns_names: Vec<String>,
    /// Tells the time; tests move it.
    pub clock: Clock,
    /// [`INTERVAL`], or less in tests.
    pub interval: Duration,
}

/// A clock for certificates.
pub type Clock = Arc<dyn Fn() -> SystemTime + Send + Sync>;

/// Why the certificate could not be kept.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The API server refused or did not answer.
    #[error("cannot {what}: {source}")]
    Kube {
        /// What we wanted: "read the Secret".
        what: &'static str,
        /// What it said.
        source: Box<kube::Error>,
    },
    /// No certificate could be made.
    #[error("cannot make a certificate: {0}")]
    Make(#[from] MakeError),
    /// Others were faster each time.
    #[error("no agreement with the other replicas: others wrote in between, each time")]
    NoAgreement,
    /// The API server does not answer.
    #[error("no answer from the API server within {DEADLINE:?}")]
    Deadline,
}

impl Keeper {
    /// Keeps the certificate for ever: serves the one in the Secret, and drops `latch` when there is one.
    pub async fn run(self, served: Arc<Served>, metrics: Arc<Metrics>, latch: Latch, on_ca: impl Fn(&str)) {
        let mut latch = Some(latch);
        let mut current = None;
        // What the webhook configuration is known to trust.
        let mut trusted = None;
        let mut pause = FIRST_PAUSE;
        loop {
            let round = async {
                let (identity, usable) = self.agree((self.clock)(), trusted.as_deref()).await?;
                if current.as_ref() != Some(&identity) {
                    tracing::info!(secret = self.secret, expires = usable.expires, "serving the certificate");
                    metrics.certificate_expires(usable.expires);
                    served.replace(usable.key);
                    on_ca(&identity.ca);
                    current = Some(identity.clone());
                    latch = None;
                }
                if self.publish(&identity.ca).await? {
                    tracing::info!(configuration = self.configuration, "wrote the CA");
                }
                trusted = Some(identity.ca);
                Ok(())
            };
            let result = tokio::time::timeout(DEADLINE, round).await.unwrap_or(Err(Error::Deadline));
            let slept = match result {
                Ok(()) => {
                    pause = FIRST_PAUSE;
                    self.interval
                }
                Err(error) => {
                    tracing::warn!(%error, "will try again");
                    metrics.failed(Task::Certificate);
                    let slept = pause;
                    pause = (pause * 2).min(self.interval);
                    slept
                }
            };
            tokio::time::sleep(slept).await;
        }
    }

    /// The identity that all replicas share: the one in the Secret, made or renewed where that is needed. `trusted` is
    /// what the webhook configuration is known to trust.
    pub async fn agree(&self, now: SystemTime, trusted: Option<&str>) -> Result<(Identity, Usable), Error> {
        let secrets: Api<Secret> = Api::default_namespaced(self.client.clone());
        for _ in 0..MOST_ROUNDS {
            let kept = secrets.get_opt(&self.secret).await.map_err(failed("read the Secret"))?;
            let identity = kept.as_ref().and_then(|kept| {
                let read = identity(kept);
                read.inspect_err(
                    |error| tracing::warn!(secret = self.secret, %error, "the Secret is unreadable"),
                )
                .ok()
            });
            let (made, usable) = match identity {
                None => (Identity::make(&self.dns_names, now)?, None),
                Some(identity) => {
                    let step = identity.next(&self.dns_names, now, trusted == Some(&identity.ca));
                    let usable = identity.usable(&self.dns_names, now);
                    if step != Step::Keep {
                        let reason = usable.as_ref().err().map(ToString::to_string);
                        tracing::info!(secret = self.secret, ?step, reason, "renewing");
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
            let made = self.secret_of(&made, kept.as_ref());
            let written = match kept {
                None => secrets.create(&PostParams::default(), &made).await,
                Some(_) => secrets.replace(&self.secret, &PostParams::default(), &made).await,
            };
            match written {
                Ok(_) => {}
                // Another replica was faster: take what it wrote.
                Err(kube::Error::Api(status)) if status.code == 409 => {}
                Err(error) => {
                    let error = failed("write the Secret")(error);
                    if usable.is_some() {
                        tracing::warn!(%error, "what is there still serves; will try again");
                    }
                    return usable.ok_or(error);
                }
            }
            // Read again in both cases, so that what is served is what is kept.
        }
        Err(Error::NoAgreement)
    }

    /// Writes `ca` into every webhook of our configuration that calls a Service, where it differs; tells whether
    /// it wrote.
    pub async fn publish(&self, ca: &str) -> Result<bool, Error> {
        let configurations: Api<MutatingWebhookConfiguration> = Api::all(self.client.clone());
        let bundle = ByteString(ca.as_bytes().to_vec());
        for _ in 0..MOST_ROUNDS {
            let found = configurations.get(&self.configuration).await;
            let found = found.map_err(failed("read the webhook configuration"))?;
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
                // Somebody else wrote in between: look again.
                Err(kube::Error::Api(status)) if status.code == 409 => {}
                Err(error) => return Err(failed("write the CA into the webhook configuration")(error)),
            }
        }
        Err(Error::NoAgreement)
    }

    /// The Secret that keeps `identity`, in the place of `kept`.
    fn secret_of(&self, identity: &Identity, kept: Option<&Secret>) -> Secret {
        let data = identity.parts().into_iter().map(|(name, bytes)| (name, ByteString(bytes)));
        Secret {
            metadata: ObjectMeta {
                name: Some(self.secret.clone()),
                namespace: Some(self.client.default_namespace().to_owned()),
                // The API server refuses the write when another one came in between.
                resource_version: kept.and_then(|kept| kept.metadata.resource_version.clone()),
                labels: Some(
                    [("app.kubernetes.io/name".to_owned(), "podlocal-dns-webhook".to_owned())].into(),
                ),
                ..ObjectMeta::default()
            },
            // The type cannot be changed.
            type_: kept.map_or_else(|| Some("kubernetes.io/tls".to_owned()), |kept| kept.type_.clone()),
            data: Some(data.collect()),
            ..Secret::default()
        }
    }
}

/// What is in the Secret.
fn identity(kept: &Secret) -> Result<Identity, Unusable> {
    let data = kept.data.as_ref();
    Identity::from_parts(|name| data.and_then(|data| data.get(name)).map(|bytes| bytes.0.clone()))
}

fn failed(what: &'static str) -> impl Fn(kube::Error) -> Error {
    move |source| Error::Kube { what, source: Box::new(source) }
}
