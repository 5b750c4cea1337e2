//! See `podlocal_fuzz::review`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| podlocal_fuzz::review::check(input));
