//! Responses of STS and similar services: temporary credentials, or an error. Only the code and the
//! request id of an error are reported.

use serde::Deserialize;
use serde_json::from_slice;

use crate::credentials::{Credentials, ProvideError, validate};
use crate::secret::Secret;
use crate::time::Timestamp;
use crate::transport::{HttpResponse, Url};

/// A response from STS.
pub(super) struct StsReply {
    pub(super) response: HttpResponse,
    pub(super) url: Url,
    /// How far the clock of STS is ahead of the local clock, in seconds, if STS rejected the local
    /// time.
    pub(super) ahead_s: Option<i64>,
}

/// Temporary credentials as in a response.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(in crate::credentials) struct StsCredentials {
    access_key_id: Secret,
    access_key_secret: Secret,
    security_token: Secret,
    expiration: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct StsResponse {
    credentials: StsCredentials,
}

/// An error of a call to STS, with what the caller can do about it.
#[derive(Debug)]
pub(in crate::credentials) struct StsError {
    pub(in crate::credentials) cause: StsCause,
    pub(in crate::credentials) error: ProvideError,
}

/// The causes of an [`StsError`] that callers distinguish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::credentials) enum StsCause {
    /// STS rejects the access key or its security token.
    Key,
    /// The OIDC token has expired.
    OidcTokenExpired,
    /// Anything else.
    Other,
}

impl StsCause {
    fn from_code(code: &str) -> Self {
        if KEY_CODES.iter().any(|known| code.contains(known)) {
            Self::Key
        } else if code.contains(OIDC_TOKEN_EXPIRED) {
            Self::OidcTokenExpired
        } else {
            Self::Other
        }
    }
}

impl From<ProvideError> for StsError {
    fn from(error: ProvideError) -> Self {
        Self { cause: StsCause::Other, error }
    }
}

impl From<StsError> for ProvideError {
    fn from(StsError { error, .. }: StsError) -> Self {
        error
    }
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct StsErrorDocument {
    code: String,
    request_id: String,
}

impl StsCredentials {
    /// Converts the response into credentials of this provider.
    pub(in crate::credentials) fn into_credentials(
        self,
        provider: &str,
        from: &str,
    ) -> Result<Credentials, ProvideError> {
        let unusable = |what: &str| ProvideError::Unavailable(format!("{from} returned {what}"));
        let Self { access_key_id, access_key_secret, security_token, expiration } = self;
        let expires =
            Timestamp::parse_rfc3339(&expiration).ok_or_else(|| unusable("an invalid expiration"))?;
        let id = access_key_id.expose().to_owned();
        validate::check_given(&id, access_key_secret.expose(), Some(security_token.expose()))
            .map_err(|invalid| unusable(&format!("invalid credentials: {invalid}")))?;
        Ok(Credentials {
            id,
            secret: access_key_secret,
            token: Some(security_token),
            expires: Some(expires),
            provider: provider.into(),
        })
    }
}

/// Returns whether STS rejects the time of the call.
pub(super) fn is_about_time(response: &HttpResponse) -> bool {
    response.status >= 400 && {
        let code = mistake(response).code;
        code.starts_with("InvalidTimeStamp") || code == "RequestTimeTooSkewed"
    }
}

/// Returns the time of the server from an error response, if present.
pub(super) fn server_time(response: &HttpResponse) -> Option<String> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct ServerTime {
        server_time: String,
    }
    (response.status >= 400)
        .then(|| from_slice::<ServerTime>(&response.body).ok())?
        .map(|document| document.server_time)
}

/// The codes by which STS rejects the key of a call.
const KEY_CODES: [&str; 3] = ["InvalidAccessKeyId", "InvalidSecurityToken", "SecurityTokenExpired"];
const OIDC_TOKEN_EXPIRED: &str = "OIDCToken.Expired";

