//! The answers of the resolvers, parsed from their output.

use std::collections::BTreeSet;
use std::mem;
use std::net::IpAddr;

use hickory_proto::rr::RecordType;

use super::clients::Client;
use super::questions::Kind;
use podlocal_harness::cluster::pods::Executed;
use podlocal_harness::failure::Failure;

/// The line after each answer.
const END: &str = "--";

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
    /// Parses the answer to each question from its output.
    pub fn read(self, asked: &[(Kind, &str)], executed: &Executed) -> Result<Vec<Answer>, Failure> {
        let parts = self.parts(asked.len(), &executed.stdout);
        if parts.len() != asked.len() {
            let (name, output) = (self.name(), executed.stdout.trim());
            return Err(Failure::new(format!(
                "{name}: {} answers to {} questions\n{output}\n{}",
                parts.len(),
                asked.len(),
                executed.stderr
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
