//! Whatever somebody writes into `url`: the public host over TLS, or refused.
#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| vpsie::fuzzing::base_url(text));
