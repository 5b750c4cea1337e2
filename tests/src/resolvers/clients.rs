//! The resolvers: how each is built, called and parsed.

use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::mem;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use hickory_proto::rr::RecordType;

use super::questions::Kind;
use podlocal_harness::failure::{Failure, WithContext};
use podlocal_harness::model::pod::Executed;
use podlocal_harness::programs::target_directory;

/// The line after each answer.
const END: &str = "--";

/// A resolver that applications use.
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

/// The answer that a client got.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The values without duplicates, sorted, in lower case, names without the final dot.
    Found(Vec<String>),
    /// The name does not exist.
    Missing,
    /// The name exists without such records; not every resolver distinguishes this from [`Self::Missing`].
    Empty,
    /// A failure, with its description.
    Failed(String),
}

impl Client {
    /// All clients.
    pub const ALL: [Self; 10] = {
        use Client::{Busybox, Dig, Getent, Glibc, Go, Java, Musl, NodeLookup, NodeResolve, Python};
        [Glibc, Getent, Musl, Go, NodeLookup, NodeResolve, Java, Python, Dig, Busybox]
    };

    /// Its usual name, the program that it needs, and the Debian package with the program.
    fn described(self) -> [&'static str; 3] {
        match self {
            Self::Glibc => ["glibc", "cc", "gcc"],
            Self::Getent => ["getent", "getent", "libc-bin"],
            Self::Musl => ["musl", "musl-gcc", "musl-tools"],
            Self::Go => ["Go", "go", "golang-go"],
            Self::NodeLookup => ["Node lookup", "node", "nodejs"],
            Self::NodeResolve => ["Node resolve", "node", "nodejs"],
            Self::Java => ["Java", "javac", "default-jdk-headless"],
            Self::Python => ["Python", "python3", "python3"],
            Self::Dig => ["dig", "dig", "bind9-dnsutils"],
            Self::Busybox => ["busybox", "busybox", "busybox"],
        }
    }

