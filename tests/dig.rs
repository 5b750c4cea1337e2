//! `dig` gets the same answer from cluster DNS directly and through the proxy, with all its flags.

use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;

use libtest_mimic::{Arguments, Completion, Failed, Trial};
use podlocal_harness::failure::{Failure, WithContext};
use podlocal_harness::loopback::proxy::Proxy;
use podlocal_harness::loopback::tier::FREE;
use podlocal_harness::model::cluster_dns::{ClusterDns, World};
use podlocal_harness::programs::Programs;
use tokio::runtime::Runtime;

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
    let arguments = Arguments::from_args();
    let fixture = if arguments.list { Ok(None) } else { Fixture::prepare() };
    let fixture = match fixture {
        Ok(fixture) => Arc::new(fixture),
        Err(failure) => {
            eprintln!("the tests cannot run: {failure}");
            return ExitCode::FAILURE;
        }
    };
    let trial = |way: &'static [&'static str]| {
        let fixture = Arc::clone(&fixture);
        let name = format!("dig_through_the_proxy_gets_what_the_upstream_has {}", way.join(" "));
        Trial::ignorable_test(name.trim_end(), move || match &*fixture {
            Some(fixture) => fixture.compare(way).map(|()| Completion::Completed),
            None => Ok(Completion::ignored_with(
                "dig is not installed; it is in the Debian package bind9-dnsutils",
            )),
        })
    };
    libtest_mimic::run(&arguments, WAYS.into_iter().map(trial).collect()).exit_code()
}

/// A cluster DNS, and a proxy in front of it.
struct Fixture {
    /// Keeps both sockets served.
    _runtime: Runtime,
    upstream: ClusterDns,
    proxy: Proxy,
}

impl Fixture {
    /// `None` when dig is not installed.
    fn prepare() -> Result<Option<Self>, Failure> {
        if Command::new("dig").arg("-v").stdout(Stdio::null()).stderr(Stdio::null()).status().is_err() {
            return Ok(None);
        }
        let sidecar = Programs::build_sidecar()?;
        let runtime = Runtime::new().with_context("starting a tokio runtime")?;
        let upstream = runtime.block_on(ClusterDns::start(World::example(), FREE))?;
        let proxy = runtime.block_on(Proxy::start(&sidecar, upstream.address(), &[]))?;
        Ok(Some(Self { _runtime: runtime, upstream, proxy }))
    }

    /// Sends every question with these flags to both, and compares the answers.
    fn compare(&self, way: &[&str]) -> Result<(), Failed> {
        for (name, kind) in QUESTIONS {
            let direct = dig(self.upstream.address().port(), name, kind, way)?;
            let proxied = dig(self.proxy.dns.port(), name, kind, way)?;
            if direct.is_empty() || direct != proxied {
                let asked = format!("dig {name} {kind} {}", way.join(" "));
                return Err(
                    format!("{asked}\n--- directly\n{direct}\n--- through the proxy\n{proxied}").into()
                );
            }
        }
        Ok(())
    }
}

/// The output of dig without the parts that may differ: ids, times, TTLs (a cache decreases them), the order
/// of records (servers rotate them), the EDNS size (it applies to one hop).
fn dig(port: u16, name: &str, kind: &str, way: &[&str]) -> Result<String, Failed> {
    let port = port.to_string();
    let output = Command::new("dig")
        .args(["@127.0.0.1", "-p", &port, "+tries=1", "+timeout=10"])
        .args(["+nostats", "+nocmd", "+nocookie", "+nottlid"])
        .args(way)
        .args([name, kind])
        .output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let mut lines: Vec<_> = text
        .lines()
        .filter(|line| !line.starts_with(";; Got answer") && !line.contains("EDNS:") && !line.is_empty())
        .map(|line| line.split_once(", id: ").map_or(line, |(before, _)| before).to_owned())
        .collect();
    lines.sort();
    Ok(lines.join("\n"))
}
