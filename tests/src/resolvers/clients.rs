//! The resolvers: how each is built and called.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use hickory_proto::rr::RecordType;

use super::questions::Kind;
use podlocal_harness::failure::{Failure, WithContext};
use podlocal_harness::programs::{missing, target_directory};

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
        missing(program, package)
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
