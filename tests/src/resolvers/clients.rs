//! The resolvers: how each is built, called and understood.

use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::questions::Kind;
use crate::failure::{Failure, Tried};
use crate::pod::Executed;
use crate::programs::target_directory;

/// A resolver that programs use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are the resolvers' own")]
pub enum Client {
    Glibc,
    Getent,
    Musl,
    Go,
    NodeLookup,
    NodeResolve,
    Java,
    Python,
    Dig,
    Busybox,
}

/// What a client got.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Each once, in order, in lower case, names without the final dot.
    Found(Vec<String>),
    /// That there is none.
    Missing,
    /// Nothing that tells.
    Failed(String),
}

impl Client {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Glibc,
        Self::Getent,
        Self::Musl,
        Self::Go,
        Self::NodeLookup,
        Self::NodeResolve,
        Self::Java,
        Self::Python,
        Self::Dig,
        Self::Busybox,
    ];

    /// What people call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Glibc => "glibc",
            Self::Getent => "getent",
            Self::Musl => "musl",
            Self::Go => "Go",
            Self::NodeLookup => "Node lookup",
            Self::NodeResolve => "Node resolve",
            Self::Java => "Java",
            Self::Python => "Python",
            Self::Dig => "dig",
            Self::Busybox => "busybox",
        }
    }

    /// The program that it needs, and the package of Debian that has it.
    fn needs(self) -> (&'static str, &'static str) {
        match self {
            Self::Glibc => ("cc", "gcc"),
            Self::Getent => ("getent", "libc-bin"),
            Self::Musl => ("musl-gcc", "musl-tools"),
            Self::Go => ("go", "golang-go"),
            Self::NodeLookup | Self::NodeResolve => ("node", "nodejs"),
            Self::Java => ("javac", "default-jdk-headless"),
            Self::Python => ("python3", "python3"),
            Self::Dig => ("dig", "bind9-dnsutils"),
            Self::Busybox => ("busybox", "busybox"),
        }
    }

    /// Why it cannot be tried on this machine, if so.
    pub fn is_missing(self) -> Option<String> {
        let (program, package) = self.needs();
        let path = env::var_os("PATH").unwrap_or_default();
        let is_there = env::split_paths(&path).any(|directory| directory.join(program).is_file());
        (!is_there).then(|| format!("there is no {program}; install Debian's {package}"))
    }

    /// Builds its program, where it has one. To be called before the process enters a node.
    pub fn build(self) -> Result<(), Failure> {
        let out = directory()?;
        fs::create_dir_all(&out).tried(|| format!("making {}", out.display()))?;
        let mut command = Command::new(self.needs().0);
        match self {
            Self::Glibc => command.args(["-O2", "-o"]).arg(out.join("glibc")).arg(source("lookup.c")),
            Self::Musl => {
                command.args(["-static", "-O2", "-o"]).arg(out.join("musl")).arg(source("lookup.c"))
            }
            Self::Go => command
                .env("CGO_ENABLED", "0")
                .env("GOCACHE", out.join("go-cache"))
                .args(["build", "-o"])
                .arg(out.join("go"))
                .arg(source("lookup.go")),
            Self::Java => command.arg("-d").arg(&out).arg(source("Lookup.java")),
            _ => return Ok(()),
        };
        let output = command.output().tried(|| format!("running {}", self.needs().0))?;
        if output.status.success() {
            return Ok(());
        }
        Err(Failure::new(format!("{}: {}", self.needs().0, String::from_utf8_lossy(&output.stderr))))
    }

    /// The words that ask it; `None`: it has no way to.
    pub fn words(self, kind: Kind, name: &str) -> Result<Option<Vec<String>>, Failure> {
        let out = |name: &str| directory().map(|directory| directory.join(name).display().to_string());
        let script = |name: &str| source(name).display().to_string();
        let by_name = [kind.word().to_owned(), name.to_owned()];
        let libc_can = matches!(kind, Kind::Address | Kind::Ptr);
        let program: Vec<String> = match self {
            Self::Glibc if libc_can => vec![out("glibc")?],
            Self::Musl if libc_can => vec![out("musl")?],
            Self::Go => vec![out("go")?],
            // It starts sooner, and resolves as ever.
            Self::Java if libc_can => {
                ["java", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData", "-cp", &out("")?, "Lookup"]
                    .map(str::to_owned)
                    .into()
            }
            Self::NodeLookup if libc_can => vec!["node".into(), script("lookup.js"), "lookup".into()],
            Self::NodeResolve => vec!["node".into(), script("lookup.js"), "resolve".into()],
            Self::Python if libc_can => vec!["python3".into(), script("lookup.py")],
            Self::Getent if kind == Kind::Address => return Ok(Some(words(&["getent", "ahosts", name]))),
            Self::Getent if kind == Kind::Ptr => return Ok(Some(words(&["getent", "hosts", name]))),
            Self::Busybox if libc_can => return Ok(Some(words(&["busybox", "nslookup", name]))),
            Self::Dig => {
                let mut dig = words(&["dig", "+search", "+noall", "+comments", "+answer"]);
                dig.extend(match kind {
                    Kind::Address => words(&[name, "A", name, "AAAA"]),
                    Kind::Ptr => words(&["-x", name]),
                    Kind::Srv => words(&[name, "SRV"]),
                    Kind::Txt => words(&[name, "TXT"]),
                });
                return Ok(Some(dig));
            }
            _ => return Ok(None),
        };
        Ok(Some(program.into_iter().chain(by_name).collect()))
    }

    /// What its output says.
    pub fn read(self, kind: Kind, executed: &Executed) -> Answer {
        let output = &executed.output;
        let found: Vec<String> = match self {
            Self::Getent => {
                let column = usize::from(kind == Kind::Ptr);
                let fields = output.lines().filter_map(|line| line.split_whitespace().nth(column));
                fields.map(str::to_owned).collect()
            }
            Self::Dig => {
                let is_bad = |line: &&str| {
                    line.split_once("status: ").is_some_and(|(_, rest)| {
                        !rest.starts_with("NOERROR") && !rest.starts_with("NXDOMAIN")
                    }) || line.contains("timed out")
                };
                if let Some(line) = output.lines().find(is_bad) {
                    return Answer::Failed(line.to_owned());
                }
                output.lines().filter_map(|line| of_dig(kind, line)).collect()
            }
            Self::Busybox => of_busybox(kind, output),
            _ => match output.lines().next() {
                Some("missing") => Vec::new(),
                Some(line) if !line.starts_with("failed") => output.lines().map(str::to_owned).collect(),
                _ => return Answer::Failed(format!("{} {}", output.trim(), executed.error.trim())),
            },
        };
        let tidy = |line: String| match kind {
            // Java writes every group of an IPv6 address.
            Kind::Address => line.parse::<IpAddr>().map_or(line, |address| address.to_string()),
            Kind::Txt => line.replace(['"', ' '], ""),
            _ => line.trim_end_matches('.').to_ascii_lowercase(),
        };
        let found: BTreeSet<_> = found.into_iter().map(tidy).collect();
        if found.is_empty() { Answer::Missing } else { Answer::Found(found.into_iter().collect()) }
    }
}

/// A line of the answer section, without what is not of the type: `name ttl IN type data`.
fn of_dig(kind: Kind, line: &str) -> Option<String> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let data = |from: usize| fields.get(from..).map(|rest| rest.join(" "));
    match (kind, *fields.get(3)?) {
        _ if line.starts_with(';') => None,
        (Kind::Address, "A" | "AAAA") | (Kind::Ptr, "PTR") | (Kind::Txt, "TXT") => data(4),
        // Priority and weight are left out.
        (Kind::Srv, "SRV") => data(6),
        _ => None,
    }
}

/// What follows the block about the server.
fn of_busybox(kind: Kind, output: &str) -> Vec<String> {
    let answers = output.lines().skip_while(|line| !line.is_empty());
    let separator = if kind == Kind::Ptr { "name = " } else { "Address: " };
    answers.filter_map(|line| line.split_once(separator)).map(|(_, data)| data.trim().to_owned()).collect()
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

fn source(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("clients").join(name)
}

/// Where what is built stands.
fn directory() -> Result<PathBuf, Failure> {
    target_directory().map(|target| target.join("resolvers"))
}
