#![no_main]

#[expect(dead_code, reason = "each target asks one of its questions")]
#[path = "../../tests/it/properties/checks.rs"]
mod checks;

libfuzzer_sys::fuzz_target!(|data: &[u8]| checks::query(data));
