//! Whatever the cloud sends: decoded, or refused.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| vpsie::fuzzing::decode_body(bytes));
