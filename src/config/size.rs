//! Parses sizes: a whole number and a binary unit.
//!
//! Written by hand: the parsers of libraries also accept `KB`, `k`, fractions and a missing unit,
//! where 1000 and 1024 are easily confused. Here the message names the whole format.

use super::error::ConfigErrorKind;

/// Parses `100B`, `64KiB`, `8MiB` or `5GiB` into bytes.
pub(super) fn parse(text: &str) -> Result<u64, ConfigErrorKind> {
    read(text).filter(|size| *size > 0).ok_or_else(|| ConfigErrorKind::Size(text.to_owned()))
}

fn read(text: &str) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let factor = match unit {
        "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(factor)
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn a_size_is_a_whole_number_and_a_unit() {
        let rows = [("1B", 1), ("64KiB", 65_536), ("8MiB", 8_388_608), ("5GiB", 5_368_709_120)];
        for (text, bytes) in rows {
            assert_eq!(parse(text), Ok(bytes), "{text}");
        }
        for text in
            ["", "5", "KiB", "1 KiB", "1.5KiB", "-1B", "64kib", "64KB", "0B", "17179869184GiB", "1TiB"]
        {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
