//! Checks command lines of documents without running them. Pure, except that it tests whether files exist.
//!
//! | command | must exist |
//! |---|---|
//! | `cargo run --bin NAME -- FLAGS`, `NAME FLAGS` of a program of the tests | the program takes the flags ([`FlagCheck::Program`]) |
//! | `podlocal-sidecar`, `podlocal-inspect`, `podlocal-webhook` with flags | the program's help or its command's names the flags ([`FlagCheck::Flags`]) |
//! | `cargo` with `--test`, `--bench`, `--example`, `--bin`, `--package` or `--manifest-path` | the file, the program, the package |
//! | `just RECIPE`, `eval "$(just RECIPE)"` | the recipe |
//! | `.ci/NAME` | the file |
//! | `kubectl ... -k FOLDER` | the folder |

use std::path::Path;

use super::root;

/// The check that needs to run a program; everything else about the command has been checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FlagCheck {
    /// No further check.
    Nothing,
    /// A program of this crate: it must accept these arguments, followed by `--help`.
    Program(String, Vec<String>),
    /// A program under test: its `--help`, or that of its subcommand, must name these flags.
    Flags {
        /// Its name.
        program: String,
        /// The subcommand, if there is one.
        command: Option<String>,
        /// The flags, without values.
        flags: Vec<String>,
    },
}

/// The programs under test.
const UNDER_TEST: [&str; 3] = ["podlocal-sidecar", "podlocal-inspect", "podlocal-webhook"];

/// The commands of a block, one per line: continued lines are joined, comments are removed.
pub fn lines(text: &str) -> Vec<Vec<String>> {
    let joined = text.replace("\\\n", " ");
    let commands = joined.lines().map(words);
    commands.filter(|words| !words.is_empty()).collect()
}

/// The words of a command without its comment.
pub fn words(line: &str) -> Vec<String> {
    line.split_whitespace().take_while(|word| !word.starts_with('#')).map(str::to_owned).collect()
}

/// Checks one command. `None`: the command is not in the table.
pub fn check_command(words: &[String]) -> Result<Option<FlagCheck>, String> {
    let is_assignment = |word: &&String| word.contains('=') && !word.starts_with('-');
    let words: Vec<&str> = words.iter().skip_while(is_assignment).map(String::as_str).collect();
    let Some((program, rest)) = words.split_first() else { return Ok(None) };
    let of_rest = || rest.iter().map(|word| (*word).to_owned());
    match *program {
        "cargo" => cargo(rest),
        "just" => rest.first().map_or(Ok(Some(FlagCheck::Nothing)), |recipe| {
            let text = std::fs::read_to_string(root().join("justfile")).unwrap_or_default();
            let is_there =
                text.lines().any(|line| line.split([' ', ':']).next() == Some(recipe) && line.ends_with(':'));
            if is_there { Ok(Some(FlagCheck::Nothing)) } else { Err(format!("the justfile has no {recipe}")) }
        }),
        "kubectl" => {
            let folders = rest.iter().zip(rest.iter().skip(1)).filter(|(flag, _)| **flag == "-k");
            for (_, folder) in folders {
                exists(&root().join(folder).join("kustomization.yaml"))?;
            }
            Ok(Some(FlagCheck::Nothing))
        }
        program if UNDER_TEST.contains(&program) => {
            let flags = of_rest().filter(|word| word.starts_with("--") && word.len() > 2);
            let names = flags.map(|flag| flag.split('=').next().unwrap_or_default().to_owned());
            let names = names.filter(|name| name != "--help" && name != "--version");
            let command = rest.first().filter(|word| !word.starts_with('-')).map(|word| (*word).to_owned());
            Ok(Some(FlagCheck::Flags { program: program.to_owned(), command, flags: names.collect() }))
        }
        // The output of a command is run: eval "$(just cluster env)".
        "eval" => {
            check_command(&self::words(rest.join(" ").trim_start_matches("\"$(").trim_end_matches(")\"")))
        }
        path if path.starts_with(".ci/") => exists(&root().join(path)).map(|()| Some(FlagCheck::Nothing)),
        // `lookup` is also a command of `podlocal-inspect`.
        name if is_program_of_tests(name)
            && name != "lookup"
            && rest.first().is_some_and(|word| word.starts_with("--")) =>
        {
            Ok(Some(FlagCheck::Program(name.to_owned(), of_rest().collect())))
        }
        _ => Ok(None),
    }
}

/// The folder of a package; most are named after it.
fn folder_of(package: &str) -> &str {
    if package == "podlocal-cluster-tests" {
        return "tests/cluster";
    }
    package.strip_prefix("podlocal-").unwrap_or(package)
}

/// The lines of a manifest with the file of a test.
fn with_a_path(test: &str) -> String {
    format!("[[test]]\nname = \"{test}\"\npath = ")
}

