//! See `podlocal_fuzz::work`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| podlocal_fuzz::work::check(input));
