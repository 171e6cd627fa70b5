#![no_main]

#[expect(dead_code, reason = "each target asks one of its questions")]
#[path = "../../tests/it/properties/checks.rs"]
mod checks;
#[expect(dead_code, reason = "each target asks one of its questions")]
#[path = "../../tests/it/properties/signature_checks.rs"]
mod signature_checks;

libfuzzer_sys::fuzz_target!(|data: &[u8]| signature_checks::presigned(data));
