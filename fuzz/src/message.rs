//! Makes plausible answers from arbitrary bytes: names that share suffixes, compression pointers at every
//! allowed place, records of many types, EDNS. It has its own encoder, because that of hickory-proto decides
//! itself which names it compresses.

use arbitrary::Arbitrary;

use crate::walk::{HEADER, OPT};

/// A question and the answer of an upstream.
#[derive(Debug, Arbitrary)]
pub struct Answer {
    id: u16,
    flags: u16,
    question: Question,
    answers: Vec<Record>,
    authorities: Vec<Record>,
    additionals: Vec<Record>,
    edns: Option<Edns>,
}

#[derive(Debug, Arbitrary)]
struct Question {
    name: Name,
    kind: Kind,
    class: Class,
}

#[derive(Debug, Arbitrary)]
struct Record {
    owner: Owner,
    class: Class,
    ttl: Ttl,
    data: Data,
}

/// The owner name of a record. In two thirds of the cases it is the name of the question.
#[derive(Debug, Arbitrary)]
enum Owner {
    Asked,
    AskedAgain,
    Other(Name),
}

#[derive(Debug, Arbitrary)]
struct Name {
    labels: Vec<Label>,
    suffix: u8,
    /// Whether a pointer replaces a suffix that an earlier name has.
    compress: bool,
}

#[derive(Debug, Arbitrary)]
enum Label {
    Known(u8),
    Bytes([u8; 3]),
    Long(u8),
}

#[derive(Debug, Arbitrary)]
enum Kind {
    Known(u8),
    Any(u16),
}

#[derive(Debug, Arbitrary)]
enum Class {
    Internet,
    TheInternet,
    Any(u16),
}

#[derive(Debug, Arbitrary)]
enum Ttl {
    Short(u8),
    Any(u32),
}

#[derive(Debug, Arbitrary)]
enum Data {
    A([u8; 4]),
    Aaaa([u8; 16]),
    Ns(Name),
    Cname(Name),
    Ptr(Name),
    Mx(u16, Name),
    Srv([u16; 3], Name),
    Soa(Name, Name, [u32; 5]),
    Txt(Vec<u8>),
    Other(u16, Vec<u8>),
}

#[derive(Debug, Arbitrary)]
struct Edns {
    /// The number of additional records before the OPT record.
    behind: u8,
    payload_size: u16,
    ttl: u32,
    options: Vec<(u16, [u8; 2])>,
}

const LABELS: [&[u8]; 8] = [b"a", b"b", b"www", b"WWW", b"api", b"_tcp", b"x-y", b"*"];
const SUFFIXES: [&[&[u8]]; 6] = [
    &[],
    &[b"example"],
    &[b"Example", b"COM"],
    &[b"svc", b"cluster", b"local"],
    &[b"default", b"svc", b"cluster", b"local"],
    &[b"in-addr", b"arpa"],
];
const KINDS: [u16; 12] = [1, 28, 5, 15, 33, 16, 6, 12, 2, 65, 255, 97];

impl Answer {
    /// The encoded message. It may be longer than the maximum of a message, and is then not valid.
    pub fn bytes(&self) -> Vec<u8> {
        let mut writer = Writer { bytes: vec![0; HEADER], names: Vec::new() };
        let asked = self.question.name.labels();
        writer.name(&asked, false);
        writer.word(self.question.kind.value());
        writer.word(self.question.class.value());
        let mut counts = [0_u16; 3];
        for (section, records) in
            [&self.answers, &self.authorities, &self.additionals].into_iter().enumerate()
        {
            let behind = match &self.edns {
                Some(edns) if section == 2 => Some(usize::from(edns.behind).min(records.len())),
                _ => None,
            };
            for (at, record) in records.iter().enumerate() {
                if behind == Some(at) {
                    writer.edns(self.edns.as_ref());
                }
                writer.record(record, &asked);
            }
            if behind == Some(records.len()) {
                writer.edns(self.edns.as_ref());
            }
            counts[section] = records.len() as u16 + u16::from(behind.is_some());
        }
        let [answers, authorities, additionals] = counts;
        let header = [self.id, self.flags | 0x8000, 1, answers, authorities, additionals];
        for (at, word) in header.into_iter().enumerate() {
            writer.bytes[2 * at..2 * at + 2].copy_from_slice(&word.to_be_bytes());
        }
        writer.bytes
    }
}

struct Writer {
    bytes: Vec<u8>,
    /// The names in the message as labels, with their offsets.
    names: Vec<(Vec<Vec<u8>>, usize)>,
}

