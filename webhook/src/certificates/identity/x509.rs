//! Reads certificates in DER. Pure.

use std::time::{SystemTime, UNIX_EPOCH};

use rustls::client::verify_server_name;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::server::ParsedCertificate;
use x509_parser::certificate::X509Certificate;
use x509_parser::pem::Pem;
use x509_parser::prelude::FromDer as _;

use super::Unusable;

/// The expiry of a certificate, in seconds of Unix time.
pub(crate) fn expiry(der: &[u8]) -> Option<u64> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    u64::try_from(certificate.validity().not_after.timestamp()).ok()
}

/// The expiry of a certificate that is valid at `now`, in seconds of Unix time. `what` names it in errors.
pub(super) fn in_force(what: &'static str, der: &[u8], now: SystemTime) -> Result<u64, Unusable> {
    let (_, certificate) = X509Certificate::from_der(der).map_err(|_| Unusable::NotX509(what))?;
    let now = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let seconds = |timestamp: i64| u64::try_from(timestamp).unwrap_or(0);
    let validity = certificate.validity();
    let (from, until) = (seconds(validity.not_before.timestamp()), seconds(validity.not_after.timestamp()));
    if (from..until).contains(&now) { Ok(until) } else { Err(Unusable::NotInForce(what)) }
}

/// The certificates of a PEM text that have not expired, with their original text.
pub(super) fn in_force_only(pem: &str, now: SystemTime) -> Result<String, Unusable> {
    const END: &str = "-----END CERTIFICATE-----";
    let blocks = pem.split_inclusive(END).filter(|block| block.contains(END));
    let mut kept = String::new();
    for block in blocks {
        let (_, parsed) =
            x509_parser::pem::parse_x509_pem(block.as_bytes()).map_err(|_| Unusable::NotX509("CA"))?;
        let Pem { contents, .. } = parsed;
        if in_force("CA", &contents, now).is_ok() {
            kept.push_str(block.trim());
            kept.push('\n');
        }
    }
    Ok(kept)
}

/// Whether the key of `authority` has signed the certificate.
pub(super) fn is_signed_by(certificate: &CertificateDer<'_>, authority: &CertificateDer<'_>) -> bool {
    let (Ok((_, certificate)), Ok((_, authority))) =
        (X509Certificate::from_der(certificate), X509Certificate::from_der(authority))
    else {
        return false;
    };
    certificate.issuer() == authority.subject()
        && certificate.verify_signature(Some(authority.public_key())).is_ok()
}

/// Whether the certificate is for that DNS name or IP address.
pub(super) fn is_for(certificate: &CertificateDer<'_>, name: &str) -> bool {
    let (Ok(certificate), Ok(name)) = (ParsedCertificate::try_from(certificate), ServerName::try_from(name))
    else {
        return false;
    };
    verify_server_name(&certificate, &name).is_ok()
}
