//! Makes plausible answers from arbitrary bytes: names that share suffixes, compression pointers at every
//! allowed place, records of many types, EDNS. It has its own encoder, because that of hickory-proto decides
//! itself which names it compresses.

use arbitrary::{Result, Unstructured};

use crate::walk::{HEADER, OPT};

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
const TXT: u16 = 16;

/// A question and the answer of an upstream. It may be longer than the maximum of a message, and is then not
/// valid.
pub fn answer(source: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    let mut writer = Writer { source, bytes: vec![0; HEADER], names: Vec::new() };
    let asked = writer.any_name()?;
    writer.name(&asked, false);
    let [kind, class] = [writer.any_kind()?, writer.any_class()?];
    writer.words(&[kind, class]);
    let (mut counts, mut has_edns) = ([0_u16; 3], false);
    for (section, count) in counts.iter_mut().enumerate() {
        while writer.source.arbitrary()? {
            *count = count.wrapping_add(1);
            if section == 2 && !has_edns && writer.source.ratio(1, 3)? {
                has_edns = true;
                writer.edns()?;
            } else {
                writer.record(&asked)?;
            }
        }
    }
    let [id, flags]: [u16; 2] = writer.source.arbitrary()?;
    let [answers, authorities, additionals] = counts;
    let header = [id, flags | 0x8000, 1, answers, authorities, additionals];
    writer.bytes[..HEADER].copy_from_slice(&header.map(u16::to_be_bytes).concat());
    Ok(writer.bytes)
}

/// Writes a message whose parts the source chooses.
struct Writer<'a, 'b> {
    source: &'a mut Unstructured<'b>,
    bytes: Vec<u8>,
    /// The names in the message as labels, with their offsets.
    names: Vec<(Vec<Vec<u8>>, usize)>,
}

impl Writer<'_, '_> {
    fn any_kind(&mut self) -> Result<u16> {
        if self.source.ratio(1, 8)? { self.source.arbitrary() } else { self.source.choose(&KINDS).copied() }
    }

    fn any_class(&mut self) -> Result<u16> {
        if self.source.ratio(1, 8)? { self.source.arbitrary() } else { Ok(1) }
    }

    fn any_name(&mut self) -> Result<Vec<Vec<u8>>> {
        let mut labels = Vec::new();
        while self.source.arbitrary()? {
            labels.push(match self.source.int_in_range(0..=2)? {
                0 => self.source.choose(&LABELS)?.to_vec(),
                1 => self.source.arbitrary::<[u8; 3]>()?.to_vec(),
                _ => vec![b'l'; self.source.int_in_range(1..=63)?],
            });
        }
        labels.extend(self.source.choose(&SUFFIXES)?.iter().map(|label| label.to_vec()));
        Ok(labels)
    }

    fn words(&mut self, words: &[u16]) {
        self.bytes.extend(words.iter().flat_map(|word| word.to_be_bytes()));
    }

    /// Any bytes, as many as this.
    fn fill(&mut self, length: usize) -> Result<()> {
        let start = self.bytes.len();
        self.bytes.resize(start + length, 0);
        self.source.fill_buffer(&mut self.bytes[start..])
    }

    /// `is_compressed`: a pointer replaces the longest suffix that an earlier name has.
    fn name(&mut self, labels: &[Vec<u8>], is_compressed: bool) {
        for at in 0..labels.len() {
            let rest = &labels[at..];
            let known = self.names.iter().find(|(known, _)| known == rest).map(|(_, place)| *place);
            if let (Some(place), true) = (known, is_compressed) {
                return self.words(&[0xc000 | place as u16]);
            }
            if known.is_none() && self.bytes.len() < 0x4000 {
                self.names.push((rest.to_vec(), self.bytes.len()));
            }
            self.bytes.push(rest[0].len() as u8);
            self.bytes.extend_from_slice(&rest[0]);
        }
        self.bytes.push(0);
    }

    fn other_name(&mut self) -> Result<()> {
        let (name, is_compressed) = (self.any_name()?, self.source.arbitrary()?);
        self.name(&name, is_compressed);
        Ok(())
    }

    fn record(&mut self, asked: &[Vec<u8>]) -> Result<()> {
        if self.source.ratio(2, 3)? {
            self.name(asked, true);
        } else {
            self.other_name()?;
        }
        let [kind, class] = [self.any_kind()?, self.any_class()?];
        self.words(&[kind, class]);
        let ttl = if self.source.arbitrary()? {
            u32::from(self.source.arbitrary::<u8>()?)
        } else {
            self.source.arbitrary()?
        };
        self.bytes.extend(ttl.to_be_bytes());
        self.words(&[0]);
        let start = self.bytes.len();
        self.data(kind)?;
        let length = (self.bytes.len() - start) as u16;
        self.bytes[start - 2..start].copy_from_slice(&length.to_be_bytes());
        Ok(())
    }

    fn data(&mut self, kind: u16) -> Result<()> {
        // Bytes, names, bytes.
        let (before, names, after) = match kind {
            1 => (4, 0, 0),
            28 => (16, 0, 0),
            2 | 5 | 12 => (0, 1, 0),
            15 => (2, 1, 0),
            33 => (6, 1, 0),
            6 => (0, 2, 20),
            _ => {
                let length = self.source.arbitrary::<u8>()? >> 2;
                if kind == TXT {
                    self.bytes.push(length);
                }
                (length.into(), 0, 0)
            }
        };
        self.fill(before)?;
        for _ in 0..names {
            self.other_name()?;
        }
        self.fill(after)
    }

    fn edns(&mut self) -> Result<()> {
        let [payload_size, extended, flags]: [u16; 3] = self.source.arbitrary()?;
        let options: Vec<[u16; 2]> = self.source.arbitrary()?;
        self.bytes.push(0);
        self.words(&[OPT, payload_size, extended, flags, 6 * options.len() as u16]);
        for [code, data] in options {
            self.words(&[code, 2, data]);
        }
        Ok(())
    }
}