/// Reads a response.
pub(super) fn read(sts_response: &StsReply) -> Result<StsCredentials, StsError> {
    let StsReply { response, url, .. } = sts_response;
    if response.status == 200 {
        let read: Result<StsResponse, _> = from_slice(&response.body);
        return read.map(|document| document.credentials).map_err(|error| {
            let line = error.line();
            let column = error.column();
            ProvideError::Unavailable(format!(
                "STS at {url} returned 200, but not JSON credentials (line {line}, column {column}); check whether another server responds in its place"
            ))
            .into()
        });
    }
    Err(refused(sts_response))
}

/// Reads the identity from a `GetCallerIdentity` response: `acs:ram::1:user/NAME`,
/// `acs:ram::1:role/NAME` or `acs:ram::1:root`.
pub(super) fn read_identity(sts_response: &StsReply) -> Result<String, ProvideError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Identity {
        arn: String,
    }
    let StsReply { response, url, .. } = sts_response;
    if response.status != 200 {
        return Err(refused(sts_response).error);
    }
    let identity: Identity = from_slice(&response.body)
        .map_err(|_| ProvideError::Unavailable(format!("STS at {url} returned 200, but no identity")))?;
    // A session of a role is `acs:ram::1:assumed-role/NAME/SESSION`.
    Ok(match identity.arn.split_once(":assumed-role/") {
        Some((account, rest)) => {
            format!("{account}:role/{}", rest.rsplit_once('/').map_or(rest, |(role, _)| role))
        }
        None => identity.arn,
    })
}

fn refused(sts_response: &StsReply) -> StsError {
    let StsReply { response, url, ahead_s } = sts_response;
    let StsErrorDocument { code, request_id } = mistake(response);
    let code = if code.is_empty() { "without a code".to_owned() } else { code };
    let id = if request_id.is_empty() { String::new() } else { format!(", request id {request_id}") };
    let clock =
        ahead_s.map_or(String::new(), |seconds| format!(" (its clock is {seconds} s ahead of this host's)"));
    let text = format!("STS at {url} returned {} {code}{id}{clock}; {}", response.status, hint(&code));
    let passing = response.status >= 500 || response.status == 429 || code.starts_with("Throttling");
    if passing {
        ProvideError::Unavailable(text).into()
    } else {
        StsError { cause: StsCause::from_code(&code), error: ProvideError::Refused(text) }
    }
}

/// Returns the code and the request id of an error response. Each is empty if missing or
/// implausible.
fn mistake(response: &HttpResponse) -> StsErrorDocument {
    let read: StsErrorDocument = from_slice(&response.body).unwrap_or_default();
    let word = |text: String| {
        let fits =
            text.len() <= 100 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
        if fits { text } else { String::new() }
    };
    StsErrorDocument { code: word(read.code), request_id: word(read.request_id) }
}

/// Returns the advice for an error code.
fn hint(code: &str) -> &'static str {
    const HINTS: [(&str, &str); 13] = [
        (
            "NoPermission",
            "allow sts:AssumeRole for the caller, and name the caller in the trust policy of the role; the account itself cannot assume roles: use a RAM user",
        ),
        (
            "InvalidAccessKeyId",
            "the access key of the caller does not exist or is disabled; configure a valid one",
        ),
        ("SignatureDoesNotMatch", "the secret does not belong to the access key id; replace both"),
        ("MissingSecurityToken", "the access key of the caller is temporary; set its security token too"),
        (
            "InvalidSecurityToken",
            "the security token does not belong to the access key, or has expired; replace id, secret and token",
        ),
        ("InvalidParameter.PolicyGrammar", "correct policy"),
        ("InvalidParameter.RoleSessionName", "correct session_name"),
        ("InvalidParameter", "correct role_arn, duration, policy or external_id"),
        ("EntityNotExist", "the role does not exist; correct role_arn"),
        (
            "AuthenticationFail.OIDCToken.Expired",
            "the token in token_file has expired; check that it is renewed",
        ),
        (
            "AuthenticationFail",
            "the role's trust policy must name the OIDC provider, its audience and the service account",
        ),
        ("InvalidTimeStamp", "synchronise this host's clock"),
        ("Throttling", "STS throttles this account; the call is retried"),
    ];
    let known = HINTS.iter().find(|(prefix, _)| code.starts_with(prefix));
    known.map_or("see the error codes in the STS documentation", |(_, hint)| hint)
}
