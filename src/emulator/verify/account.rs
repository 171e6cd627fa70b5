//! The account of an access key: its security token, and the errors for a wrong key or token.

use super::super::error::OssError;
use super::super::settings::EmulatedAccount;
use crate::time::Timestamp;

/// Checks the security token. Temporary credentials require their token, and long-lived keys must
/// not have one.
pub(super) fn check_token(
    account: &EmulatedAccount,
    token: Option<&[u8]>,
    accounts: &[EmulatedAccount],
    now: Timestamp,
) -> Result<(), OssError> {
    let (own, given) = match (&account.security_token, token) {
        (None, None) => return Ok(()),
        (Some(own), Some(given)) => (own, given),
        (None, Some(_)) | (Some(_), None) => {
            return Err(unknown_id(&account.access_key_id, "0002-00000002"));
        }
    };
    if !same(own.expose().as_bytes(), given) {
        let of_another = accounts.iter().filter_map(|other| other.security_token.as_ref());
        return Err(if of_another.into_iter().any(|other| same(other.expose().as_bytes(), given)) {
            OssError::forbidden(
                "AccessKeyIdAndSecurityTokenNotMatch",
                "The AccessKeyId and the security token you provided do not belong together.",
            )
            .ec("0002-00000004")
        } else {
            OssError::forbidden("InvalidSecurityToken", "The security token you provided is invalid.")
                .ec("0002-00000006")
        });
    }
    if account.expires.is_some_and(|end| end <= now) {
        return Err(expired_token());
    }
    Ok(())
}

/// Compares in constant time, so that timing does not reveal the first difference.
pub(super) fn same(a: &[u8], b: &[u8]) -> bool {
    let difference = a.iter().zip(b).fold(0, |sum, (x, y)| sum | (x ^ y));
    a.len() == b.len() && std::hint::black_box(difference) == 0
}

pub(super) fn unknown_id(key_id: &str, ec: &'static str) -> OssError {
    OssError::forbidden(
        "InvalidAccessKeyId",
        "The OSS Access Key Id you provided does not exist in our records.",
    )
    .ec(ec)
    .with("OSSAccessKeyId", key_id)
}

pub(super) fn expired_token() -> OssError {
    OssError::forbidden("SecurityTokenExpired", "The security token you provided has expired.")
        .ec("0002-00000007")
}
