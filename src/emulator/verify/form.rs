//! The signature and the policy of a form upload ("PostObject"). The signature is over the text of the
//! policy.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::super::error::OssError;
use super::super::form::UploadForm;
use super::account::{check_token, same, unknown_id};
use super::{SignatureVerifier, v1, v4};
use crate::oss::Bucket;
use crate::time::Timestamp;

/// Verifies the signature of a form, and the conditions of its policy.
pub(in crate::emulator) fn verify_form(
    form: &UploadForm,
    bucket: &Bucket,
    judge: &SignatureVerifier<'_>,
) -> Result<(), OssError> {
    let &SignatureVerifier { accounts, identity, now, .. } = judge;
    let policy = form.field("policy").ok_or_else(|| OssError::argument("The form has no policy."))?;
    let missing = || OssError::argument("A field of the signature is missing.");
    let (key_id, given, scope) = if let Some(given) = form.field("x-oss-signature") {
        let credential = form.field("x-oss-credential").ok_or_else(missing)?;
        let date = form.field("x-oss-date").ok_or_else(missing)?;
        let (key_id, scope) = v4::scope_at(credential, identity, date)?;
        (key_id, given, Some(scope))
    } else {
        let key_id = form.field("OSSAccessKeyId").ok_or_else(missing)?.to_owned();
        (key_id, form.field("Signature").ok_or_else(missing)?, None)
    };
    let Some(account) = accounts.iter().find(|account| account.access_key_id == key_id) else {
        return Err(unknown_id(&key_id, "0002-00000902"));
    };
    check_token(account, form.field("x-oss-security-token").map(str::as_bytes), accounts, now)?;
    let secret = account.access_key_secret.expose();
    let right = match &scope {
        Some(scope) => v4::signature(secret, scope, policy.as_bytes()),
        None => v1::signature(secret, policy.as_bytes()),
    };
    if !same(right.as_bytes(), given.as_bytes()) {
        return Err(OssError::forbidden(
            "SignatureDoesNotMatch",
            "The request signature we calculated does not match the signature you provided. Check your key and signing method.",
        )
        .with("StringToSign", policy));
    }
    check_policy(form, bucket, policy, now)
}

fn check_policy(form: &UploadForm, bucket: &Bucket, policy: &str, now: Timestamp) -> Result<(), OssError> {
    let invalid = || OssError::argument("Invalid Policy: it is not the base64 of a policy.");
    let text = STANDARD.decode(policy).map_err(|_| invalid())?;
    let document: Value = serde_json::from_slice(&text).map_err(|_| invalid())?;
    let expiration =
        document["expiration"].as_str().and_then(Timestamp::parse_rfc3339).ok_or_else(invalid)?;
    if expiration < now {
        return Err(OssError::forbidden("InvalidPolicyDocument", "Invalid Policy: Policy expired.")
            .ec("0006-00000213"));
    }
    for condition in document["conditions"].as_array().ok_or_else(invalid)? {
        let is_met = match condition {
            Value::Object(pairs) => {
                pairs.iter().all(|(name, wanted)| wanted.as_str() == Some(value_of(form, bucket, name)))
            }
            Value::Array(parts) => parts.len() == 3 && meets(form, bucket, parts),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => return Err(invalid()),
        };
        if !is_met {
            return Err(OssError::denied(format!("Invalid according to Policy: {condition}")));
        }
    }
    Ok(())
}

fn meets(form: &UploadForm, bucket: &Bucket, parts: &[Value]) -> bool {
    let operator = parts[0].as_str().unwrap_or_default();
    if operator == "content-length-range" {
        let length = form.file.len() as u64;
        return parts[1].as_u64() <= Some(length) && Some(length) <= parts[2].as_u64();
    }
    let Some(name) = parts[1].as_str().and_then(|name| name.strip_prefix('$')) else { return false };
    let value = value_of(form, bucket, name);
    match (operator, &parts[2]) {
        ("eq", Value::String(wanted)) => value == wanted,
        ("starts-with", Value::String(start)) => value.starts_with(start.as_str()),
        ("in", Value::Array(values)) => values.iter().any(|one| one == value),
        ("not-in", Value::Array(values)) => values.iter().all(|one| one != value),
        _ => false,
    }
}

fn value_of<'a>(form: &'a UploadForm, bucket: &'a Bucket, name: &str) -> &'a str {
    if name.eq_ignore_ascii_case("bucket") {
        return bucket.as_str();
    }
    if name.eq_ignore_ascii_case("key") {
        return &form.key;
    }
    form.field(name).unwrap_or_default()
}
