//! The tokens that RFC 7515 (appendix A), RFC 7519 (6.1) and RFC 8037 (appendix A.4) publish.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::jwt_error::JwtError;
use super::jwt_key_set::{JwtAlgorithm, JwtKeySet, KeySearch};
use super::jwt_token::UnverifiedToken;

/// The claims of the examples: the issuer is `joe`, and the token expires at 1300819380.
const CLAIMS: &str =
    "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";

/// RFC 7515, A.2.1.
const RSA_KEY: &str = r#"{"keys":[{"kty":"RSA","n":"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ","e":"AQAB"}]}"#;
const RSA_SIGNATURE: &str = "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw";

/// RFC 7515, A.3.1.
const EC_KEY: &str = r#"{"keys":[{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}]}"#;
const EC_SIGNATURE: &str =
    "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";

/// RFC 8037, A.2 and A.4. The payload is text, not claims.
const ED_KEY: &str =
    r#"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;
const ED_SIGNED: &str = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc";
const ED_SIGNATURE: &str =
    "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";

fn verifies(keys: &str, algorithm: JwtAlgorithm, signed: &[u8], signature: &[u8]) -> bool {
    let keys = JwtKeySet::parse(keys.as_bytes()).expect("a key");
    match keys.find(None, algorithm) {
        KeySearch::Found(key) => key.verifies(signed, signature),
        KeySearch::OtherAlgorithm | KeySearch::Unknown => panic!("{algorithm:?}"),
    }
}

#[test]
fn each_published_signature_verifies_and_none_after_one_bit_has_changed() {
    for (keys, algorithm, signed, signature) in [
        (RSA_KEY, JwtAlgorithm::Rs256, format!("eyJhbGciOiJSUzI1NiJ9.{CLAIMS}"), RSA_SIGNATURE),
        (EC_KEY, JwtAlgorithm::Es256, format!("eyJhbGciOiJFUzI1NiJ9.{CLAIMS}"), EC_SIGNATURE),
        (ED_KEY, JwtAlgorithm::EdDsa, ED_SIGNED.to_owned(), ED_SIGNATURE),
    ] {
        let decoded = URL_SAFE_NO_PAD.decode(signature).expect("base64url");
        assert!(verifies(keys, algorithm, signed.as_bytes(), &decoded), "{algorithm:?}");
        for bit in 0..decoded.len() * 8 {
            let mut other = decoded.clone();
            other[bit / 8] ^= 1 << (bit % 8);
            assert!(!verifies(keys, algorithm, signed.as_bytes(), &other), "{algorithm:?} {bit}");
        }
        for at in 0..signed.len() {
            let mut other = signed.clone().into_bytes();
            other[at] ^= 1;
            assert!(!verifies(keys, algorithm, &other, &decoded), "{algorithm:?} {at}");
        }
        if algorithm != JwtAlgorithm::EdDsa {
            let token = format!("{signed}.{signature}");
            let read = UnverifiedToken::parse(token.as_bytes()).expect("a token");
            assert_eq!(read.header.algorithm, algorithm);
            assert_eq!((read.signed, read.signature), (signed.as_bytes(), decoded));
            assert_eq!(read.claims.issuer.as_deref(), Some("joe"));
        }
    }
}

#[test]
fn the_published_tokens_without_a_public_key_are_rejected() {
    // RFC 7519, 6.1 and RFC 7515, A.1.
    let unsecured = format!("eyJhbGciOiJub25lIn0.{CLAIMS}.");
    let shared_secret = format!(
        "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.{CLAIMS}.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
    );
    for token in [unsecured, shared_secret] {
        assert_eq!(UnverifiedToken::parse(token.as_bytes()).err(), Some(JwtError::Algorithm), "{token}");
    }
}
