//! The output of the commands `check` and `inject` for documents.
//!
//! Each `tests/commands/*.txt` is the transcript of a shell session in that folder, with standard error and
//! the exit codes that are not 0. `$SCRATCH` is an empty folder:
//!
//! ```text
//!   ## what it shows
//!   $ a command
//!   > its next line
//!   the output
//! ```
//!
//! `UPDATE=1 cargo test -p podlocal-webhook --test commands` rewrites the output; review the diff.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

#[test]
fn commands_print_what_the_transcripts_show() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/commands");
    let entries = std::fs::read_dir(&folder).expect("the folder");
    let files = entries.map(|entry| entry.expect("an entry").path());
    let files: Vec<_> = files.filter(|file| file.extension().is_some_and(|kind| kind == "txt")).collect();
    assert!(!files.is_empty());
    for file in files {
        let expected = std::fs::read_to_string(&file).expect("reads");
        let found = run_again(&expected, &folder);
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(&file, &found).expect("writes");
        } else if expected != found {
            let pairs = expected.lines().zip(found.lines());
            let line = pairs.take_while(|(expected, found)| expected == found).count();
            let shown: Vec<_> = found.lines().skip(line.saturating_sub(3)).take(20).collect();
            let (file, shown) = (file.display(), shown.join("\n"));
            panic!("{file}: line {} differs; near it, the output is\n{shown}", line + 1);
        }
    }
}

/// The transcript of the same commands.
fn run_again(transcript: &str, folder: &Path) -> String {
    let scratch = tempfile::tempdir().expect("a folder");
    let mut found = String::new();
    let mut lines = transcript.lines().peekable();
    while let Some(line) = lines.next() {
        if line.starts_with("## ") {
            let gap = if found.is_empty() { "" } else { "\n" };
            found.push_str(&format!("{gap}{line}\n"));
        } else if let Some(first) = line.strip_prefix("$ ") {
            let mut command = first.to_owned();
            found.push_str(&format!("{line}\n"));
            while let Some(line) = lines.next_if(|line| line.starts_with("> ")) {
                command.push_str(&format!("\n{}", &line[2..]));
                found.push_str(&format!("{line}\n"));
            }
            found.push_str(&output(&command, folder, scratch.path()));
        }
    }
    found
}

/// Standard output and standard error, in the order in which they were written, and the exit code.
fn output(command: &str, folder: &Path, scratch: &Path) -> String {
    let program = PathBuf::from(env!("CARGO_BIN_EXE_podlocal-webhook"));
    let mut paths = vec![program.parent().expect("a folder").to_owned()];
    paths.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()));
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("exec 2>&1\n{command}")]).current_dir(folder).stdin(Stdio::null());
    shell.env("PATH", std::env::join_paths(paths).expect("a path"));
    shell.env_remove("KUBERNETES_SERVICE_HOST").env_remove("KUBECONFIG").env("SCRATCH", scratch);
    let output = shell.output().expect("sh runs");
    let mut text = String::from_utf8(output.stdout).expect("UTF-8");
    if !text.is_empty() && !text.ends_with('\n') {
        text.push_str("\n[no line break at the end]\n");
    }
    match output.status.code() {
        Some(0) => text,
        code => format!("{text}[exit code {}]\n", code.expect("no signal")),
    }
}
