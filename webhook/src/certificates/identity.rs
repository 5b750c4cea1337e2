//! Creates, renews and validates the self-made CA and serving certificate. Pure except for random keys; the
//! time is a parameter.
//!
//! The CA is valid for ten years and signs certificates for 90 days, so that the trusted CA seldom changes.
//! When it changes, the API server first trusts the new CA in addition to the old one; the new CA signs later
//! ([`next::step`]).

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose,
};
use rustls::pki_types::CertificateDer;
use rustls::sign::CertifiedKey;

use super::tls;

mod next;
mod x509;

pub use next::Step;
pub(crate) use x509::expiry;

/// The validity of a CA.
pub(crate) const AUTHORITY_LIFETIME: Duration = Duration::from_hours(10 * 365 * 24);

/// The validity of a serving certificate.
pub(crate) const CERTIFICATE_LIFETIME: Duration = Duration::from_hours(90 * 24);

/// How long before their creation they become valid, for nodes whose clock is behind.
const CLOCK_SKEW: Duration = Duration::from_hours(1);

/// The keys of the Secret: those of type `kubernetes.io/tls`, and two for the CA.
const PARTS: [&str; 4] = ["ca.crt", "ca.key", "tls.crt", "tls.key"];

/// CAs, the key of the first of them, a serving certificate and its key, in PEM.
#[derive(Clone, PartialEq, Eq)]
pub struct Identity {
    /// The CAs that the API server must trust: the one that signs, then older ones.
    pub ca: String,
    ca_key: String,
    certificate: String,
    key: String,
}

/// An identity with which TLS connections can be served.
#[derive(Debug)]
pub struct Usable {
    /// The certificate chain and key for handshakes.
    pub(crate) key: CertifiedKey,
    /// The expiry of the serving certificate, in seconds of Unix time.
    pub expires: u64,
}

