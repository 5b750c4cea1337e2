//! Walking, reading and writing names.

use std::fmt;

use podlocal_settings::value::DomainName;

use super::{HEADER_LENGTH, LONGEST_NAME, get_u16, work};

/// The name of the root.
pub const ROOT: &[u8] = &[0];

/// The labels of a name on the wire, in order, each with the part of the name that begins with it.
#[inline]
pub fn labels(name: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    let mut rest = name;
    std::iter::from_fn(move || {
        let here = rest;
        let (length, behind) = here.split_first().filter(|(length, _)| **length > 0)?;
        let (label, next) = behind.split_at_checked(usize::from(*length))?;
        rest = next;
        Some((label, here))
    })
}

/// The offset in `name` at which `domain` begins, if `name` is that domain or below it.
#[inline]
pub fn end_at(name: &[u8], domain: &[u8]) -> Option<usize> {
    let at = name.len().checked_sub(domain.len())?;
    let begins_there = labels(name).any(|(_, from)| from.len() == domain.len());
    ((begins_there || domain.len() == 1) && name.ends_with(domain)).then_some(at)
}

/// Converts the text of a name to the wire format in lower case; a final dot changes nothing. `None` when a
/// label is empty or too long, or the whole name is too long. There are no escapes, because settings have
/// none.
pub fn name_from_text(text: &str) -> Option<Vec<u8>> {
    let mut name = Vec::with_capacity(text.len() + 2);
    for label in text.strip_suffix('.').unwrap_or(text).split('.').filter(|_| !text.is_empty()) {
        if label.is_empty() || label.len() > 63 {
            return None;
        }
        name.push(label.len() as u8);
        name.extend_from_slice(label.as_bytes());
    }
    name.push(0);
    lower_case(&mut name);
    (name.len() <= LONGEST_NAME).then_some(name)
}

/// A domain of the settings, on the wire and in lower case.
pub fn zone(domain: &DomainName) -> Vec<u8> {
    name_from_text(domain).unwrap_or_default() // a `DomainName` is never refused
}

/// Lower-cases a name in place. The lengths of labels are below 64 and so never letters; types and classes
/// may look like letters and must not be passed.
#[inline]
pub fn lower_case(name: &mut [u8]) {
    name.make_ascii_lowercase();
}

/// Displays a name on the wire as text, with the escapes of master files (RFC 1035 section 5.1).
#[derive(Debug, Clone, Copy)]
pub struct NameText<'a>(pub &'a [u8]);

impl fmt::Display for NameText<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0;
        while let Some((length, labels)) = rest.split_first().filter(|(length, _)| **length > 0) {
            let (label, next) = labels.split_at(usize::from(*length).min(labels.len()));
            for byte in label {
                match byte {
                    b'.' | b'\\' => write!(formatter, "\\{}", char::from(*byte))?,
                    0x21..=0x7e => write!(formatter, "{}", char::from(*byte))?,
                    _ => write!(formatter, "\\{byte:03}")?,
                }
            }
            formatter.write_str(".")?;
            rest = next;
        }
        if self.0.len() <= 1 { formatter.write_str(".") } else { Ok(()) }
    }
}

/// The limit on labels and pointers that are looked at behind the first pointers of all names of a message:
/// one for each of its bytes, and [`Self::SPARE`]. An honest message needs a few for each record: most of its
/// names lead to the same offset, which is free the second time. Without a limit, 4,600 owners of 118 labels
/// each in 64 KiB take 20 ms (the class of CVE-2024-8508).
#[derive(Debug)]
pub struct Steps {
    left: usize,
    /// The target of the last name's first pointer, and the length of the name there.
    known: (usize, usize),
}

impl Steps {
    /// Additional steps, so that a short message may have a few names with the most labels.
    pub const SPARE: usize = 4 * LONGEST_NAME;

    /// The steps for a message.
    #[inline]
    pub fn of(message: &[u8]) -> Self {
        Self { left: message.len() + Self::SPARE, known: (0, 0) }
    }

    /// The remaining steps.
    pub fn left(&self) -> usize {
        self.left
    }

    /// Takes one step; `None`: there is none left.
    #[inline]
    pub(super) fn take(&mut self) -> Option<()> {
        self.left = self.left.checked_sub(1)?;
        Some(())
    }
}

/// The offset behind the labels that begin at `start`: behind the root label, or the first pointer.
#[inline]
pub(super) fn skip_name(bytes: &[u8], start: usize) -> Option<usize> {
    let mut at = start;
    loop {
        work::step();
        let label = usize::from(*bytes.get(at)?);
        match label >> 6 {
            0 => at += 1 + label,
            3 => return Some(at + 2),
            _ => return None,
        }
        if label == 0 {
            return Some(at);
        }
        if at - start > LONGEST_NAME {
            return None;
        }
    }
}

/// The offset behind the name that begins at `start`. Compression pointers (RFC 1035 section 4.1.4) are
/// followed to check that the whole name has at most [`LONGEST_NAME`] bytes. Each must lead to labels that
/// end before the labels in front of the pointer, so pointers lead further and further back, and no loop is
/// possible. The names of one message must be passed in order.
#[inline]
pub(super) fn name_end(bytes: &[u8], start: usize, steps: &mut Steps) -> Option<usize> {
    let (mut at, mut length) = (start, 0);
    let (mut labels_at, mut bound) = (start, bytes.len());
    // The first pointer: the offset behind it, its target, and the length of the name before it.
    let mut first = None;
    loop {
        work::step();
        if at >= bound {
            return None;
        }
        if first.is_some() {
            steps.take()?;
        }
        let label = usize::from(*bytes.get(at)?);
        match label >> 6 {
            0 => {
                length += label + 1;
                at += label + 1;
                if length > LONGEST_NAME {
                    return None;
                }
                if label == 0 {
                    let Some((end, target, before)) = first else { return Some(at) };
                    steps.known = (target, length - before);
                    return Some(end);
                }
            }
            3 => {
                let target = usize::from(get_u16(bytes, at)? & 0x3fff);
                if target < HEADER_LENGTH {
                    return None;
                }
                if first.is_none() && steps.known.0 == target {
                    return (length + steps.known.1 <= LONGEST_NAME).then_some(at + 2);
                }
                first = first.or(Some((at + 2, target, length)));
                bound = labels_at;
                labels_at = target;
                at = target;
            }
            _ => return None,
        }
    }
}
