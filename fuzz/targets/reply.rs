//! See `podlocal_fuzz::reply`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| podlocal_fuzz::reply::check(input));
