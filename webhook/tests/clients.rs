//! The built program with `--client-ca-file`: which clients are answered.

mod common;

use std::io::{Read as _, Write as _};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use common::{Webhook, connect_as, eventually, head, pod, review_of};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::time_provider::DefaultTimeProvider;

type Own = (CertificateDer<'static>, PrivateKeyDer<'static>);

#[test]
fn only_clients_with_a_trusted_certificate_are_answered() {
    let (trusted, other) = (Authority::new(), Authority::new());
    let folder = tempfile::tempdir().expect("a folder");
    let file = trusted.write(folder.path());
    let webhook = Webhook::start(&["--client-ca-file", &file]);
    assert!(is_answered(&webhook, Some(trusted.client("anyone", Times::Now))));
    assert!(!is_answered(&webhook, None), "without a certificate");
    webhook.log_line("connection rejected");
    assert!(!is_answered(&webhook, Some(other.client("anyone", Times::Now))), "of another authority");
    assert!(!is_answered(&webhook, Some(trusted.client("anyone", Times::Ended))), "that has ended");
    assert!(!is_answered(&webhook, Some(trusted.client("anyone", Times::Coming))), "of tomorrow");
    assert!(!is_answered(&webhook, Some(trusted.server("anyone"))), "for servers");
    assert!(is_answered(&webhook, Some(trusted.client("anyone", Times::Now))));
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
    assert!(is_answered(&webhook, Some(authority.client("kube-apiserver", Times::Now))));
    assert!(!is_answered(&webhook, Some(authority.client("kubelet", Times::Now))));
    let by_dns =
        authority.signed("somebody", &["dns.example"], Times::Now, ExtendedKeyUsagePurpose::ClientAuth);
    assert!(is_answered(&webhook, Some(by_dns)));
    let other = authority.signed("x", &["x.dns.example"], Times::Now, ExtendedKeyUsagePurpose::ClientAuth);
    assert!(!is_answered(&webhook, Some(other)));
}

#[test]
fn client_ca_file_is_reloaded_and_invalid_file_is_ignored() {
    let (before, after) = (Authority::new(), Authority::new());
    let folder = tempfile::tempdir().expect("a folder");
    let file = before.write(folder.path());
    let webhook = Webhook::start(&["--client-ca-file", &file]);
    assert!(!is_answered(&webhook, Some(after.client("a", Times::Now))));
    std::fs::write(&file, "nothing").expect("writes");
    webhook.log_line("keeping the previous client CAs");
    assert!(is_answered(&webhook, Some(before.client("a", Times::Now))));
    after.write(folder.path());
    eventually("the new authority is trusted", || is_answered(&webhook, Some(after.client("a", Times::Now))));
    assert!(!is_answered(&webhook, Some(before.client("a", Times::Now))));
}

/// Whether the review of a client with that certificate is answered.
fn is_answered(webhook: &Webhook, own: Option<Own>) -> bool {
    let mut connection =
        connect_as(webhook.address, &[webhook.authority()], Arc::new(DefaultTimeProvider), own);
    let body = review_of(&pod()).to_string();
    let head = head("POST", "/mutate", "application/json", body.len());
    // With TLS 1.3, a client learns of its rejection when it reads.
    let sent = connection.write_all(format!("{head}{body}").as_bytes()).and_then(|()| connection.flush());
    let mut start = [0; 15];
    sent.and_then(|()| connection.read_exact(&mut start)).is_ok() && &start == b"HTTP/1.1 200 OK"
}

#[derive(Clone, Copy)]
enum Times {
    Now,
    Ended,
    Coming,
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

    fn client(&self, name: &str, times: Times) -> Own {
        self.signed(name, &[], times, ExtendedKeyUsagePurpose::ClientAuth)
    }

    fn server(&self, name: &str) -> Own {
        self.signed(name, &[], Times::Now, ExtendedKeyUsagePurpose::ServerAuth)
    }

    fn signed(&self, common: &str, dns: &[&str], times: Times, usage: ExtendedKeyUsagePurpose) -> Own {
        const DAY: Duration = Duration::from_hours(24);
        let now = SystemTime::now();
        let (from, until) = match times {
            Times::Now => (now - DAY, now + DAY),
            Times::Ended => (now - 2 * DAY, now - DAY),
            Times::Coming => (now + DAY, now + 2 * DAY),
        };
        let dns: Vec<_> = dns.iter().map(|name| (*name).to_owned()).collect();
        let mut leaf = CertificateParams::new(dns).expect("names");
        (leaf.not_before, leaf.not_after) = (from.into(), until.into());
        leaf.distinguished_name.push(DnType::CommonName, common);
        leaf.extended_key_usages = vec![usage];
        let key = KeyPair::generate().expect("a key");
        let certificate = leaf.signed_by(&key, &self.0).expect("signs");
        (certificate.der().clone(), PrivateKeyDer::try_from(key.serialize_der()).expect("a key"))
    }
}
