//! Truncation: the part of a message that fits, and the records whose order does not matter.

use super::{HEADER_LENGTH, Malformed, Message, Record, Section, TYPE_A, TYPE_AAAA, get_u16, skip_name};

/// The part of a message that fits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fit {
    /// Its length in bytes.
    pub end: usize,
    /// The number of its records in each section.
    pub counts: [u16; 3],
    /// The section of the first record that is left out.
    pub left_out: Section,
}

impl Message<'_> {
    /// The part of a message that fits into `limit` bytes, where not everything fits. The answer section may
    /// end after any record: old stub resolvers (musl before 1.2.4) never retry over TCP and use the records
    /// of a truncated answer. The other sections end after a whole RRset, because nothing may show that they
    /// were cut (RFC 2181 section 9).
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

    /// Adds the offsets of the TTLs, and the runs of address records. The records of a run are of one RRset and
    /// have the same length: their order does not matter (RFC 1035 section 3.4.1), and their data has no names.
    pub fn layout(
        self,
        question_length: usize,
        ttls: &mut Vec<u16>,
        runs: &mut Vec<AddressRun>,
    ) -> Result<(), Malformed> {
        let mut run: Option<(Record<'_>, u16)> = None;
        let mut end = |run: Option<(Record<'_>, u16)>| {
            let run = run.filter(|(first, count)| *count > 1 && matches!(first.rtype, TYPE_A | TYPE_AAAA));
            let Some((first, count)) = run else { return Ok(()) };
            let size = number(first.end - first.start)?;
            runs.push(AddressRun { start: number(first.start)?, size, count });
            Ok(())
        };
        for record in self.records(question_length) {
            let record = record?;
            ttls.push(number(record.ttl_at)?);
            match &mut run {
                Some((first, count)) if self.is_of_run(first, &record) => *count += 1,
                _ => end(run.replace((record, 1)))?,
            }
        }
        end(run)
    }

    /// Whether two records differ only in TTL and data, byte by byte.
    fn is_of_run(self, one: &Record<'_>, other: &Record<'_>) -> bool {
        let head = |record: &Record<'_>| self.0.get(record.start..record.ttl_at);
        let is_same = one.section == other.section && one.end - one.start == other.end - other.start;
        is_same && head(one) == head(other)
    }

    fn is_same_set(self, one: &Record<'_>, other: &Record<'_>) -> bool {
        (one.section, one.rtype, one.class) == (other.section, other.rtype, other.class)
            && is_same_name(self.0, one.start, other.start)
    }
}

/// An offset in a message of at most 65,535 bytes.
fn number(place: usize) -> Result<u16, Malformed> {
    u16::try_from(place).map_err(|_| Malformed)
}

/// Whether two names are the same: they point to the same offset, or consist of the same bytes, without
/// regard to case. Equal names that [`super::compress()`] has written are the same in this sense; other
/// pointers are not followed, so that no answer can make a hit expensive.
fn is_same_name(bytes: &[u8], one: usize, other: usize) -> bool {
    let pointer = |at| {
        get_u16(bytes, at).filter(|pointer| pointer >> 14 == 3).map(|pointer| usize::from(pointer & 0x3fff))
    };
    let (to, other_to) = (pointer(one), pointer(other));
    if to.is_some() || other_to.is_some() {
        return to.unwrap_or(one) == other_to.unwrap_or(other);
    }
    let name = |at| bytes.get(at..skip_name(bytes, at)?);
    name(one).zip(name(other)).is_some_and(|(one, other)| {
        // The last byte may be the target of a pointer, which is not a letter even if it looks like one.
        one.eq_ignore_ascii_case(other) && one.last() == other.last()
    })
}

/// Consecutive records of one RRset with the same length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AddressRun {
    /// The offset of the first record.
    pub start: u16,
    /// The length of each record in bytes.
    pub size: u16,
    /// The number of records.
    pub count: u16,
}

impl AddressRun {
    /// The run as three numbers, for storage.
    #[inline]
    pub fn numbers(self) -> [u16; 3] {
        [self.start, self.size, self.count]
    }

    /// Rotates the records: the first `turn` records go behind the others.
    #[inline]
    pub fn rotate(self, message: &mut [u8], turn: u8) {
        let [start, size, count] = self.numbers().map(usize::from);
        if let Some(records) = message.get_mut(start..start + size * count) {
            records.rotate_left(usize::from(turn) % count * size);
        }
    }

    /// The same for a copy of the beginning of `message`: of a run that does not fit, it has the records that
    /// come first after the rotation.
    #[inline]
    pub fn rotate_from(self, message: &[u8], copy: &mut [u8], turn: u8) {
        let [start, size, count] = self.numbers().map(usize::from);
        let Some(records) = message.get(start..start + size * count) else { return };
        let Some(place) = copy.len().checked_sub(start) else { return };
        let place = &mut copy[start..start + place.min(records.len())];
        let (behind, first) = records.split_at(usize::from(turn) % count * size);
        let (head, tail) = place.split_at_mut(place.len().min(first.len()));
        head.copy_from_slice(&first[..head.len()]);
        tail.copy_from_slice(&behind[..tail.len()]);
    }
}
