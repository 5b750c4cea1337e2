//! See `podlocal_fuzz::settings`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| podlocal_fuzz::settings::check(input));
