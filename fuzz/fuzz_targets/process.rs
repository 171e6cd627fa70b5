#![no_main]

#[expect(dead_code, reason = "each target asks one of its questions")]
#[path = "../../tests/it/properties/checks.rs"]
mod checks;
#[expect(dead_code, reason = "each target asks one of its questions")]
#[path = "../../tests/it/properties/policy_checks.rs"]
mod policy_checks;

libfuzzer_sys::fuzz_target!(|data: &[u8]| policy_checks::process(data));
