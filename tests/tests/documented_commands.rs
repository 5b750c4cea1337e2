//! The commands of the Markdown files, run as a reader would: block by block, from the root of the repository, with our
//! programs on the path. What a document says that they print, they print. `UPDATE=1` writes it anew.
//!
//! They run on a node (`testbed`), so that fixed ports disturb nobody, and what a block leaves behind is gone with it.

use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};
use std::sync::Arc;
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use podlocal_harness::repository::root;
use podlocal_tests::documents::command::{self, Seen};
use podlocal_tests::documents::{Block, Document, Kind};
use podlocal_tests::failure::{Failure, Tried};
use podlocal_tests::programs::Programs;
use podlocal_tests::testbed::{self, Test, Testbed};
use tokio::process::Command;
use tokio::sync::Mutex;

/// How long one block may take.
const LONGEST: Duration = Duration::from_secs(60);

/// Tools that blocks call, with the Debian package that has them.
const TOOLS: [(&str, &str); 2] = [("dig", "bind9-dnsutils"), ("curl", "curl")];

fn main() -> ExitCode {
    let documents = match Document::all() {
        Ok(documents) => documents,
        Err(failure) => {
            eprintln!("the tests cannot run: {failure}");
            return ExitCode::FAILURE;
        }
    };
    // One page at a time: all of them may use the same ports.
    let turn = Arc::new(Mutex::new(()));
    let mut tests = Vec::new();
    for document in documents.into_iter().map(Arc::new) {
        let (looked_at, path) = (Arc::clone(&document), document.path.clone());
        tests.push(Test::new(
            format!("{path} names programs and flags that there are"),
            None,
            move |testbed| {
                let document = Arc::clone(&looked_at);
                Box::pin(async move { look(&document, &testbed).await })
            },
        ));
        if document.blocks_of(|kind| *kind == Kind::Run).next().is_some() {
            let (turn, missing) = (Arc::clone(&turn), missing_tool(&document));
            tests.push(Test::new(format!("{path} can be followed"), missing, move |testbed| {
                let (document, turn) = (Arc::clone(&document), Arc::clone(&turn));
                Box::pin(async move {
                    let _turn = turn.lock().await;
                    follow(&document, &testbed).await
                })
            }));
        }
    }
    testbed::run(tests)
}

/// Why the document cannot be followed here.
fn missing_tool(document: &Document) -> Option<String> {
    let text: String =
        document.blocks_of(|kind| *kind == Kind::Run).map(|block| block.text.as_str()).collect();
    let path = env::var_os("PATH").unwrap_or_default();
    let is_installed = |tool: &str| env::split_paths(&path).any(|folder| folder.join(tool).exists());
    let missing = TOOLS
        .iter()
        .find(|(tool, _)| text.split_whitespace().any(|word| word == *tool) && !is_installed(tool));
    missing.map(|(tool, package)| format!("there is no {tool}; install Debian's {package}"))
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
                printed = run(block, &directory, &path, &mut left).await.tried(|| place)?;
            }
            Ok(Kind::Output) if printed != block.text => differs(document, index, &printed)?,
            _ => {}
        }
    }
    Ok(())
}

/// The process groups of blocks: what they leave running is there for the blocks after them, and ends with the page.
#[derive(Default)]
struct Left(Vec<Pid>);

impl Drop for Left {
    fn drop(&mut self) {
        for group in &self.0 {
            // Most have nobody left.
            let _ = killpg(*group, Signal::SIGKILL);
        }
    }
}

/// What a block prints on standard output.
async fn run(block: &Block, directory: &Path, path: &str, left: &mut Left) -> Result<String, Failure> {
    let mut shell = Command::new("sh");
    shell.args(["-euc", &block.text]).current_dir(directory).env("PATH", path).env_remove("KUBECONFIG");
    shell.stdin(Stdio::null()).process_group(0);
    // Files, not pipes: a program that a block leaves running would keep a pipe open.
    let (out, error) = (directory.join(".out"), directory.join(".error"));
    let file = |path: &PathBuf| fs::File::create(path).tried(|| format!("making {}", path.display()));
    shell.stdout(file(&out)?).stderr(file(&error)?);
    let mut child = shell.spawn().tried(|| "starting sh".to_owned())?;
    left.0.extend(child.id().and_then(|id| id.try_into().ok()).map(Pid::from_raw));
    let ended = tokio::time::timeout(LONGEST, child.wait()).await;
    let (out, error) =
        (fs::read_to_string(out).unwrap_or_default(), fs::read_to_string(error).unwrap_or_default());
    let what = match ended {
        Ok(Ok(status)) if status.success() => return Ok(out),
        Ok(Ok(status)) => format!("ended with {status}"),
        Ok(Err(failure)) => failure.to_string(),
        Err(_) => format!("was not done after {} s", LONGEST.as_secs()),
    };
    Err(Failure::new(format!(
        "the block {what}\n{}--- standard output\n{out}--- standard error\n{error}",
        block.text
    )))
}