/// Why an identity cannot be used.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum Unusable {
    #[error("{0} is missing")]
    Missing(&'static str),
    #[error(transparent)]
    Tls(#[from] tls::Error),
    #[error("the {0} is not a valid X.509 certificate")]
    NotX509(&'static str),
    #[error("the {0} has expired or is not yet valid")]
    NotInForce(&'static str),
    #[error("the certificate is not valid for the name {0}")]
    OtherName(String),
    #[error("the certificate is not signed by any of the CAs")]
    OtherAuthority,
}

/// Why no identity could be created.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum MakeError {
    #[error(transparent)]
    Rcgen(#[from] rcgen::Error),
    #[error(transparent)]
    Unusable(#[from] Unusable),
}

impl Identity {
    /// Creates a CA and a certificate for `names`: DNS names or IP addresses.
    pub fn make(names: &[String], now: SystemTime) -> Result<Self, MakeError> {
        let (ca, ca_key) = authority(now)?;
        let (certificate, key) = certificate(names, now, &ca, &ca_key)?;
        Ok(Self { ca, ca_key, certificate, key })
    }

    /// The identity after `step`. Parts that are not renewed are kept; expired CAs are removed.
    pub fn renewed(&self, step: Step, names: &[String], now: SystemTime) -> Result<Self, MakeError> {
        let mut renewed = self.clone();
        match step {
            Step::Keep => return Ok(renewed),
            Step::StartOver => return Self::make(names, now),
            Step::NewCertificate => {
                (renewed.certificate, renewed.key) = certificate(names, now, &self.ca, &self.ca_key)?;
            }
            Step::NewAuthority => {
                let (ca, ca_key) = authority(now)?;
                (renewed.ca, renewed.ca_key) = (format!("{ca}{}", self.ca), ca_key);
            }
        }
        renewed.ca = x509::in_force_only(&renewed.ca, now)?;
        Ok(renewed)
    }

    /// The next renewal step. `is_trusted`: the API server is known to trust all CAs of the identity.
    pub(crate) fn next(&self, names: &[String], now: SystemTime, is_trusted: bool) -> Step {
        next::step(&self.state(names, now, is_trusted))
    }

    /// Reads an identity from the data of a Secret.
    pub(crate) fn from_parts(part: impl Fn(&str) -> Option<Vec<u8>>) -> Result<Self, Unusable> {
        let text = |name: &'static str| {
            let text = part(name).and_then(|bytes| String::from_utf8(bytes).ok());
            text.ok_or(Unusable::Missing(name))
        };
        let [ca, ca_key, certificate, key] = PARTS;
        Ok(Self { ca: text(ca)?, ca_key: text(ca_key)?, certificate: text(certificate)?, key: text(key)? })
    }

    /// The data of a Secret with this identity.
    pub fn parts(&self) -> BTreeMap<String, Vec<u8>> {
        let texts = [&self.ca, &self.ca_key, &self.certificate, &self.key];
        PARTS.iter().zip(texts).map(|(name, text)| ((*name).to_owned(), text.clone().into_bytes())).collect()
    }

    /// Checks that the identity can be used now for all of `names`.
    pub(crate) fn usable(&self, names: &[String], now: SystemTime) -> Result<Usable, Unusable> {
        let key = tls::certified_key(&self.certificate, &self.key)?;
        let expires = x509::in_force("certificate", &key.cert[0], now)?;
        if let Some(name) = names.iter().find(|name| !x509::is_for(&key.cert[0], name)) {
            return Err(Unusable::OtherName(name.clone()));
        }
        let authorities = tls::certificates(&self.ca)?;
        let signers: Vec<_> =
            authorities.iter().filter(|authority| x509::is_signed_by(&key.cert[0], authority)).collect();
        let signer = signers.first().ok_or(Unusable::OtherAuthority)?;
        x509::in_force("CA", signer, now)?;
        Ok(Usable { key, expires })
    }

    fn state(&self, names: &[String], now: SystemTime, is_trusted: bool) -> next::IdentityState {
        let left = |certificate: &CertificateDer<'_>, what| {
            let until = x509::in_force(what, certificate, now).ok()?;
            (SystemTime::UNIX_EPOCH + Duration::from_secs(until)).duration_since(now).ok()
        };
        let authorities = tls::certificates(&self.ca).unwrap_or_default();
        // The CA and its key belong together if they form a valid TLS key.
        let has_key = tls::certified_key(&self.ca, &self.ca_key).is_ok();
        let signing = authorities.first().filter(|_| has_key);
        let usable = self.usable(names, now).ok();
        let is_signed_by_first = |usable: &Usable| {
            signing.is_some_and(|authority| x509::is_signed_by(&usable.key.cert[0], authority))
        };
        next::IdentityState {
            authority_left: signing.and_then(|authority| left(authority, "CA")),
            is_signed_by_it: usable.as_ref().is_some_and(is_signed_by_first),
            certificate_left: usable.as_ref().and_then(|usable| left(&usable.key.cert[0], "certificate")),
            is_trusted,
        }
    }
}

fn authority(now: SystemTime) -> Result<(String, String), rcgen::Error> {
    let mut ca = CertificateParams::default();
    (ca.not_before, ca.not_after) = ((now - CLOCK_SKEW).into(), (now + AUTHORITY_LIFETIME).into());
    ca.distinguished_name = rcgen::DistinguishedName::new();
    ca.distinguished_name.push(DnType::CommonName, "podlocal-dns-webhook CA");
    ca.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let ca = CertifiedIssuer::self_signed(ca, KeyPair::generate()?)?;
    Ok((ca.pem(), ca.key().serialize_pem()))
}

/// A new serving certificate and its key, signed by the first of the CAs in `ca`.
fn certificate(
    names: &[String],
    now: SystemTime,
    ca: &str,
    ca_key: &str,
) -> Result<(String, String), rcgen::Error> {
    let issuer = Issuer::from_ca_cert_pem(ca, KeyPair::from_pem(ca_key)?)?;
    let mut leaf = CertificateParams::new(names)?;
    (leaf.not_before, leaf.not_after) = ((now - CLOCK_SKEW).into(), (now + CERTIFICATE_LIFETIME).into());
    leaf.distinguished_name = rcgen::DistinguishedName::new();
    leaf.distinguished_name.push(DnType::CommonName, "podlocal-dns-webhook");
    leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    leaf.use_authority_key_identifier_extension = true;
    let key = KeyPair::generate()?;
    Ok((leaf.signed_by(&key, &issuer)?.pem(), key.serialize_pem()))
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Identity { keys not shown }")
    }
}

#[cfg(test)]
mod tests;
