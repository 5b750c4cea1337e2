//! Truncation: what of a message fits, and the records whose order says nothing.

use super::{HEADER_LENGTH, Message, Record, Section, TYPE_A, TYPE_AAAA, labels_at};

/// The part of a message that fits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fit {
    /// Where it ends.
    pub end: usize,
    /// Its records in each section.
    pub counts: [u16; 3],
    /// The section of the first record that is left out.
    pub left_out: Section,
}

impl<'a> Message<'a> {
    /// What fits into `limit` bytes, where not everything does. The answer section is cut behind any record: old stub
    /// resolvers (musl before 1.2.4) never ask again over TCP and live on what a truncated answer holds. The others are cut
    /// behind a whole RRset, because nothing may tell that they were (RFC 2181 section 9).
    pub fn fit(self, question_length: usize, limit: usize) -> Fit {
        let end = HEADER_LENGTH + question_length;
        let mut fit = Fit { end, counts: [0; 3], left_out: Section::Answer };
        let mut counts = fit.counts;
        let mut records = self.records(question_length).map_while(Result::ok).peekable();
        while let Some(record) = records.next() {
            if record.end > limit {
                fit.left_out = record.section;
                break;
            }
            counts[record.section as usize] += 1;
            let is_last = |next: &Record<'_>| !self.is_same_set(&record, next);
            if record.section == Section::Answer || records.peek().is_none_or(is_last) {
                (fit.end, fit.counts) = (record.end, counts);
            }
        }
        fit
    }

    /// The runs of address records of one RRset, which have all the same length: any order is as good
    /// (RFC 1035 section 3.4.1), and no name stands in their data.
    pub fn runs(self, question_length: usize) -> impl Iterator<Item = Run> + use<'a> {
        let mut records = self.records(question_length).map_while(Result::ok).peekable();
        std::iter::from_fn(move || {
            loop {
                let first = records.next()?;
                let mut count = 1;
                while records.next_if(|next| self.is_of_run(&first, next)).is_some() {
                    count += 1;
                }
                if count > 1 && matches!(first.kind, TYPE_A | TYPE_AAAA) {
                    let number = |number: usize| u16::try_from(number).ok();
                    return Some(Run {
                        start: number(first.start)?,
                        size: number(first.end - first.start)?,
                        count,
                    });
                }
            }
        })
    }

    /// Whether two records differ in TTL and data alone, byte by byte.
    fn is_of_run(self, one: &Record<'_>, other: &Record<'_>) -> bool {
        let head = |record: &Record<'_>| self.0.get(record.start..record.ttl_at);
        let is_same = one.section == other.section && one.end - one.start == other.end - other.start;
        is_same && head(one) == head(other)
    }

    fn is_same_set(self, one: &Record<'_>, other: &Record<'_>) -> bool {
        (one.section, one.kind, one.class) == (other.section, other.kind, other.class)
            && is_same_name(labels_at(self.0, one.start), labels_at(self.0, other.start))
    }
}

fn is_same_name<'a>(
    mut one: impl Iterator<Item = &'a [u8]>,
    mut other: impl Iterator<Item = &'a [u8]>,
) -> bool {
    loop {
        match (one.next(), other.next()) {
            (None, None) => return true,
            (Some(one), Some(other)) if one.eq_ignore_ascii_case(other) => {}
            _ => return false,
        }
    }
}

/// Records of one RRset and one length, one behind the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    /// Where the first one begins.
    pub start: u16,
    /// The length of each.
    pub size: u16,
    /// How many there are.
    pub count: u16,
}

impl Run {
    /// The run as three numbers, to be kept.
    pub fn numbers(self) -> [u16; 3] {
        [self.start, self.size, self.count]
    }

    /// Lets the records begin with another one: the first `turn` go behind the others.
    pub fn rotate(self, message: &mut [u8], turn: u8) {
        let [start, size, count] = self.numbers().map(usize::from);
        if let Some(records) = message.get_mut(start..start + size * count) {
            records.rotate_left(usize::from(turn) % count * size);
        }
    }
}
