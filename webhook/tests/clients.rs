//! The built program with `--client-ca-file`: which clients are answered.

mod common;

use std::path::Path;
use std::time::{Duration, SystemTime};

use common::{ClientCertificate, Webhook, connect_as, eventually};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
};
use rustls::pki_types::PrivateKeyDer;

const HOUR: Duration = Duration::from_hours(1);

#[test]
fn only_clients_with_a_trusted_certificate_are_answered() {
    let (trusted, other) = (Authority::new(), Authority::new());
    let folder = tempfile::tempdir().expect("a folder");
    let file = trusted.write(folder.path());
    let webhook = Webhook::start(&["--client-ca-file", &file]);
    let now = SystemTime::now() - HOUR;
    assert!(is_answered(&webhook, Some(trusted.client("anyone", None, now))));
    assert!(!is_answered(&webhook, None), "without a certificate");
    webhook.log_line("connection rejected");
    assert!(!is_answered(&webhook, Some(other.client("anyone", None, now))), "of another authority");
    assert!(!is_answered(&webhook, Some(trusted.client("anyone", None, now - 9 * HOUR))), "that has ended");
    assert!(!is_answered(&webhook, Some(trusted.client("anyone", None, now + 9 * HOUR))), "of tomorrow");
    let of_server = trusted.signed("anyone", None, now, ExtendedKeyUsagePurpose::ServerAuth);
    assert!(!is_answered(&webhook, Some(of_server)), "for servers");
    assert!(is_answered(&webhook, Some(trusted.client("anyone", None, now))));
    assert_eq!(webhook.admin_page("/readyz").status, 200, "probes need none");
    let page = webhook.admin_page("/metrics").body;
    assert!(page.contains("podlocal_webhook_review_duration_seconds_count 2\n"), "{page}");
}

#[test]
fn only_clients_with_an_allowed_name_are_answered() {
    let authority = Authority::new();
    let folder = tempfile::tempdir().expect("a folder");
    let file = authority.write(folder.path());
    let names = ["--client-allowed-names", "kube-apiserver,dns.example"];
    let webhook = Webhook::start(&[&["--client-ca-file", file.as_str()][..], &names].concat());
    for (common, dns, expected) in [
        ("kube-apiserver", None, true),
        ("kubelet", None, false),
        ("somebody", Some("dns.example"), true),
        ("somebody", Some("x.dns.example"), false),
    ] {
        let client = authority.client(common, dns, SystemTime::now() - HOUR);
        assert_eq!(is_answered(&webhook, Some(client)), expected, "{common} {dns:?}");
    }
}

#[test]
fn client_ca_file_is_reloaded_and_invalid_file_is_ignored() {
    let (before, after) = (Authority::new(), Authority::new());
    let folder = tempfile::tempdir().expect("a folder");
    let file = before.write(folder.path());
    let webhook = Webhook::start(&["--client-ca-file", &file]);
    let trusts = |authority: &Authority| {
        is_answered(&webhook, Some(authority.client("a", None, SystemTime::now() - HOUR)))
    };
    assert!(!trusts(&after));
    std::fs::write(&file, "nothing").expect("writes");
    webhook.log_line("keeping the previous client CAs");
    assert!(trusts(&before));
    after.write(folder.path());
    eventually("the new authority is trusted", || trusts(&after));
    assert!(!trusts(&before));
}

/// Whether the review of a client with that certificate is answered.
fn is_answered(webhook: &Webhook, own: Option<ClientCertificate>) -> bool {
    common::is_answered(connect_as(webhook.address, &webhook.authority(), own))
}

struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut ca = CertificateParams::default();
        ca.distinguished_name.push(DnType::CommonName, "clients");
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(ca, KeyPair::generate().expect("a key")).expect("a CA"))
    }

    fn write(&self, folder: &Path) -> String {
        let file = folder.join("clients.pem");
        std::fs::write(&file, self.0.pem()).expect("writes");
        file.to_str().expect("UTF-8").to_owned()
    }

    /// A client certificate with these names, which is valid for two hours from `begin`.
    fn client(&self, common: &str, dns: Option<&str>, begin: SystemTime) -> ClientCertificate {
        self.signed(common, dns, begin, ExtendedKeyUsagePurpose::ClientAuth)
    }

    fn signed(
        &self,
        common: &str,
        dns: Option<&str>,
        begin: SystemTime,
        usage: ExtendedKeyUsagePurpose,
    ) -> ClientCertificate {
        let dns: Vec<_> = dns.map(str::to_owned).into_iter().collect();
        let mut leaf = CertificateParams::new(dns).expect("names");
        (leaf.not_before, leaf.not_after) = (begin.into(), (begin + 2 * HOUR).into());
        leaf.distinguished_name.push(DnType::CommonName, common);
        leaf.extended_key_usages = vec![usage];
        let key = KeyPair::generate().expect("a key");
        let certificate = leaf.signed_by(&key, &self.0).expect("signs");
        (certificate.der().clone(), PrivateKeyDer::try_from(key.serialize_der()).expect("a key"))
    }
}
