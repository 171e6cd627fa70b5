//! The JSON document in which the metadata service and a credentials URI return credentials. Errors
//! never contain any of it.

use serde::Deserialize;

use super::{Credentials, ProvideError, validate};
use crate::secret::Secret;
use crate::time::Timestamp;

/// A service that returned a document.
pub(super) struct DocumentOrigin<'a> {
    /// The service with its URL, for errors.
    pub(super) service: String,
    /// If set, a token and an expiration are required.
    pub(super) is_temporary: bool,
    /// The advice if the service reports an error.
    pub(super) code_hint: &'a str,
    /// The name of the provider.
    pub(super) provider: &'static str,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct CredentialsDocument {
    code: Option<String>,
    access_key_id: Option<Secret>,
    access_key_secret: Option<Secret>,
    #[serde(alias = "SessionToken")]
    security_token: Option<Secret>,
    expiration: Option<String>,
}

/// Parses the body of a response with status 200.
pub(super) fn parse_credentials_document(
    body: &[u8],
    origin: &DocumentOrigin<'_>,
) -> Result<Credentials, ProvideError> {
    let DocumentOrigin { service, is_temporary, code_hint, provider } = origin;
    let unusable = |what: &str| ProvideError::Unavailable(format!("{service} returned 200, but {what}"));
    let document: CredentialsDocument =
        serde_json::from_slice(body).map_err(|_| unusable("the body is not JSON credentials"))?;
    let CredentialsDocument { code, access_key_id, access_key_secret, security_token, expiration } = document;
    if code.is_some_and(|code| code != "Success") {
        return Err(ProvideError::Refused(format!(
            "{service} returned 200, but Code is not Success; {code_hint}"
        )));
    }
    let token = security_token.filter(|token| *is_temporary || !token.expose().is_empty());
    let has_token = token.is_some() || !is_temporary;
    let (Some(id), Some(secret), true) = (access_key_id, access_key_secret, has_token) else {
        return Err(unusable(if *is_temporary {
            "AccessKeyId, AccessKeySecret or SecurityToken is missing"
        } else {
            "AccessKeyId or AccessKeySecret is missing"
        }));
    };
    validate::check_given(id.expose(), secret.expose(), token.as_ref().map(Secret::expose))
        .map_err(|invalid| unusable(&format!("the credentials are invalid: {invalid}")))?;
    let expires = match expiration.as_deref() {
        None | Some("") if !is_temporary => None,
        text => {
            let wrong = if *is_temporary {
                "Expiration is missing or not a valid time"
            } else {
                "Expiration is not a valid time"
            };
            Some(text.and_then(Timestamp::parse_rfc3339).ok_or_else(|| unusable(wrong))?)
        }
    };
    Ok(Credentials { id: id.expose().to_owned(), secret, token, expires, provider: (*provider).into() })
}
