//! Whatever a Secret holds: read, or refused without repeating it.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| vpsie::fuzzing::credentials(bytes));
