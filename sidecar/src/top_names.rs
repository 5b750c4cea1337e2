//! The most frequent names, in bounded memory: the space-saving algorithm (Metwally, Agrawal and El Abbadi, "Efficient
//! computation of frequent and top-k elements in data streams", 2005). Pure: the time is passed in.
//!
//! | a name comes | what happens |
//! |---|---|
//! | it is in the table | its count grows |
//! | there is room | it is taken in, with a count of one |
//! | the table is full | it takes the place of the least frequent one and its count, which may be too high by that much |
//!
//! So a name that makes up more than a 64th of all queries is in the table for certain.

use tokio::time::Instant;

use crate::limits;
use crate::wire;

/// Counts of names since some time.
#[derive(Debug, Clone)]
pub struct TopNames {
    since: Instant,
    names: Vec<Counted>,
}

/// A name with its count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counted {
    /// On the wire, in lower case.
    pub name: Box<[u8]>,
    /// How often it came, at most.
    pub count: u64,
    /// By how much that may be too high.
    pub error: u64,
}

impl TopNames {
    /// None yet.
    pub fn new(now: Instant) -> Self {
        Self { since: now, names: Vec::new() }
    }

    /// Since when names have been counted.
    pub fn since(&self) -> Instant {
        self.since
    }

    /// Counts a name on the wire, in whatever case.
    pub fn count(&mut self, name: &[u8]) {
        if let Some(known) = self.names.iter_mut().find(|known| known.name.eq_ignore_ascii_case(name)) {
            known.count += 1;
            return;
        }
        let mut lower: Box<[u8]> = name.into();
        wire::lower_case(&mut lower);
        if self.names.len() < limits::NAMES_COUNTED {
            self.names.push(Counted { name: lower, count: 1, error: 0 });
        } else if let Some(least) = self.names.iter_mut().min_by_key(|known| known.count) {
            *least = Counted { name: lower, count: least.count + 1, error: least.count };
        }
    }

    /// So many of them, the most frequent first.
    pub fn most_frequent(&self, most: usize) -> Vec<Counted> {
        let mut names = self.names.clone();
        names.sort_by(|one, other| other.count.cmp(&one.count).then_with(|| one.name.cmp(&other.name)));
        names.truncate(most);
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
    fn a_frequent_name_is_found_among_a_hundred_thousand_others_in_bounded_memory() {
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

    #[test]
    fn while_there_is_room_counts_are_exact_and_equal_ones_are_in_order() {
        let mut names = TopNames::new(Instant::now());
        for number in [3, 1, 2, 3, 3, 1] {
            names.count(&name(number));
        }
        let counts: Vec<_> = names
            .most_frequent(2)
            .into_iter()
            .map(|counted| (counted.name.into_vec(), counted.count, counted.error))
            .collect();
        assert_eq!(counts, [(name(3), 3, 0), (name(1), 2, 0)]);
    }
}
