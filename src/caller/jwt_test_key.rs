//! Keys of the tests, which sign tokens.

use std::sync::{Arc, LazyLock};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::jwt_key_set::JwtKeySet;

/// One key of each type.
pub(super) struct JwtTestKeys {
    rsa: RsaKeyPair,
    ec: EcdsaKeyPair,
    ed: Ed25519KeyPair,
}

pub(super) static KEYS: LazyLock<JwtTestKeys> = LazyLock::new(|| JwtTestKeys {
    rsa: RsaKeyPair::generate(KeySize::Rsa2048).expect("a key"),
    ec: EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a key"),
    ed: Ed25519KeyPair::generate().expect("a key"),
});

/// The algorithms, which are the ids of their keys too.
pub(super) const ALGORITHMS: [&str; 3] = ["RS256", "ES256", "EdDSA"];

impl JwtTestKeys {
    /// Returns the JWK of the key of an algorithm.
    pub(super) fn jwk(&self, algorithm: &str) -> Value {
        match algorithm {
            "RS256" => {
                // SEQUENCE { INTEGER n, INTEGER e }, of 2048 and 17 bits.
                let der = self.rsa.public_key().as_ref();
                json!({ "kty": "RSA", "kid": algorithm, "n": base64(&der[9..265]), "e": base64(&der[267..]) })
            }
            "ES256" => {
                let (x, y) = self.ec.public_key().as_ref()[1..].split_at(32);
                json!({ "kty": "EC", "crv": "P-256", "kid": algorithm, "x": base64(x), "y": base64(y) })
            }
            _ => {
                let x = base64(self.ed.public_key().as_ref());
                json!({ "kty": "OKP", "crv": "Ed25519", "kid": algorithm, "x": x })
            }
        }
    }

    /// Returns the set of all keys.
    pub(super) fn set(&self) -> Arc<JwtKeySet> {
        set_of(&ALGORITHMS.map(|algorithm| self.jwk(algorithm)))
    }

    /// Returns a token with this header and these claims, signed by the key of an algorithm.
    pub(super) fn token(&self, algorithm: &str, header: &str, claims: &str) -> String {
        let signed = format!("{}.{}", base64(header.as_bytes()), base64(claims.as_bytes()));
        let signature = self.signature(algorithm, signed.as_bytes());
        format!("{signed}.{}", base64(&signature))
    }

    fn signature(&self, algorithm: &str, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match algorithm {
            "RS256" => {
                let mut signature = vec![0; self.rsa.public_modulus_len()];
                self.rsa.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature).expect("signed");
                signature
            }
            "ES256" => self.ec.sign(&random, message).expect("signed").as_ref().to_vec(),
            _ => self.ed.sign(message).as_ref().to_vec(),
        }
    }
}

pub(super) fn set_of(keys: &[Value]) -> Arc<JwtKeySet> {
    let text = json!({ "keys": keys }).to_string();
    Arc::new(JwtKeySet::parse(text.as_bytes()).expect("a set of keys"))
}

pub(super) fn base64(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}
