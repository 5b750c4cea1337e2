//! See `podlocal_fuzz::review`.
#![no_main]

libfuzzer_sys::fuzz_target!(
    init: podlocal_fuzz::seeds::write_if_asked(),
    |input: &[u8]| podlocal_fuzz::review::check(input)
);
