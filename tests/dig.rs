//! `dig` gets the same answer from cluster DNS directly and through the proxy, with all its flags.

use std::process::ExitCode;

use podlocal_harness::failure::{Failure, WithContext};
use podlocal_harness::loopback::proxy::Proxy;
use podlocal_harness::loopback::tier::FREE;
use podlocal_harness::model::cluster_dns::{ClusterDns, World};
use podlocal_harness::model::testbed::{self, Test, Testbed};
use podlocal_tests::resolvers::clients::Client;
use tokio::process::Command;

/// The questions: name, type.
const QUESTIONS: [(&str, &str); 11] = [
    ("www.example.com", "A"),
    ("www.example.com", "AAAA"),
    ("alias.example.com", "A"),
    ("api.example.com", "AAAA"),
    ("nothing.example.com", "A"),
    ("big.example.com", "TXT"),
    ("big.example.com", "A"),
    ("raw.example.com", "TYPE65280"),
    ("kubernetes.default.svc.cluster.local", "A"),
    ("_https._tcp.kubernetes.default.svc.cluster.local", "SRV"),
    ("nobody.default.svc.cluster.local", "A"),
];

/// The flags of dig.
const WAYS: [&[&str]; 7] = [
    &[],
    &["+tcp"],
    &["+noedns"],
    &["+noedns", "+tcp"],
    &["+bufsize=512"],
    &["+bufsize=4096"],
    &["+dnssec", "+cd"],
];

fn main() -> ExitCode {
    let test = |way: &'static [&str]| {
        let name = format!("dig_through_the_proxy_gets_what_the_upstream_has {}", way.join(" "));
        let missing = Client::Dig.is_missing();
        Test::new(name.trim_end(), missing, |testbed| Box::pin(compare(way, testbed)))
    };
    testbed::run(WAYS.into_iter().map(test).collect())
}

/// Sends every question with these flags to cluster DNS and to a proxy in front of it, and compares the answers.
async fn compare(way: &[&str], testbed: Testbed) -> Result<(), Failure> {
    let upstream = ClusterDns::start(World::example(), FREE).await?;
    let proxy = Proxy::start(&testbed.programs.sidecar, upstream.address(), &[]).await?;
    for (name, kind) in QUESTIONS {
        let direct = dig(upstream.address().port(), name, kind, way).await?;
        let proxied = dig(proxy.dns.port(), name, kind, way).await?;
        if direct.is_empty() || direct != proxied {
            let asked = format!("dig {name} {kind} {}", way.join(" "));
            let answers = format!("--- directly\n{direct}\n--- through the proxy\n{proxied}");
            return Err(Failure::new(format!("{asked}\n{answers}")));
        }
    }
    Ok(())
}

/// The output of dig without the parts that may differ: ids, times, TTLs (a cache decreases them), the order
/// of records (servers rotate them), the EDNS size (it applies to one hop).
async fn dig(port: u16, name: &str, kind: &str, way: &[&str]) -> Result<String, Failure> {
    let output = Command::new("dig")
        .args(["@127.0.0.1", "-p", &port.to_string(), "+tries=1", "+timeout=10"])
        .args(["+nostats", "+nocmd", "+nocookie", "+nottlid"])
        .args(way)
        .args([name, kind])
        .output();
    let output = output.await.with_context("running dig")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let mut lines: Vec<_> = text
        .lines()
        .filter(|line| !line.starts_with(";; Got answer") && !line.contains("EDNS:") && !line.is_empty())
        .map(|line| line.split_once(", id: ").map_or(line, |(before, _)| before).to_owned())
        .collect();
    lines.sort();
    Ok(lines.join("\n"))
}
