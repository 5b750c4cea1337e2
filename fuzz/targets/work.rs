//! See `podlocal_fuzz::work`.
#![no_main]

libfuzzer_sys::fuzz_target!(
    init: podlocal_fuzz::seeds::write_if_asked(),
    |input: &[u8]| podlocal_fuzz::work::check(input)
);