fn cargo(words: &[&str]) -> Result<Option<FlagCheck>, String> {
    let ours: Vec<_> = words.iter().copied().take_while(|word| *word != "--").collect();
    let theirs = words.iter().skip(ours.len() + 1).map(|word| (*word).to_owned()).collect();
    let values = |long: &'static str, short: &'static str| {
        let pairs = ours.iter().zip(ours.iter().skip(1));
        pairs.filter(move |(flag, _)| **flag == long || **flag == short).map(|(_, value)| *value)
    };
    let mut package = None;
    for name in values("--package", "-p") {
        let folder = folder_of(name);
        exists(&root().join(folder).join("Cargo.toml"))?;
        package = Some(folder);
    }
    let manifest = std::fs::read_to_string(root().join(package.unwrap_or("tests")).join("Cargo.toml"));
    let targets = manifest.unwrap_or_default();
    for (flag, kind) in [("--test", "tests"), ("--bench", "benches"), ("--example", "examples")] {
        for name in values(flag, "").filter(|name| !targets.contains(&with_a_path(name))) {
            let folder = root().join(package.unwrap_or("tests")).join(kind);
            // One file, or a folder of them.
            let folded = folder.join(name).join("main.rs");
            if !folded.exists() {
                exists(&folder.join(format!("{name}.rs")))?;
            }
        }
    }
    let is_named = |name: &str| targets.contains(&format!("[[bin]]\nname = \"{name}\"\n"));
    let is_program = |name: &str| is_program_of_tests(name) || UNDER_TEST.contains(&name) || is_named(name);
    if let Some(name) = values("--bin", "").find(|name| !is_program(name)) {
        return Err(format!("there is no program {name}"));
    }
    for file in values("--manifest-path", "") {
        exists(&root().join(file))?;
    }
    Ok(match (ours.first(), values("--bin", "").next()) {
        (Some(&"run"), Some(name)) if is_program_of_tests(name) => {
            Some(FlagCheck::Program(name.to_owned(), theirs))
        }
        (Some(&("run" | "build" | "test" | "bench" | "doc" | "update")), _) => Some(FlagCheck::Nothing),
        _ => None,
    })
}

fn is_program_of_tests(name: &str) -> bool {
    let is_plain = name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-');
    let is_in = |folder: &str| root().join(folder).join(format!("{name}.rs")).exists();
    is_plain && ["harness/src/bin", "experiments/src/bin", "tests/src/bin"].into_iter().any(is_in)
}

fn exists(path: &Path) -> Result<(), String> {
    if path.exists() { Ok(()) } else { Err(format!("there is no {}", path.display())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(line: &str) -> Result<Option<FlagCheck>, String> {
        check_command(&words(line))
    }

    #[test]
    fn lines_are_joined_and_comments_are_gone() {
        let text = "a --b \\\n  c # why\n\n# nothing\nd\n";
        assert_eq!(lines(text), [vec!["a", "--b", "c"], vec!["d"]]);
    }

    #[test]
    fn everything_that_a_command_names_must_exist() {
        for line in [
            "cargo test --workspace",
            "cargo test -p podlocal-tests --test pods",
            "cargo bench --package podlocal-sidecar --bench hits",
            "cargo run -q -p podlocal-settings --example settings-page",
            "cargo run --package podlocal-release --example pages -- target/pages",
            "cargo run --package podlocal-release --bin notices",
            "cargo test -p podlocal-cluster-tests --test cluster",
            "just step lint",
            "eval \"$(just cluster env)\"",
            "KUBECONFIG=x .ci/run cluster",
            "kubectl apply -k manifests/base",
        ] {
            assert_eq!(checked(line), Ok(Some(FlagCheck::Nothing)), "{line}");
        }
        for line in [
            "cargo test -p podlocal-tests --test gone",
            "cargo bench --package podlocal-gone",
            "cargo run --release --bin gone",
            "cargo run --package podlocal-release --bin gone",
            "cargo run --package podlocal-release --example gone",
            "cargo build --bin podlocal-sidecar --bin gone",
            "cargo test -p podlocal-cluster-tests --test gone",
            "just gone",
            "eval \"$(just gone env)\"",
            ".ci/gone",
            "kubectl apply -k manifests/gone",
        ] {
            assert!(checked(line).is_err(), "{line}");
        }
        for line in ["curl -s localhost", "cargo frobnicate"] {
            assert_eq!(checked(line), Ok(None), "{line}");
        }
    }

    #[test]
    fn programs_are_to_be_asked_about_their_flags() {
        let asked = |name: &str, arguments: &[&str]| {
            Ok(Some(FlagCheck::Program(
                name.to_owned(),
                arguments.iter().map(|word| (*word).to_owned()).collect(),
            )))
        };
        assert_eq!(
            checked("cargo run --release --bin gang -- --pods 5 # few"),
            asked("gang", &["--pods", "5"])
        );
        assert_eq!(checked("gang-simulation --pods 5"), asked("gang-simulation", &["--pods", "5"]));
        let flags = |command: Option<&str>, flag: &str| {
            let (program, command) = ("podlocal-sidecar".to_owned(), command.map(str::to_owned));
            Ok(Some(FlagCheck::Flags { program, command, flags: vec![flag.to_owned()] }))
        };
        assert_eq!(checked("podlocal-sidecar --listen=127.0.0.1:5380"), flags(None, "--listen"));
        assert_eq!(checked("podlocal-sidecar await --admin-port 1"), flags(Some("await"), "--admin-port"));
    }
}
