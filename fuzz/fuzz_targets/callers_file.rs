#![no_main]

#[expect(dead_code, reason = "each target asks one of its questions")]
#[path = "../../tests/it/properties/checks.rs"]
mod checks;
#[expect(dead_code, reason = "each target asks one of its questions")]
#[path = "../../tests/it/properties/identity_checks.rs"]
mod identity_checks;

libfuzzer_sys::fuzz_target!(|data: &[u8]| identity_checks::callers_file(data));
