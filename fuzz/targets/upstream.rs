//! See `podlocal_fuzz::upstream`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| podlocal_fuzz::upstream::check(input));
