//! Any text as a quantity: refused, or printed so that it reads back as the same.
#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| {
    if let Ok(quantity) = model::Quantity::parse(text) {
        assert_eq!(model::Quantity::parse(&quantity.to_string()), Ok(quantity));
    }
});
