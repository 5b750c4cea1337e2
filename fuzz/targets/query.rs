//! See `podlocal_fuzz::query`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| podlocal_fuzz::query::check(input));
