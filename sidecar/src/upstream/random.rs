//! Chance, from the kernel.
//!
//! It is asked directly: what goes through the C library falls back to `/dev/urandom` in a static program,
//! and an empty image need not have that.

use std::cell::RefCell;
use std::io;

/// That many random bytes, fit for what must not be guessed.
pub fn bytes<const COUNT: usize>() -> io::Result<[u8; COUNT]> {
    let mut bytes = [0; COUNT];
    // Up to 256 bytes come whole, whatever signal arrives (getrandom(2)).
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())?;
    Ok(bytes)
}

/// A random id for a question (RFC 5452 section 9.2). The kernel is asked for many at once, by each thread for itself: a
/// system call for each question would cost more than the id. One that was given is not kept.
pub fn id() -> io::Result<u16> {
    thread_local! {
        static SUPPLY: RefCell<Supply> = const { RefCell::new(Supply { bytes: [0; SUPPLIED], left: 0 }) };
    }
    SUPPLY.with_borrow_mut(Supply::take)
}

/// Bytes that the kernel is asked for at once: so many are sure to come whole (getrandom(2)).
const SUPPLIED: usize = 256;

struct Supply {
    bytes: [u8; SUPPLIED],
    /// How many of them, the first ones, were not given yet.
    left: usize,
}

impl Supply {
    fn take(&mut self) -> io::Result<u16> {
        if self.left == 0 {
            self.bytes = bytes()?;
            self.left = SUPPLIED;
        }
        self.left -= size_of::<u16>();
        let taken = &mut self.bytes[self.left..self.left + size_of::<u16>()];
        let mut id = [0; size_of::<u16>()];
        id.copy_from_slice(taken);
        taken.fill(0);
        Ok(u16::from_ne_bytes(id))
    }
}

/// Any number, each as likely. The kernel does not refuse it in practice; for spreading things in time, which
/// is all that this is for, the middle does as well.
pub fn chance() -> u16 {
    id().unwrap_or(u16::MAX / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_drawn_from_all_that_there_are_and_none_is_kept() {
        let mut supply = Supply { bytes: [0; SUPPLIED], left: 0 };
        let mut seen = std::collections::HashSet::new();
        for _ in 0..10_000 {
            seen.insert(supply.take().expect("random"));
            assert!(supply.bytes[supply.left..].iter().all(|byte| *byte == 0));
        }
        // 10,000 draws of 65,536 leave about 9,273 different ones, give or take 26.
        assert!((9_000..=9_550).contains(&seen.len()), "{}", seen.len());
    }

    #[test]
    fn two_draws_differ() {
        assert_ne!(bytes::<16>().expect("random"), bytes::<16>().expect("random"));
    }
}
