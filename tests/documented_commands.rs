//! Runs the commands of the Markdown files as a reader would: block by block, from the root of the
//! repository, with the programs of the workspace on the path. The output must match the document; `UPDATE=1`
//! updates the document.
//!
//! They run on a model of a node (`testbed`), so that fixed ports cause no conflicts, and processes that a
//! block leaves behind end with the node.

use std::env;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};
use std::sync::Arc;
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use podlocal_harness::failure::{Failure, WithContext};
use podlocal_harness::model::node;
use podlocal_harness::model::testbed::{self, Test, Testbed};
use podlocal_harness::programs::{self, Programs};
use podlocal_harness::repository::root;
use podlocal_tests::documents::{Block, Document, Kind};
use tokio::process::Command;
use tokio::sync::Mutex;

/// The time-out of one block.
const LONGEST: Duration = Duration::from_secs(60);

/// Tools that blocks call, with their Debian packages.
const TOOLS: [(&str, &str); 2] = [("dig", "bind9-dnsutils"), ("curl", "curl")];

fn main() -> ExitCode {
    let documents = match Document::all() {
        Ok(documents) => documents,
        Err(failure) => {
            eprintln!("the tests cannot run: {failure}");
            return ExitCode::FAILURE;
        }
    };
    // Outside the node, where cargo can work.
    if !testbed::is_listing()
        && !node::is_inside()
        && let Err(failure) = programs::build(programs::INSPECT)
    {
        eprintln!("the tests cannot run: {failure}");
        return ExitCode::FAILURE;
    }
    // One page runs at a time, because all pages may use the same ports.
    let turn = Arc::new(Mutex::new(()));
    let mut tests = Vec::new();
    for document in documents {
        if document.blocks_of(|kind| *kind == Kind::Run).next().is_none() {
            continue;
        }
        let (turn, missing, document) = (Arc::clone(&turn), missing_tool(&document), Arc::new(document));
        let name = format!("{} can be followed", document.path);
        tests.push(Test::new(name, missing, move |testbed| {
            let (document, turn) = (Arc::clone(&document), Arc::clone(&turn));
            Box::pin(async move {
                let _turn = turn.lock().await;
                follow(&document, &testbed).await
            })
        }));
    }
    testbed::run(tests)
}

/// The reason when the document cannot be followed on this machine.
fn missing_tool(document: &Document) -> Option<String> {
    let text: String =
        document.blocks_of(|kind| *kind == Kind::Run).map(|block| block.text.as_str()).collect();
    let is_used = |tool: &str| text.split_whitespace().any(|word| word == tool);
    TOOLS
        .iter()
        .filter(|(tool, _)| is_used(tool))
        .find_map(|(tool, package)| programs::missing(tool, package))
}

/// Runs the blocks of a document one after the other, in one directory.
async fn follow(document: &Document, testbed: &Testbed) -> Result<(), Failure> {
    let directory = testbed.node.directory(&document.path.replace(['/', '.'], "-"))?;
    link_repository(&directory)?;
    let path = path_with(&testbed.programs, &testbed.node.directory("documented-programs")?)?;
    let (mut printed, mut left) = (String::new(), Left::default());
    for (index, block) in document.blocks.iter().enumerate() {
        match &block.kind {
            Ok(Kind::Run) => {
                let place = format!("{}:{}", document.path, block.line);
                printed = run(block, &directory, &path, &mut left).await.with_context(|| place)?;
            }
            Ok(Kind::Output) if printed != block.text => differs(document, index, &printed)?,
            _ => {}
        }
    }
    Ok(())
}

/// The process groups of blocks: processes that a block leaves running are available to later blocks, and end
/// with the page.
#[derive(Default)]
struct Left(Vec<Pid>);

impl Drop for Left {
    fn drop(&mut self) {
        for group in &self.0 {
            // Most groups have no processes left.
            let _ = killpg(*group, Signal::SIGKILL);
        }
    }
}

