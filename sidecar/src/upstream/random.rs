//! Chance, from the kernel.
//!
//! It is asked directly: what goes through the C library falls back to `/dev/urandom` in a static program,
//! and an empty image need not have that.

use std::io;
use std::time::Duration;

/// That many random bytes, fit for what must not be guessed.
pub fn bytes<const COUNT: usize>() -> io::Result<[u8; COUNT]> {
    let mut bytes = [0; COUNT];
    // Up to 256 bytes come whole, whatever signal arrives (getrandom(2)).
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())?;
    Ok(bytes)
}

/// Any number, each as likely. The kernel does not refuse it in practice; for spreading things in time, which
/// is all that this is for, the middle does as well.
pub fn chance() -> u16 {
    bytes().map_or(u16::MAX / 2, u16::from_ne_bytes)
}

/// A part of `whole`: none of it at a chance of 0, all of it at the largest.
pub fn share(whole: Duration, chance: u16) -> Duration {
    whole * u32::from(chance) / u32::from(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_between_nothing_and_everything() {
        let whole = Duration::from_millis(100);
        assert_eq!(share(whole, 0), Duration::ZERO);
        assert_eq!(share(whole, u16::MAX), whole);
    }

    #[test]
    fn two_draws_differ() {
        assert_ne!(bytes::<16>().expect("random"), bytes::<16>().expect("random"));
    }
}