/// The document says something else than what was printed: corrects it, or says so.
fn differs(document: &Document, index: usize, printed: &str) -> Result<(), Failure> {
    if env::var_os("UPDATE").is_none() {
        return Err(Failure::new(format!(
            "{}:{} is not what the commands before it print; UPDATE=1 writes it anew. They print:\n{printed}",
            document.path, document.blocks[index].line
        )));
    }
    let file = root().join(&document.path);
    let text = fs::read_to_string(&file).tried(|| format!("reading {}", document.path))?;
    // Blocks before it may have changed its place.
    let block = &Document::of(&document.path, &text).blocks[index];
    let mut lines: Vec<_> = text.split_inclusive('\n').collect();
    let fence = lines[block.line - 1];
    let indentation = &fence[..fence.len() - fence.trim_start().len()];
    let printed: Vec<_> = printed.lines().map(|line| format!("{indentation}{line}\n")).collect();
    let old = block.line..block.line + block.text.lines().count();
    lines.splice(old, printed.iter().map(String::as_str));
    fs::write(&file, lines.concat()).tried(|| format!("writing {}", document.path))
}

/// The top of the repository, so that what a block writes into its directory is not written there.
fn link_repository(directory: &Path) -> Result<(), Failure> {
    let root = root().canonicalize().tried(|| "finding the repository".to_owned())?;
    for entry in fs::read_dir(&root).tried(|| "reading the repository".to_owned())? {
        let entry = entry.tried(|| "reading the repository".to_owned())?;
        if entry.file_name() != "target" && entry.file_name() != ".git" {
            let link = directory.join(entry.file_name());
            symlink(entry.path(), &link).tried(|| format!("linking {}", link.display()))?;
        }
    }
    Ok(())
}

/// A path on which our programs come first: those under test, and those of the tests.
fn path_with(programs: &Programs, directory: &Path) -> Result<String, Failure> {
    let of_tests = Path::new(env!("CARGO_BIN_EXE_cluster-dns"));
    for (name, program) in [
        ("podlocal-sidecar", &*programs.sidecar),
        ("podlocal-webhook", &*programs.webhook),
        ("cluster-dns", of_tests),
    ] {
        let link = directory.join(name);
        if !link.exists() {
            symlink(program, &link).tried(|| format!("linking {}", link.display()))?;
        }
    }
    let path = env::var("PATH").unwrap_or_default();
    Ok(format!("{}:{path}", directory.display()))
}

/// Looks at the commands that are not run here: those that take minutes, and those inside of sentences.
async fn look(document: &Document, testbed: &Testbed) -> Result<(), Failure> {
    let mut mistakes = Vec::new();
    let mut asked = BTreeSet::new();
    let long = document.blocks_of(|kind| *kind == Kind::Long);
    let long =
        long.flat_map(|block| command::lines(&block.text).into_iter().map(|words| (block.line, words, true)));
    let spans = document.spans.iter().map(|(line, code)| (*line, command::words(code), false));
    for (line, words, must_be_known) in long.chain(spans) {
        let is_setting_up = words.first().is_some_and(|word| word == "export");
        let mistake = match command::look(&words) {
            Ok(Some(seen)) if asked.insert(format!("{seen:?}")) => ask(&seen, testbed).await.err(),
            Ok(None) if must_be_known && !is_setting_up => {
                Some(format!("{}: not known here", words.join(" ")))
            }
            Ok(_) => None,
            Err(mistake) => Some(mistake),
        };
        mistakes.extend(mistake.map(|mistake| format!("{}:{line}: {mistake}", document.path)));
    }
    if mistakes.is_empty() { Ok(()) } else { Err(Failure::new(mistakes.join("\n"))) }
}

/// Whether a program takes the flags.
async fn ask(seen: &Seen, testbed: &Testbed) -> Result<(), String> {
    match seen {
        Seen::Nothing => Ok(()),
        Seen::Program(name, arguments) => {
            help(&Path::new(env!("CARGO_BIN_EXE_gang")).with_file_name(name), arguments).await.map(drop)
        }
        Seen::Flags { program, command, flags } => {
            let of_sidecar = program == "podlocal-sidecar";
            let path = if of_sidecar { &testbed.programs.sidecar } else { &testbed.programs.webhook };
            let mut named = help(path, &[]).await?;
            if let Some(command) = command {
                named += &help(path, std::slice::from_ref(command)).await?;
            }
            let is_named =
                |flag: &&String| named.split([' ', '\n', ',', '=', '[']).any(|word| word == flag.as_str());
            match flags.iter().find(|flag| !is_named(flag)) {
                Some(flag) => Err(format!("the help of {program} does not name {flag}")),
                None => Ok(()),
            }
        }
    }
}

/// What a program prints when it is asked for help behind the arguments; or its complaint about them.
async fn help(program: &Path, arguments: &[String]) -> Result<String, String> {
    let output = Command::new(program).args(arguments).arg("--help").output().await;
    let output = output.map_err(|error| format!("{}: {error}", program.display()))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(format!("{}: {}", program.display(), String::from_utf8_lossy(&output.stderr)))
}
