//! Runs the commands of the documents for a cluster as a reader would: page by page in the order of
//! docs/README.md, block by block with `sh -eu`. The directory has links to all files in the root of the
//! repository.
//!
//! A failed block does not end the run: all blocks are run, and all failures are reported. Images of busybox
//! are replaced by the client's image ([`Libc::image`]), which has busybox and needs no Internet.

use std::env;
use std::fs::read_dir;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Duration;

use podlocal_harness::cluster::client::Libc;
use podlocal_harness::cluster::{kubectl, product};
use podlocal_harness::command;
use podlocal_harness::failure::{Failure, WithContext as _};
use podlocal_harness::repository::root;
use podlocal_tests::documents::{Document, Kind};
use tokio::process::Command;
use tokio::time::timeout;

use crate::check;
use crate::runner::Context;

/// The namespaces that the pages use. The pages assume that `my-jobs` exists; the example creates its own
/// namespace.
const NAMESPACES: [&str; 2] = ["my-jobs", "podlocal-dns-example"];

/// The overlays that the pages install instead of `manifests/base`.
const OVERLAYS: [&str; 2] = ["manifests/overlays/shared-daemonset", "manifests/overlays/shared-autoscaling"];

/// The time-out of one block; some blocks wait for a rollout of the webhook.
const LONGEST: Duration = Duration::from_secs(120);

pub(crate) async fn commands_of_the_documents_for_a_cluster_run(context: Context) -> Result<(), Failure> {
    let [jobs, example] = NAMESPACES;
    let existing =
        kubectl(&["get", "namespace", jobs, example, "--ignore-not-found", "--output=name"]).await?;
    if !existing.is_empty() {
        return Err(Failure::new(format!(
            "the documents use namespaces that exist already, and that this test would delete; delete them first: {existing}"
        )));
    }
    kubectl(&["create", "namespace", jobs]).await?;
    let outcome = run_all().await;
    kubectl(&["delete", "namespace", jobs, example, "--ignore-not-found", "--wait=false"]).await?;
    for overlay in OVERLAYS {
        kubectl(&["delete", "-k", overlay, "--ignore-not-found", "--wait=false"]).await?;
    }
    product::install(&context.cluster).await?;
    let failures = outcome?;
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    Ok(())
}

/// Runs every block, and returns one text for each failure.
async fn run_all() -> Result<Vec<String>, Failure> {
    let folder = tempfile::tempdir().with_context("creating a directory")?;
    for entry in read_dir(root()).with_context("reading the root of the repository")?.flatten() {
        let link = folder.path().join(entry.file_name());
        symlink(entry.path(), &link).with_context(|| format!("linking {}", link.display()))?;
    }
    let mut failures = Vec::new();
    for document in Document::in_reading_order(Document::all()?) {
        for block in document.blocks_of(|kind| *kind == Kind::Cluster) {
            if let Err(failure) = run(&block.text, folder.path()).await {
                failures.push(format!("{}:{}: {failure}", document.path, block.line));
            }
        }
    }
    Ok(failures)
}

async fn run(block: &str, folder: &Path) -> Result<(), Failure> {
    let block = block.replace("docker.io/library/busybox:1.37", &Libc::Musl.image());
    let program = check::program()?;
    let own = program.parent().map(Path::to_owned);
    let path = env::var_os("PATH").unwrap_or_default();
    let path = env::join_paths(own.into_iter().chain(env::split_paths(&path))).with_context("making PATH")?;
    let mut shell = Command::new("sh");
    shell.args(["-euc", &block]).current_dir(folder).env("PATH", path);
    timeout(LONGEST, command::run(shell, ""))
        .await
        .with_context(|| format!("{block}within {LONGEST:?}"))?
        .map(drop)
}