    /// Its usual name.
    pub fn name(self) -> &'static str {
        let [name, ..] = self.described();
        name
    }

    /// The reason when it cannot be tested on this machine.
    pub fn is_missing(self) -> Option<String> {
        let [_, program, package] = self.described();
        let path = env::var_os("PATH").unwrap_or_default();
        let is_there = env::split_paths(&path).any(|directory| directory.join(program).is_file());
        (!is_there).then(|| format!("{program} is not installed; it is in the Debian package {package}"))
    }

    /// Builds its program, if it has one. Call it before the process enters a node.
    pub fn build(self) -> Result<(), Failure> {
        let out = directory()?;
        fs::create_dir_all(&out).with_context(|| format!("making {}", out.display()))?;
        let [_, program, _] = self.described();
        let mut command = Command::new(program);
        match self {
            Self::Glibc => {
                command.args(["-O2", "-o"]).arg(out.join("glibc")).arg(source("lookup.c")).arg("-lresolv")
            }
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
        let output = command.output().with_context(|| format!("running {program}"))?;
        if output.status.success() {
            return Ok(());
        }
        Err(Failure::new(format!("{program}: {}", String::from_utf8_lossy(&output.stderr))))
    }

    /// Whether it supports this kind of question.
    pub fn can_ask(self, kind: Kind) -> bool {
        use RecordType::{A, AAAA, HTTPS, MX, SRV, TXT};
        match (self, kind) {
            (Self::Dig, _)
            | (_, Kind::Address | Kind::Reverse)
            | (Self::Go | Self::NodeResolve, Kind::Srv | Kind::Txt)
            | (Self::Glibc | Self::Musl, Kind::Type(_)) => true,
            (Self::Go, Kind::Type(rtype)) => [A, AAAA, MX, SRV, TXT].contains(&rtype),
            (Self::NodeResolve | Self::Busybox, Kind::Type(rtype)) => rtype != HTTPS,
            (Self::Getent | Self::Python | Self::NodeLookup, Kind::Type(rtype)) => [A, AAAA].contains(&rtype),
            _ => false,
        }
    }

    /// The command that sends all these questions, one after the other.
    pub fn words(self, asked: &[(Kind, &str)]) -> Result<Vec<String>, Failure> {
        let out = |name: &str| directory().map(|directory| directory.join(name).display().to_string());
        let script = |name: &str| source(name).display().to_string();
        let mut program = match self {
            Self::Glibc => vec![out("glibc")?],
            Self::Musl => vec![out("musl")?],
            Self::Go => vec![out("go")?],
            // These flags speed up the start, and do not change the resolver.
            Self::Java => {
                words(&["java", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData", "-cp", &out("")?, "Lookup"])
            }
            Self::NodeLookup => vec!["node".into(), script("lookup.js"), "lookup".into()],
            Self::NodeResolve => vec!["node".into(), script("lookup.js"), "resolve".into()],
            Self::Python => vec!["python3".into(), script("lookup.py")],
            Self::Getent | Self::Busybox => {
                let mut shell = words(&["sh", "-c", "for command; do $command; echo --; done", "sh"]);
                shell.extend(asked.iter().map(|(kind, name)| self.command(*kind, name)));
                return Ok(shell);
            }
            Self::Dig => {
                let mut dig = words(&["dig", "+search", "+noall", "+comments", "+answer"]);
                for &(kind, name) in asked {
                    dig.extend(match kind {
                        Kind::Address => words(&[name, "A", name, "AAAA"]),
                        Kind::Reverse => words(&["-x", name]),
                        _ => vec![name.to_owned(), kind.word()],
                    });
                }
                return Ok(dig);
            }
        };
        program.extend(asked.iter().flat_map(|(kind, name)| [kind.word(), (*name).to_owned()]));
        Ok(program)
    }

    /// The shell command for one question, for clients that are not programs of this repository. getent sends
    /// no AAAA query while the pod's link has no IPv6 address, which it gets some time after the start;
    /// `--no-addrconfig` disables that check.
    fn command(self, kind: Kind, name: &str) -> String {
        match (self, kind) {
            (Self::Getent, Kind::Reverse) => format!("getent hosts {name}"),
            (Self::Getent, Kind::Type(RecordType::A)) => format!("getent --no-addrconfig ahostsv4 {name}"),
            (Self::Getent, Kind::Type(_)) => format!("getent --no-addrconfig ahostsv6 {name}"),
            (Self::Getent, _) => format!("getent --no-addrconfig ahosts {name}"),
            (_, Kind::Type(_)) => format!("busybox nslookup -type={} {name}", kind.word()),
            _ => format!("busybox nslookup {name}"),
        }
    }

    /// Parses the answer to each question from its output.
    pub fn read(self, asked: &[(Kind, &str)], executed: &Executed) -> Result<Vec<Answer>, Failure> {
        let parts = self.parts(asked.len(), &executed.output);
        if parts.len() != asked.len() {
            let (name, output) = (self.name(), executed.output.trim());
            return Err(Failure::new(format!(
                "{name}: {} answers to {} questions\n{output}\n{}",
                parts.len(),
                asked.len(),
                executed.error
            )));
        }
        Ok(asked.iter().zip(parts).map(|((kind, _), part)| self.read_one(*kind, &part)).collect())
    }

    /// Splits the output by question.
    fn parts(self, count: usize, output: &str) -> Vec<String> {
        if self == Self::Dig && count == 1 {
            return vec![output.to_owned()];
        }
        let mut parts = Vec::new();
        let mut part = String::new();
        for line in output.lines() {
            let begins = line == ";; Got answer:" || line == ";; no servers could be reached";
            if line == END || self == Self::Dig && begins && !part.is_empty() {
                parts.push(mem::take(&mut part));
            }
            if line != END {
                part += &format!("{line}\n");
            }
        }
        if self == Self::Dig {
            parts.push(part);
        }
        parts
    }

    fn read_one(self, kind: Kind, output: &str) -> Answer {
        let found: Vec<String> = match self {
            Self::Getent => {
                let column = usize::from(kind == Kind::Reverse);
                let fields = output.lines().filter_map(|line| line.split_whitespace().nth(column));
                fields.map(str::to_owned).collect()
            }
            Self::Dig => {
                let is_bad = |line: &&str| {
                    line.split_once("status: ").is_some_and(|(_, rest)| {
                        !rest.starts_with("NOERROR") && !rest.starts_with("NXDOMAIN")
                    }) || line.contains("timed out")
                        || line.contains("no servers could be reached")
                };
                if let Some(line) = output.lines().find(is_bad) {
                    return Answer::Failed(line.to_owned());
                }
                output.lines().filter_map(|line| of_dig(kind, line)).collect()
            }
            Self::Busybox => of_busybox(kind, output),
            _ => match output.lines().next() {
                Some("missing") => Vec::new(),
                Some("empty") => return Answer::Empty,
                Some(line) if !line.starts_with("failed") => output.lines().map(str::to_owned).collect(),
                _ => return Answer::Failed(output.trim().to_owned()),
            },
        };
        let tidy = |line: String| match kind {
            // Java writes IPv6 addresses without `::`, so they are normalized.
            Kind::Address => line.parse::<IpAddr>().map_or(line, |address| address.to_string()),
            Kind::Txt => line.replace(['"', ' '], ""),
            Kind::Srv | Kind::Reverse => line.trim_end_matches('.').to_ascii_lowercase(),
            Kind::Type(_) => line,
        };
        let found: BTreeSet<_> = found.into_iter().map(tidy).collect();
        let is_empty =
            self == Self::Dig && matches!(kind, Kind::Type(_)) && output.contains("status: NOERROR");
        match (found.is_empty(), is_empty) {
            (false, _) => Answer::Found(found.into_iter().collect()),
            (true, false) => Answer::Missing,
            (true, true) => Answer::Empty,
        }
    }
}

/// The data of a line in the answer section, `name ttl IN type data`, if it has the type.
fn of_dig(kind: Kind, line: &str) -> Option<String> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let data = |from: usize| fields.get(from..).map(|rest| rest.join(" "));
    match (kind, *fields.get(3)?) {
        _ if line.starts_with(';') => None,
        (Kind::Address, "A" | "AAAA") | (Kind::Reverse, "PTR") | (Kind::Txt, "TXT") => data(4),
        // Priority and weight are ignored.
        (Kind::Srv, "SRV") => data(6),
        (Kind::Type(RecordType::ANY), _) => data(3),
        (Kind::Type(rtype), word) if word == rtype.to_string() => data(4),
        _ => None,
    }
}

/// The values after the block about the server.
fn of_busybox(kind: Kind, output: &str) -> Vec<String> {
    let is_of_type = |line: &&str| kind == Kind::Type(RecordType::ANY) || !line.contains("canonical name = ");
    let answers = output.lines().skip_while(|line| !line.is_empty()).filter(is_of_type);
    let separator = match kind {
        Kind::Reverse => "name = ",
        Kind::Type(rtype) if ![RecordType::A, RecordType::AAAA].contains(&rtype) => " = ",
        _ => "Address: ",
    };
    answers.filter_map(|line| line.split_once(separator)).map(|(_, data)| data.trim().to_owned()).collect()
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

fn source(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("clients").join(name)
}

/// The directory for the built programs.
fn directory() -> Result<PathBuf, Failure> {
    target_directory().map(|target| target.join("resolvers"))
}
