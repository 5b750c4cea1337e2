//! Random numbers from the kernel.
//!
//! getrandom(2) is called directly: a function of the C library falls back to `/dev/urandom` in a static
//! program, and an empty image may not have that.

use std::cell::RefCell;
use std::io;

/// So many cryptographically secure random bytes.
pub fn bytes<const COUNT: usize>() -> io::Result<[u8; COUNT]> {
    let mut bytes = [0; COUNT];
    // Up to 256 bytes are never interrupted by a signal (getrandom(2)).
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())?;
    Ok(bytes)
}

/// A random id for a query (RFC 5452 section 9.2). Each thread gets many at once from the kernel: a system
/// call for each query would cost more than the id. A used id is erased.
pub fn id() -> io::Result<u16> {
    thread_local! {
        static SUPPLY: RefCell<Supply> = const { RefCell::new(Supply { bytes: [0; SUPPLIED], left: 0 }) };
    }
    SUPPLY.with_borrow_mut(Supply::take)
}

/// The bytes of one system call: so many are never cut short (getrandom(2)).
const SUPPLIED: usize = 256;

struct Supply {
    bytes: [u8; SUPPLIED],
    /// How many of them, the first ones, are unused.
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

/// A uniformly distributed random number for jitter. If the kernel refuses, which it does not do in practice,
/// the middle of the range is good enough.
pub fn chance() -> u16 {
    id().unwrap_or(u16::MAX / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_cover_the_whole_range_and_used_ones_are_erased() {
        let mut supply = Supply { bytes: [0; SUPPLIED], left: 0 };
        let mut seen = std::collections::HashSet::new();
        for _ in 0..10_000 {
            seen.insert(supply.take().expect("random"));
            assert!(supply.bytes[supply.left..].iter().all(|byte| *byte == 0));
        }
        // 10,000 draws of 65,536 leave about 9,273 different ones, give or take 26.
        assert!((9_000..=9_550).contains(&seen.len()), "{}", seen.len());
    }
}
