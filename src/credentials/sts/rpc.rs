//! RPC V1: "RPC mechanism" (Alibaba Cloud SDK documentation). Query and form are signed as one
//! sorted set of parameters.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha1::Sha1;
use zeroize::Zeroizing;

use super::call::{CallStamp, StsCall, VERSION};
use crate::credentials::Credentials;
use crate::oss::encode_strict;

/// Returns path and query of a call, signed if there is a key.
pub(super) fn target(call: &StsCall, key: Option<&Credentials>, stamp: CallStamp<'_>) -> String {
    let mut query =
        vec![("Action", call.action), ("Format", "JSON"), ("Timestamp", stamp.at), ("Version", VERSION)];
    if let Some(key) = key {
        query.extend([
            ("AccessKeyId", key.id.as_str()),
            ("SignatureMethod", "HMAC-SHA1"),
            ("SignatureNonce", stamp.nonce),
            ("SignatureVersion", "1.0"),
        ]);
        query.extend(key.token.as_ref().map(|token| ("SecurityToken", token.expose())));
    }
    let mut target = String::from("/?");
    target.push_str(&joined(&mut query.clone()));
    if let Some(key) = key {
        let mut all = query;
        all.extend(call.fields.iter().map(|(name, value)| (*name, value.as_str())));
        let to_sign = string_to_sign("POST", &mut all);
        target.push_str("&Signature=");
        encode_strict(signature(&to_sign, key.secret.expose()).as_bytes(), &mut target);
    }
    target
}

fn string_to_sign(method: &str, params: &mut [(&str, &str)]) -> Zeroizing<String> {
    let mut text = Zeroizing::new(format!("{method}&%2F&"));
    encode_strict(joined(params).as_bytes(), &mut text);
    text
}

/// Encodes, sorts and joins `name=value` pairs; empty values are kept.
fn joined(params: &mut [(&str, &str)]) -> Zeroizing<String> {
    params.sort_unstable();
    let mut text = Zeroizing::new(String::new());
    for (name, value) in params {
        if !text.is_empty() {
            text.push('&');
        }
        encode_strict(name.as_bytes(), &mut text);
        text.push('=');
        encode_strict(value.as_bytes(), &mut text);
    }
    text
}

fn signature(to_sign: &str, secret: &str) -> String {
    hmac(to_sign, &Zeroizing::new(format!("{secret}&")))
}

fn hmac(text: &str, key: &str) -> String {
    #[expect(clippy::expect_used, reason = "RFC 2104: a key of any length is valid")]
    let mut mac = Hmac::<Sha1>::new_from_slice(key.as_bytes()).expect("any length");
    mac.update(text.as_bytes());
    STANDARD.encode(mac.finalize().into_bytes())
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::{hmac, joined, signature, string_to_sign};

    /// Returns published vectors, from the vendor's documentation and the test suites of its
    /// libraries.
    fn vectors(kind: &str) -> Vec<Value> {
        let all: Value = serde_json::from_str(include_str!("../../../tests/vectors/sts.json")).expect("json");
        let rows = ["rpc_v1", "inputs", "primitives"].map(|name| all[name].as_array().expect("rows").clone());
        rows.into_iter().flatten().filter(|row| row["kind"] == kind).collect()
    }

    fn pairs(value: &Value) -> Vec<(String, String)> {
        let object = value.as_object().expect("pairs");
        object.iter().map(|(name, value)| (name.clone(), value.as_str().expect("text").to_owned())).collect()
    }

    fn to_sign(row: &Value, pairs: &[(String, String)]) -> String {
        let mut params: Vec<(&str, &str)> = pairs.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
        string_to_sign(row["method"].as_str().expect("a method"), &mut params).to_string()
    }

    #[test]
    fn strings_to_sign_are_those_of_the_vendors_libraries() {
        let rows = vectors("rpc-v1-string-to-sign");
        assert_eq!(rows.len(), 8);
        for row in rows {
            let mut params = pairs(&row["query_params"]);
            params.extend(pairs(&row["body_params"]));
            assert_eq!(to_sign(&row, &params), row["expected_string_to_sign"], "{}", row["id"]);
        }
    }

    #[test]
    fn signatures_are_those_of_the_vendor() {
        let rows = vectors("rpc-v1-signature");
        assert_eq!(rows.len(), 8);
        for row in rows {
            let text = to_sign(&row, &pairs(&row["params"]));
            if let Some(expected) = row["expected_string_to_sign"].as_str() {
                assert_eq!(text, expected, "{}", row["id"]);
            }
            let secret = row["access_key_secret"].as_str().expect("a secret");
            assert_eq!(signature(&text, secret), row["expected_signature"], "{}", row["id"]);
        }
    }

    #[test]
    fn hashes_and_encodings_are_those_of_the_vendors_libraries() {
        let rows = vectors("hmac-sha1-base64");
        assert_eq!(rows.len(), 6);
        for row in rows {
            let text = |key: &str| row[key].as_str().expect("text");
            assert_eq!(hmac(text("message"), text("key")), row["expected_signature"], "{}", row["id"]);
        }
        let rows = vectors("acs3-canonical-query");
        assert_eq!(rows.len(), 1);
        for row in rows {
            let pairs = pairs(&row["query"]);
            let mut params: Vec<(&str, &str)> = pairs.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
            assert_eq!(*joined(&mut params), row["expected"], "{}", row["id"]);
        }
    }
}
