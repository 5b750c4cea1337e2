//! See `podlocal_fuzz::query`.
#![no_main]

libfuzzer_sys::fuzz_target!(
    init: podlocal_fuzz::seeds::write_if_asked(),
    |input: &[u8]| podlocal_fuzz::query::check(input)
);
