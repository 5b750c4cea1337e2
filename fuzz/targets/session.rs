//! See `podlocal_fuzz::session`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| podlocal_fuzz::session::check(input));
