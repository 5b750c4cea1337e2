//! The most frequent names, in bounded memory: the space-saving algorithm (Metwally, Agrawal and El Abbadi,
//! "Efficient computation of frequent and top-k elements in data streams", 2005). Pure: the caller passes the
//! time.
//!
//! | a name arrives | what happens |
//! |---|---|
//! | it is in the table | its count grows by one |
//! | the table has room | it is added with a count of one |
//! | the table is full | it replaces the least frequent name and takes over its count plus one; the old count is the possible error |
//!
//! So the table always contains a name that makes up more than a 64th of all queries.

use podlocal_dns::wire;
use tokio::time::Instant;

use crate::limits;

/// The counts of names since a point in time.
#[derive(Debug, Clone)]
pub struct TopNames {
    /// When counting began.
    pub since: Instant,
    names: Vec<NameCount>,
}

/// A name with its count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameCount {
    /// In wire format and lower case.
    pub name: Box<[u8]>,
    /// The number of queries; too high by at most `error`, never too low.
    pub count: u64,
    /// The maximum error of `count`.
    pub error: u64,
}

impl TopNames {
    /// An empty table.
    pub fn new(now: Instant) -> Self {
        Self { since: now, names: Vec::new() }
    }

    /// Counts a name in wire format, without regard to letter case.
    pub fn count(&mut self, name: &[u8]) {
        if let Some(known) = self.names.iter_mut().find(|known| known.name.eq_ignore_ascii_case(name)) {
            known.count += 1;
            return;
        }
        let mut lower: Box<[u8]> = name.into();
        wire::lower_case(&mut lower);
        if self.names.len() < limits::NAMES_COUNTED {
            self.names.push(NameCount { name: lower, count: 1, error: 0 });
        } else if let Some(least) = self.names.iter_mut().min_by_key(|known| known.count) {
            *least = NameCount { name: lower, count: least.count + 1, error: least.count };
        }
    }

    /// At most `max` names, the most frequent first.
    pub fn most_frequent(&self, max: usize) -> Vec<NameCount> {
        let mut names = self.names.clone();
        names.sort_by(|one, other| other.count.cmp(&one.count).then_with(|| one.name.cmp(&other.name)));
        names.truncate(max);
        names
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(number: u32) -> Vec<u8> {
        wire::name_from_text(&format!("n{number}.example")).expect("a name")
    }

    #[test]
    fn a_frequent_name_is_found_among_100000_others() {
        let mut names = TopNames::new(Instant::now());
        for number in 0..100_000 {
            names.count(&name(number));
            if number % 20 == 0 {
                names.count(b"\x03Hot\x07example\x00");
            }
        }
        let first = &names.most_frequent(1)[0];
        assert_eq!(&*first.name, b"\x03hot\x07example\x00");
        assert!(first.count - first.error <= 5000 && first.count >= 5000, "{first:?}");
        assert_eq!(names.most_frequent(1000).len(), limits::NAMES_COUNTED);
    }
}
