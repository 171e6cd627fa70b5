//! The published vectors, and everything that must not open a value.

use proptest::prelude::*;

use super::master::{MASTER_MIN, expand, extract};
use super::{MasterKey, SealingError, SealingKey, SealingPurpose};
use crate::secret::Secret;

const MASTER: &str = "0123456789abcdef0123456789abcdef";
const PLACE: &[&str] = &["team-a", "team-a-1"];

fn bytes(hex: &str) -> Vec<u8> {
    base16ct::lower::decode_vec(hex).expect("hexadecimal digits")
}

fn master(text: &str) -> MasterKey {
    MasterKey::new(&Secret::from(text)).expect("a long master")
}

fn key() -> SealingKey {
    master(MASTER).sealing_key(SealingPurpose::CallerSecret)
}

#[track_caller]
fn fails(result: Result<zeroize::Zeroizing<Vec<u8>>, SealingError>, expected: SealingError) {
    assert_eq!(result.map(|plaintext| plaintext.len()), Err(expected));
}

/// RFC 5869, appendix A.1 to A.3.
#[test]
fn keys_are_derived_as_the_standard_says() {
    let counted = |from: u8, to: u8| (from..=to).map(|byte| format!("{byte:02x}")).collect::<String>();
    let rows = [
        (
            "0b".repeat(22),
            "000102030405060708090a0b0c".to_owned(),
            "f0f1f2f3f4f5f6f7f8f9".to_owned(),
            "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865",
        ),
        (
            counted(0x00, 0x4f),
            counted(0x60, 0xaf),
            counted(0xb0, 0xff),
            "b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c\
             59045a99cac7827271cb41c65e590e09da3275600c2f09b8367793a9aca3db71\
             cc30c58179ec3e87c14c01d5c1f3434f1d87",
        ),
        (
            "0b".repeat(22),
            String::new(),
            String::new(),
            "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8",
        ),
    ];
    for (secret, salt, info, expected) in rows {
        let mut output = vec![0; expected.len() / 2];
        expand(&extract(&bytes(&salt), &bytes(&secret)), &bytes(&info), &mut output);
        assert_eq!(output, bytes(expected));
    }
}

/// RFC 8452, appendix C.2.
#[test]
fn values_are_encrypted_as_the_standard_says() {
    let mut bytes_of_key = [0; 32];
    bytes_of_key[0] = 1;
    let key = SealingKey::new(&bytes_of_key);
    let mut nonce = [0; 12];
    nonce[0] = 3;
    let rows = [
        ("", "", "07f5f4169bbf55a8400cd47ea6fd400f"),
        ("0100000000000000", "", "c2ef328e5c71c83b843122130f7364b761e0b97427e3df28"),
        ("010000000000000000000000", "", "9aab2aeb3faa0a34aea8e2b18ca50da9ae6559e48fd10f6e5c9ca17e"),
        ("0200000000000000", "01", "1de22967237a813291213f267e3b452f02d01ae33e4ec854"),
    ];
    for (plaintext, associated, sealed) in rows {
        let opened = key.decrypt(&nonce, &bytes(associated), &bytes(sealed)).expect("a valid ciphertext");
        assert_eq!(*opened, bytes(plaintext));
        let altered = [&bytes(associated)[..], &[0]].concat();
        fails(key.decrypt(&nonce, &altered, &bytes(sealed)), SealingError::Mismatch);
    }
}

#[test]
fn a_sealed_value_is_opened_by_its_key_in_its_place() {
    let text = key().seal(b"secret", PLACE).expect("a sealed value");
    assert!(text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b)), "{text}");
    assert_eq!(*key().open(&text, PLACE).expect("the plaintext"), b"secret");
    assert_ne!(text, key().seal(b"secret", PLACE).expect("a sealed value"));
    let other = "0123456789abcdef0123456789abcdeg";
    let strangers = [
        master(other).sealing_key(SealingPurpose::CallerSecret),
        master(MASTER).sealing_key(SealingPurpose::CallerToken),
    ];
    for stranger in strangers {
        fails(stranger.open(&text, PLACE), SealingError::Mismatch);
    }
    let places: [&[&str]; 8] = [
        &[],
        &["team-a"],
        &["team-a", ""],
        &["team-a", "team-a-2"],
        &["team-b", "team-a-1"],
        &["team-a-1", "team-a"],
        &["team-at", "eam-a-1"],
        &["team-a", "team-a-1", ""],
    ];
    for place in places {
        fails(key().open(&text, place), SealingError::Mismatch);
    }
}

#[test]
fn no_text_that_differs_in_any_character_is_opened() {
    let text = key().seal(b"0123456789abcdef", PLACE).expect("a sealed value");
    for at in 0..text.len() {
        for other in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_=+/ ".chars() {
            let mut altered = text.clone();
            altered.replace_range(at..=at, &other.to_string());
            assert_eq!(key().open(&altered, PLACE).is_ok(), altered == text, "{altered}");
        }
        assert!(key().open(&text[..at], PLACE).is_err());
        assert!(key().open(&text[at + 1..], PLACE).is_err());
    }
    for more in ["A", "AA", "=", "\n"] {
        fails(
            key().open(&format!("{text}{more}"), PLACE),
            if more == "AA" { SealingError::Mismatch } else { SealingError::Form },
        );
    }
}

#[test]
fn a_short_master_is_rejected() {
    let short = &MASTER[..MASTER_MIN - 1];
    assert_eq!(MasterKey::new(&Secret::from(short)).err(), Some(SealingError::ShortMaster));
    assert!(SealingError::ShortMaster.to_string().contains(&format!("fewer than {MASTER_MIN} bytes")));
}

#[test]
fn each_purpose_and_context_has_a_key_of_its_own() {
    use SealingPurpose::{CallerSecret, CallerToken, HandedOutSecret, HandedOutToken};
    let master = master(MASTER);
    let contexts: [&[&str]; 5] = [&[], &[""], &["a"], &["a", "b"], &["ab"]];
    let all = [CallerSecret, CallerToken, HandedOutToken, HandedOutSecret]
        .map(|purpose| contexts.map(|context| *master.derive(purpose, context)));
    let mut all = all.concat();
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), 20);
}

proptest! {
    #[test]
    fn any_bytes_survive_and_no_other_bytes_are_opened(
        plaintext in proptest::collection::vec(any::<u8>(), 0..200),
        at in any::<proptest::sample::Index>(),
        change in 1..=u8::MAX,
    ) {
        use base64::Engine as _;
        use base64::engine::general_purpose::URL_SAFE_NO_PAD;
        let text = key().seal(&plaintext, PLACE).expect("a sealed value");
        prop_assert_eq!(&*key().open(&text, PLACE).expect("the plaintext"), &plaintext);
        let mut altered = URL_SAFE_NO_PAD.decode(text).expect("base64url");
        let at = at.index(altered.len());
        altered[at] ^= change;
        prop_assert!(key().open(&URL_SAFE_NO_PAD.encode(altered), PLACE).is_err());
    }
}
