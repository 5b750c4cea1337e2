//! `podlocal-inspect` with the proxy and a model of cluster DNS: what people see of real lookups.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Output;

use podlocal_harness::failure::Failure;
use podlocal_harness::loopback::proxy::Proxy;
use podlocal_harness::loopback::tier::FREE;
use podlocal_harness::model::cluster_dns::{ClusterDns, World};
use podlocal_harness::programs::{self, Programs};
use podlocal_settings::table;
use tokio::process::Command;

/// A proxy in front of cluster DNS, and the program.
struct Stage {
    dns: ClusterDns,
    proxy: Proxy,
    program: PathBuf,
}

impl Stage {
    async fn start() -> Result<Self, Failure> {
        let (sidecar, program) = (Programs::build_sidecar()?, programs::build(programs::INSPECT)?);
        let dns = ClusterDns::start(World::example(), FREE).await?;
        let namespace = table::NAMESPACE.flag();
        let proxy = Proxy::start(&sidecar, dns.address(), &[&namespace, "default"]).await?;
        Ok(Self { dns, proxy, program })
    }

    async fn run(&self, arguments: &[&str]) -> (String, Output) {
        run(&self.program, self.proxy.admin, arguments).await
    }
}

async fn run(program: &Path, admin: SocketAddr, arguments: &[&str]) -> (String, Output) {
    let port = admin.port().to_string();
    let mut command = Command::new(program);
    command.args(arguments).args([&table::ADMIN_PORT.flag(), &port]).env_clear();
    let output = command.output().await.expect("runs");
    (String::from_utf8_lossy(&output.stdout).into_owned(), output)
}

fn assert_has(page: &str, parts: &[&str]) {
    for part in parts {
        assert!(page.contains(part), "{part:?} is missing in\n{page}");
    }
}

#[tokio::test]
async fn a_lookup_shows_the_way_of_each_answer() -> Result<(), Failure> {
    let stage = Stage::start().await?;
    let (page, output) = stage.run(&["lookup", "api.example.com", "A", "--trace"]).await;
    let server = stage.dns.address();
    let sent = format!("queries {server} over UDP for api.example.com. A\n");
    assert_has(
        &page,
        &[
            "note: ",
            "ndots 2; from the settings of the proxy)\n",
            &sent,
            "outcome: miss\n",
            "api.example.com: found as api.example.com. after 1 candidate, 1 query, ",
        ],
    );
    assert_eq!(output.status.code(), Some(0), "{page}");
    let (page, _) = stage.run(&["lookup", "api.example.com", "A"]).await;
    assert_has(&page, &["   A     NOERROR   cache, "]);
    let (page, output) = stage.run(&["lookup", "a.b.c.svc.cluster.local.cluster.local"]).await;
    assert_has(&page, &["NXDOMAIN  rule R1: ", "does not exist (EAI_NONAME)"]);
    assert_eq!(output.status.code(), Some(2), "{page}");
    Ok(())
}

#[tokio::test]
async fn stats_show_what_the_proxy_has_done() -> Result<(), Failure> {
    let stage = Stage::start().await?;
    let (page, output) = stage.run(&["stats", "--names"]).await;
    assert_has(&page, &["podlocal   sidecar ", "hit rate   no queries yet\n", "none yet: run stats again"]);
    assert_eq!(output.status.code(), Some(0), "{page}");
    for _ in 0..2 {
        stage.run(&["lookup", "kubernetes.default.svc.cluster.local.", "A"]).await;
    }
    let (page, _) = stage.run(&["stats", "--names"]).await;
    assert_has(
        &page,
        &[
            "queries    2\n",
            "  hit ",
            "memory ",
            "available; ",
            " 2  kubernetes.default.svc.cluster.local.\n",
        ],
    );
    Ok(())
}
