//! A model of cluster DNS for manual tests.

use std::net::SocketAddr;
use std::process::ExitCode;

use clap::Parser;
use podlocal_harness::failure::{Failure, WithContext};
use podlocal_harness::model::cluster_dns::{ClusterDns, World};

/// Serves a small example cluster with CoreDNS's zone semantics, and prints the received queries when it is
/// stopped.
///
/// Try: cluster-dns --listen 127.0.0.1:5300, and then
/// podlocal-sidecar --listen 127.0.0.1:5380 --upstream 127.0.0.1:5300
#[derive(Debug, Parser)]
struct Arguments {
    /// Listen address for UDP and TCP.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:5300")]
    listen: SocketAddr,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("cluster-dns: {failure}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> Result<(), Failure> {
    let dns = ClusterDns::start(World::example(), arguments.listen).await?;
    eprintln!("serving cluster.local and example.com on {}; stop with Ctrl-C", dns.address());
    tokio::signal::ctrl_c().await.with_context("waiting for Ctrl-C")?;
    println!("{}", dns.counts());
    Ok(())
}
