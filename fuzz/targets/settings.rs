//! See `podlocal_fuzz::settings`.
#![no_main]

libfuzzer_sys::fuzz_target!(
    init: podlocal_fuzz::seeds::write_if_asked(),
    |input: &[u8]| podlocal_fuzz::settings::check(input)
);