impl Writer {
    fn word(&mut self, word: u16) {
        self.bytes.extend_from_slice(&word.to_be_bytes());
    }

    fn name(&mut self, labels: &[Vec<u8>], compress: bool) {
        for at in 0..labels.len() {
            let rest = &labels[at..];
            let known = self.names.iter().find(|(known, _)| known == rest).map(|(_, place)| *place);
            if let (Some(place), true) = (known, compress) {
                return self.word(0xc000 | place as u16);
            }
            if known.is_none() && self.bytes.len() < 0x4000 {
                self.names.push((rest.to_vec(), self.bytes.len()));
            }
            self.bytes.push(rest[0].len() as u8);
            self.bytes.extend_from_slice(&rest[0]);
        }
        self.bytes.push(0);
    }

    fn record(&mut self, record: &Record, asked: &[Vec<u8>]) {
        match &record.owner {
            Owner::Asked | Owner::AskedAgain => self.name(asked, true),
            Owner::Other(name) => self.name(&name.labels(), name.compress),
        }
        self.word(record.data.kind());
        self.word(record.class.value());
        let ttl = match record.ttl {
            Ttl::Short(ttl) => u32::from(ttl),
            Ttl::Any(ttl) => ttl,
        };
        self.bytes.extend_from_slice(&ttl.to_be_bytes());
        self.word(0);
        let start = self.bytes.len();
        self.data(&record.data);
        let length = (self.bytes.len() - start) as u16;
        self.bytes[start - 2..start].copy_from_slice(&length.to_be_bytes());
    }

    fn data(&mut self, data: &Data) {
        match data {
            Data::A(octets) => self.bytes.extend_from_slice(octets),
            Data::Aaaa(octets) => self.bytes.extend_from_slice(octets),
            Data::Ns(name) | Data::Cname(name) | Data::Ptr(name) => self.name(&name.labels(), name.compress),
            Data::Mx(preference, name) => {
                self.word(*preference);
                self.name(&name.labels(), name.compress);
            }
            Data::Srv(words, name) => {
                for word in words {
                    self.word(*word);
                }
                self.name(&name.labels(), name.compress);
            }
            Data::Soa(primary, mailbox, numbers) => {
                self.name(&primary.labels(), primary.compress);
                self.name(&mailbox.labels(), mailbox.compress);
                for number in numbers {
                    self.bytes.extend_from_slice(&number.to_be_bytes());
                }
            }
            Data::Txt(text) => {
                let text = &text[..text.len().min(255)];
                self.bytes.push(text.len() as u8);
                self.bytes.extend_from_slice(text);
            }
            Data::Other(_, data) => self.bytes.extend_from_slice(data),
        }
    }

    fn edns(&mut self, edns: Option<&Edns>) {
        let Some(edns) = edns else { return };
        self.bytes.push(0);
        self.word(OPT);
        self.word(edns.payload_size);
        self.bytes.extend_from_slice(&edns.ttl.to_be_bytes());
        self.word(6 * edns.options.len() as u16);
        for (code, data) in &edns.options {
            self.word(*code);
            self.word(2);
            self.bytes.extend_from_slice(data);
        }
    }
}

impl Name {
    fn labels(&self) -> Vec<Vec<u8>> {
        let own = self.labels.iter().map(|label| match label {
            Label::Known(index) => LABELS[usize::from(*index) % LABELS.len()].to_vec(),
            Label::Bytes(bytes) => bytes.to_vec(),
            Label::Long(length) => vec![b'l'; usize::from(*length % 63) + 1],
        });
        let suffix = SUFFIXES[usize::from(self.suffix) % SUFFIXES.len()].iter().map(|label| label.to_vec());
        own.chain(suffix).collect()
    }
}

impl Kind {
    fn value(&self) -> u16 {
        match self {
            Self::Known(index) => KINDS[usize::from(*index) % KINDS.len()],
            Self::Any(kind) => *kind,
        }
    }
}

impl Class {
    fn value(&self) -> u16 {
        match self {
            Self::Internet | Self::TheInternet => 1,
            Self::Any(class) => *class,
        }
    }
}

impl Data {
    fn kind(&self) -> u16 {
        match self {
            Self::A(_) => 1,
            Self::Aaaa(_) => 28,
            Self::Ns(_) => 2,
            Self::Cname(_) => 5,
            Self::Ptr(_) => 12,
            Self::Mx(..) => 15,
            Self::Srv(..) => 33,
            Self::Soa(..) => 6,
            Self::Txt(_) => 16,
            Self::Other(kind, _) => *kind,
        }
    }
}