/// Runs a block, and returns its standard output.
async fn run(block: &Block, directory: &Path, path: &str, left: &mut Left) -> Result<String, Failure> {
    let mut shell = Command::new("sh");
    shell.args(["-euc", &block.text]).current_dir(directory).env("PATH", path).env_remove("KUBECONFIG");
    shell.stdin(Stdio::null()).process_group(0);
    // Files, not pipes: a program that a block leaves running would keep a pipe open.
    let (out, error) = (directory.join(".out"), directory.join(".error"));
    let file = |path: &PathBuf| fs::File::create(path).with_context(|| format!("making {}", path.display()));
    shell.stdout(file(&out)?).stderr(file(&error)?);
    let mut child = shell.spawn().with_context(|| "starting sh".to_owned())?;
    left.0.extend(child.id().and_then(|id| id.try_into().ok()).map(Pid::from_raw));
    let ended = tokio::time::timeout(LONGEST, child.wait()).await;
    let (out, error) =
        (fs::read_to_string(out).unwrap_or_default(), fs::read_to_string(error).unwrap_or_default());
    let what = match ended {
        Ok(Ok(status)) if status.success() => return Ok(out),
        Ok(Ok(status)) => format!("ended with {status}"),
        Ok(Err(failure)) => failure.to_string(),
        Err(_) => format!("timed out after {} s", LONGEST.as_secs()),
    };
    Err(Failure::new(format!(
        "the block {what}\n{}--- standard output\n{out}--- standard error\n{error}",
        block.text
    )))
}

/// Handles output that differs from the document: updates the document, or returns an error.
fn differs(document: &Document, index: usize, printed: &str) -> Result<(), Failure> {
    if env::var_os("UPDATE").is_none() {
        return Err(Failure::new(format!(
            "{}:{} differs from the output of the commands before it; UPDATE=1 updates it. Their output:\n{printed}",
            document.path, document.blocks[index].line
        )));
    }
    let file = root().join(&document.path);
    let text = fs::read_to_string(&file).with_context(|| format!("reading {}", document.path))?;
    // Updates of earlier blocks may have moved it.
    let block = &Document::of(&document.path, &text).blocks[index];
    let mut lines: Vec<_> = text.split_inclusive('\n').collect();
    let fence = lines[block.line - 1];
    let indentation = &fence[..fence.len() - fence.trim_start().len()];
    let printed: Vec<_> = printed.lines().map(|line| format!("{indentation}{line}\n")).collect();
    let old = block.line..block.line + block.text.lines().count();
    lines.splice(old, printed.iter().map(String::as_str));
    fs::write(&file, lines.concat()).with_context(|| format!("writing {}", document.path))
}

/// Links the files in the root of the repository into a directory, so that a block does not write into the
/// repository.
fn link_repository(directory: &Path) -> Result<(), Failure> {
    let root = root().canonicalize().with_context(|| "finding the repository".to_owned())?;
    for entry in fs::read_dir(&root).with_context(|| "reading the repository".to_owned())? {
        let entry = entry.with_context(|| "reading the repository".to_owned())?;
        if entry.file_name() != "target" && entry.file_name() != ".git" {
            let link = directory.join(entry.file_name());
            symlink(entry.path(), &link).with_context(|| format!("linking {}", link.display()))?;
        }
    }
    Ok(())
}

/// A PATH with the programs of the workspace first: those under test, and those of the tests.
fn path_with(programs: &Programs, directory: &Path) -> Result<String, Failure> {
    let (inspect, cluster_dns) = (programs::program(programs::INSPECT)?, programs::program("cluster-dns")?);
    for (name, program) in [
        ("podlocal-sidecar", &*programs.sidecar),
        ("podlocal-inspect", &*inspect),
        ("podlocal-webhook", &*programs.webhook),
        ("cluster-dns", &*cluster_dns),
    ] {
        let link = directory.join(name);
        if !link.exists() {
            symlink(program, &link).with_context(|| format!("linking {}", link.display()))?;
        }
    }
    let path = env::var("PATH").unwrap_or_default();
    Ok(format!("{}:{path}", directory.display()))
}
