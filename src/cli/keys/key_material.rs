//! Random ids and secrets.

use zeroize::Zeroizing;

use crate::secret::Secret;

/// Returns a random secret of letters and digits, with 178 bits.
pub(super) fn random_secret() -> Option<Secret> {
    random_text(ALPHABET, SECRET_LENGTH).map(Secret::new)
}

/// Returns an unused id for a key of a caller. It never begins like one of Alibaba Cloud.
pub(super) fn random_id(caller: &str) -> Option<String> {
    let suffix = random_text(&ALPHABET[..36], ID_SUFFIX_LENGTH)?;
    let is_usual = caller.starts_with(|c: char| c.is_ascii_lowercase());
    Some(if is_usual { format!("{caller}-{suffix}") } else { format!("key-{caller}-{suffix}") })
}

/// Returns random characters of an alphabet, each with the same probability.
pub(super) fn random_text(alphabet: &[u8], length: usize) -> Option<String> {
    // The largest multiple of the length of the alphabet that a byte can count.
    let limit = 256 / alphabet.len() * alphabet.len();
    let mut text = String::with_capacity(length);
    let mut bytes = Zeroizing::new([0; 64]);
    while text.len() < length {
        aws_lc_rs::rand::fill(&mut *bytes).ok()?;
        let fitting = bytes.iter().map(|byte| usize::from(*byte)).filter(|byte| *byte < limit);
        text.extend(
            fitting.map(|byte| char::from(alphabet[byte % alphabet.len()])).take(length - text.len()),
        );
    }
    Some(text)
}

/// Lower case first, which ids consist of.
pub(super) const ALPHABET: &[u8] = b"abcdefghijklmnopqrstuvwxyz0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ";
const SECRET_LENGTH: usize = 30;
const ID_SUFFIX_LENGTH: usize = 8;

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::{ALPHABET, SECRET_LENGTH, random_id, random_secret, random_text};

    #[test]
    fn secrets_have_160_bits_of_letters_and_digits_and_never_repeat() {
        let bits = f64::from(u8::try_from(SECRET_LENGTH).expect("small")) * 62_f64.log2();
        assert!(bits >= 160.0, "{bits}");
        let all: HashSet<String> =
            (0..1000).map(|_| random_secret().expect("a random source").expose().to_owned()).collect();
        assert_eq!(all.len(), 1000);
        assert!(all.iter().all(|secret| secret.len() == SECRET_LENGTH));
        assert!(all.iter().all(|secret| secret.bytes().all(|b| b.is_ascii_alphanumeric())));
        let used: HashSet<char> = all.iter().flat_map(|secret| secret.chars()).collect();
        assert_eq!(used.len(), 62);
    }

    #[test]
    fn each_character_is_as_likely_as_any_other() {
        let text = random_text(&ALPHABET[..36], 36_000).expect("a random source");
        assert_eq!(text.len(), 36_000);
        for character in &ALPHABET[..36] {
            let count = text.bytes().filter(|b| b == character).count();
            assert!((700..1300).contains(&count), "{count}");
        }
    }

    #[test]
    fn ids_do_not_begin_like_those_of_alibaba_cloud() {
        for caller in ["LTAI5", "STS.x", "TMP.x", "a", "9"] {
            let id = random_id(caller).expect("a random source");
            assert!(!["LTAI", "STS.", "TMP."].iter().any(|prefix| id.starts_with(prefix)), "{id}");
            assert!(id.contains(&format!("{caller}-")), "{id}");
        }
    }
}
