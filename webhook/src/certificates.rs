//! A CA and a serving certificate of our own: making them, and judging ones that were kept. Pure but for the
//! randomness of keys; the time is passed in.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose,
};
use rustls::sign::CertifiedKey;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::{FromDer as _, GeneralName};

use crate::tls;

/// How long both certificates hold.
const LIFETIME: Duration = Duration::from_hours(365 * 24);

/// How far they hold into the past, for nodes whose clock is late.
const CLOCK_SKEW: Duration = Duration::from_hours(1);

/// The names of the parts in a Secret of type `kubernetes.io/tls`, and our two more.
const PARTS: [&str; 4] = ["ca.crt", "ca.key", "tls.crt", "tls.key"];

/// A CA, its key, a serving certificate and its key, in PEM.
#[derive(Clone, PartialEq, Eq)]
pub struct Identity {
    /// What the API server has to trust.
    pub ca: String,
    ca_key: String,
    certificate: String,
    key: String,
}

/// An identity that can be served.
#[derive(Debug)]
pub struct Usable {
    /// For the handshakes.
    pub key: CertifiedKey,
    /// When the serving certificate ends, in seconds of Unix time.
    pub expires: u64,
}

/// Why an identity cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    /// A part is not there, or is no text.
    #[error("it has no {0}")]
    Missing(&'static str),
    /// The certificate or the key cannot be read, or they do not belong together.
    #[error(transparent)]
    Tls(#[from] tls::Error),
    /// The certificate cannot be read.
    #[error("the {0} is no X.509 certificate")]
    NotX509(&'static str),
    /// It is not in force.
    #[error("the {0} has expired or is not yet in force")]
    NotInForce(&'static str),
    /// The name by which we are called is not in it.
    #[error("it is not for {0}")]
    OtherName(String),
}

/// Why no identity could be made.
#[derive(Debug, thiserror::Error)]
pub enum MakeError {
    /// The names, or the randomness.
    #[error(transparent)]
    Rcgen(#[from] rcgen::Error),
    /// What was made cannot be served.
    #[error(transparent)]
    Unusable(#[from] Unusable),
}

impl Identity {
    /// Makes a CA and a certificate for `names`, DNS names or IP addresses.
    pub fn make(names: &[String], now: SystemTime) -> Result<Self, MakeError> {
        let (from, until) = (now - CLOCK_SKEW, now + LIFETIME);

        let mut ca = CertificateParams::default();
        (ca.not_before, ca.not_after) = (from.into(), until.into());
        ca.distinguished_name = rcgen::DistinguishedName::new();
        ca.distinguished_name.push(DnType::CommonName, "podlocal-dns-webhook CA");
        ca.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let ca = CertifiedIssuer::self_signed(ca, KeyPair::generate()?)?;

        let mut leaf = CertificateParams::new(names)?;
        (leaf.not_before, leaf.not_after) = (from.into(), until.into());
        leaf.distinguished_name = rcgen::DistinguishedName::new();
        leaf.distinguished_name.push(DnType::CommonName, "podlocal-dns-webhook");
        leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        leaf.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate()?;
        let certificate = leaf.signed_by(&key, &ca)?;

        Ok(Self {
            ca: ca.pem(),
            ca_key: ca.key().serialize_pem(),
            certificate: certificate.pem(),
            key: key.serialize_pem(),
        })
    }

    /// From the data of a Secret.
    pub fn from_parts(part: impl Fn(&str) -> Option<Vec<u8>>) -> Result<Self, Unusable> {
        let text = |name: &'static str| {
            let text = part(name).and_then(|bytes| String::from_utf8(bytes).ok());
            text.ok_or(Unusable::Missing(name))
        };
        let [ca, ca_key, certificate, key] = PARTS;
        Ok(Self { ca: text(ca)?, ca_key: text(ca_key)?, certificate: text(certificate)?, key: text(key)? })
    }

    /// The data of a Secret.
    pub fn parts(&self) -> BTreeMap<String, Vec<u8>> {
        let texts = [&self.ca, &self.ca_key, &self.certificate, &self.key];
        PARTS.iter().zip(texts).map(|(name, text)| ((*name).to_owned(), text.clone().into_bytes())).collect()
    }

    /// Whether it can be served now, as one of `names`.
    pub fn usable(&self, names: &[String], now: SystemTime) -> Result<Usable, Unusable> {
        let ca = tls::certificates(&self.ca)?;
        let (_, ca) = X509Certificate::from_der(&ca[0]).map_err(|_| Unusable::NotX509("CA"))?;
        in_force("CA", &ca, now)?;
        let key = tls::certified_key(&self.certificate, &self.key)?;
        let (_, certificate) =
            X509Certificate::from_der(&key.cert[0]).map_err(|_| Unusable::NotX509("certificate"))?;
        let expires = in_force("certificate", &certificate, now)?;
        if let Some(name) = names.iter().find(|name| !is_for(&certificate, name)) {
            return Err(Unusable::OtherName(name.clone()));
        }
        Ok(Usable { key, expires })
    }
}

/// When a certificate in DER ends, in seconds of Unix time.
pub fn expiry(der: &[u8]) -> Option<u64> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    u64::try_from(certificate.validity().not_after.timestamp()).ok()
}

/// When the certificate ends, provided that it is in force.
fn in_force(what: &'static str, certificate: &X509Certificate<'_>, now: SystemTime) -> Result<u64, Unusable> {
    let now = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let seconds = |timestamp: i64| u64::try_from(timestamp).unwrap_or(0);
    let validity = certificate.validity();
    let (from, until) = (seconds(validity.not_before.timestamp()), seconds(validity.not_after.timestamp()));
    if (from..until).contains(&now) { Ok(until) } else { Err(Unusable::NotInForce(what)) }
}

/// Whether that DNS name or IP address stands in the certificate.
fn is_for(certificate: &X509Certificate<'_>, name: &str) -> bool {
    let address = name.parse::<std::net::IpAddr>().ok().map(|address| match address {
        std::net::IpAddr::V4(address) => address.octets().to_vec(),
        std::net::IpAddr::V6(address) => address.octets().to_vec(),
    });
    let names = certificate.subject_alternative_name().ok().flatten();
    names.is_some_and(|names| {
        names.value.general_names.iter().any(|general| match general {
            GeneralName::DNSName(text) => text.eq_ignore_ascii_case(name),
            GeneralName::IPAddress(octets) => address.as_deref() == Some(*octets),
            _ => false,
        })
    })
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Identity { keys not shown }")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Vec<String> {
        vec!["a.example.svc".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()]
    }

    #[test]
    fn a_made_identity_is_usable_until_it_ends_and_not_after() {
        let now = SystemTime::now();
        let identity = Identity::make(&names(), now).expect("makes");
        let usable = identity.usable(&names(), now).expect("usable");
        let end = UNIX_EPOCH + Duration::from_secs(usable.expires);
        assert!(identity.usable(&names(), end - Duration::from_secs(1)).is_ok());
        for outside in [end, now - Duration::from_hours(2)] {
            assert!(matches!(identity.usable(&names(), outside), Err(Unusable::NotInForce(_))));
        }
    }

    #[test]
    fn what_is_kept_in_a_secret_comes_back_the_same() {
        let identity = Identity::make(&names(), SystemTime::now()).expect("makes");
        let parts = identity.parts();
        assert_eq!(Identity::from_parts(|name| parts.get(name).cloned()).expect("whole"), identity);
        let without_key = Identity::from_parts(|name| parts.get(name).cloned().filter(|_| name != "tls.key"));
        assert!(matches!(without_key, Err(Unusable::Missing("tls.key"))));
    }

    #[test]
    fn a_strange_secret_is_refused() {
        let now = SystemTime::now();
        let identity = Identity::make(&names(), now).expect("makes");
        let other = Identity::make(&names(), now).expect("makes");
        let mixed = Identity { key: other.key.clone(), ..identity.clone() };
        assert!(matches!(mixed.usable(&names(), now), Err(Unusable::Tls(_))), "a key of another certificate");
        let garbage = Identity { certificate: "garbage".to_owned(), ..identity.clone() };
        assert!(matches!(garbage.usable(&names(), now), Err(Unusable::Tls(_))));
        let empty = Identity { ca: String::new(), ..identity.clone() };
        assert!(matches!(empty.usable(&names(), now), Err(Unusable::Tls(_))));
        let renamed = identity.usable(&["b.example.svc".to_owned()], now);
        assert!(matches!(renamed, Err(Unusable::OtherName(name)) if name == "b.example.svc"));
    }
}
