//! Verification of JSON Web Tokens (RFC 7519, 7.2). The cheap checks come first, so that a token
//! without a chance costs no signature.

use super::identity_context::IdentityContext;
use super::jwt_error::JwtError;
use super::jwt_key_set::KeySearch;
use super::jwt_token::UnverifiedToken;
use crate::time::Timestamp;

/// A token that was verified.
pub(super) struct VerifiedJwt {
    /// The position of the caller that it proves.
    pub(super) caller: usize,
    /// The end of its lifetime.
    pub(super) expires: Timestamp,
}

/// Verifies a token.
///
/// # Errors
/// The reason why the token is rejected.
pub(super) fn verify_jwt(token: &[u8], context: IdentityContext<'_>) -> Result<VerifiedJwt, JwtError> {
    let IdentityContext { directory, verified_tokens, jwt_keys, clock_now, .. } = context;
    let UnverifiedToken { header, claims, signed, signature } = UnverifiedToken::parse(token)?;
    let issuer = claims.issuer.as_deref().ok_or(JwtError::Missing("iss"))?;
    let issuer = directory.jwt().issuer(issuer).ok_or(JwtError::Issuer)?;
    let expires = claims.check_times(clock_now)?;
    let audience = claims.audience.as_ref().ok_or(JwtError::Missing("aud"))?;
    let subject = claims.subject.as_deref().ok_or(JwtError::Missing("sub"))?;
    let caller = issuer.caller(audience.texts(), subject)?;
    let keys = issuer.keys(jwt_keys).ok_or_else(|| JwtError::NoKeys { issuer: issuer.name().into() })?;
    let key = match keys.find(header.key_id.as_deref(), header.algorithm) {
        KeySearch::Found(key) => key,
        KeySearch::OtherAlgorithm => return Err(JwtError::Algorithm),
        KeySearch::Unknown => return Err(JwtError::UnknownKey { issuer: issuer.name().into() }),
    };
    let is_right = verified_tokens.check(token, &keys, || key.verifies(signed, &signature));
    // guard: jwt-signature
    if is_right { Ok(VerifiedJwt { caller, expires }) } else { Err(JwtError::Signature) }
}
