//! Decides which parts of an identity to renew, and when. Pure.

use std::time::Duration;

use super::AUTHORITY_LIFETIME;

/// A CA that expires sooner gets a successor.
const AUTHORITY_RENEWED_BEFORE: Duration = Duration::from_hours(365 * 24);

/// A certificate that expires sooner is renewed: in the last third of its validity, so that it stays valid
/// during weeks of failures.
const CERTIFICATE_RENEWED_BEFORE: Duration = Duration::from_hours(30 * 24);

/// How long a new CA is trusted before it signs: every API server must have received it.
const SETTLING: Duration = Duration::from_mins(10);

#[derive(Debug, Clone, Copy)]
pub(super) struct IdentityState {
    /// The remaining validity of the signing CA; `None` if it cannot sign.
    pub(super) authority_left: Option<Duration>,
    /// The remaining validity of the certificate; `None` if it cannot be used.
    pub(super) certificate_left: Option<Duration>,
    /// Whether the signing CA, and not an older one, has signed the certificate.
    pub(super) is_signed_by_it: bool,
    /// Whether the API server is known to trust the CA.
    pub(super) is_trusted: bool,
}

/// A renewal step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Change nothing.
    Keep,
    /// A new certificate from the same CA.
    NewCertificate,
    /// A new CA in front of the others; the certificate stays.
    NewAuthority,
    /// A new CA and a new certificate.
    StartOver,
}

/// The first matching line applies:
///
/// | the CA that signs | the certificate | step |
/// |---|---|---|
/// | cannot sign, has ended | any | start over |
/// | can | cannot be served | new certificate |
/// | ends within a year | can | new CA beside the old one |
/// | can | ends within 30 days, is signed by it | new certificate |
/// | can, trusted, older than ten minutes | signed by an older CA | new certificate |
/// | any other | can | keep |
pub(super) fn step(facts: &IdentityState) -> Step {
    let Some(authority_left) = facts.authority_left else {
        return Step::StartOver;
    };
    let Some(certificate_left) = facts.certificate_left else {
        return Step::NewCertificate;
    };
    let is_due = if facts.is_signed_by_it {
        certificate_left < CERTIFICATE_RENEWED_BEFORE
    } else {
        facts.is_trusted && authority_left + SETTLING < AUTHORITY_LIFETIME
    };
    if authority_left < AUTHORITY_RENEWED_BEFORE {
        Step::NewAuthority
    } else if is_due {
        Step::NewCertificate
    } else {
        Step::Keep
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_hours(24);

    #[test]
    fn renewal_step_follows_the_table() {
        let fresh = IdentityState {
            authority_left: Some(AUTHORITY_LIFETIME),
            certificate_left: Some(90 * DAY),
            is_signed_by_it: true,
            is_trusted: true,
        };
        let new_authority = IdentityState { is_signed_by_it: false, ..fresh };
        let settled = IdentityState { authority_left: Some(5000 * DAY / 2), ..new_authority };
        for (facts, expected) in [
            (fresh, Step::Keep),
            (IdentityState { is_trusted: false, ..fresh }, Step::Keep),
            (IdentityState { authority_left: None, ..fresh }, Step::StartOver),
            (IdentityState { authority_left: None, certificate_left: None, ..fresh }, Step::StartOver),
            (
                IdentityState { certificate_left: None, is_trusted: false, ..new_authority },
                Step::NewCertificate,
            ),
            (IdentityState { certificate_left: Some(31 * DAY), ..fresh }, Step::Keep),
            (IdentityState { certificate_left: Some(29 * DAY), ..fresh }, Step::NewCertificate),
            (IdentityState { authority_left: Some(364 * DAY), ..fresh }, Step::NewAuthority),
            (
                IdentityState { authority_left: Some(364 * DAY), certificate_left: Some(DAY), ..fresh },
                Step::NewAuthority,
            ),
            (new_authority, Step::Keep),
            (IdentityState { certificate_left: Some(29 * DAY), ..new_authority }, Step::Keep),
            (settled, Step::NewCertificate),
            (IdentityState { is_trusted: false, ..settled }, Step::Keep),
        ] {
            assert_eq!(step(&facts), expected, "{facts:?}");
        }
    }
}
