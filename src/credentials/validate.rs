//! Checks for access keys with copying mistakes, which would make OSS respond with 403 to every
//! request.

/// A mistake in an access key. It names the invalid value, but never contains it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum InvalidAccessKey {
    /// A value is empty.
    #[error("the {0} is empty")]
    Empty(&'static str),
    /// The secret equals the id.
    #[error("the access key secret is the same as the access key id; one of them was pasted twice")]
    SecretIsId,
    /// The secret begins like an id.
    #[error("the access key secret begins like an access key id (LTAI or STS.); the two are swapped")]
    SecretLooksLikeId,
    /// A value copied from masked output.
    #[error("the {0} contains ****; it was copied from masked output")]
    Masked(&'static str),
    /// White space, a line break, or another character that no key has.
    #[error("the {0} contains white space, a line break or another invalid character")]
    Characters(&'static str),
    /// Quotation marks, which some tools remove and others do not.
    #[error("the {0} contains a quotation mark; remove the quotation marks")]
    Quoted(&'static str),
    /// Temporary credentials without a token.
    #[error("the access key id begins with STS. or HO., so it is temporary, but there is no security token")]
    TokenMissing,
    /// A token together with a long-lived key.
    #[error(
        "a security token is set, but the access key id does not begin with STS. or HO.; they do not belong together"
    )]
    TokenUnwanted,
}

/// Checks that values returned by a service can be sent.
///
/// # Errors
/// Returns the first mistake.
pub(super) fn check_given(id: &str, secret: &str, token: Option<&str>) -> Result<(), InvalidAccessKey> {
    let values =
        [("access key id", Some(id)), ("access key secret", Some(secret)), ("security token", token)];
    for (name, value) in values {
        let Some(value) = value else { continue };
        if value.is_empty() {
            return Err(InvalidAccessKey::Empty(name));
        }
        if value.trim() != value || !value.bytes().all(|b| b.is_ascii_graphic() || b == b' ') {
            return Err(InvalidAccessKey::Characters(name));
        }
        if value.contains(['"', '\'', '`']) {
            return Err(InvalidAccessKey::Quoted(name));
        }
    }
    Ok(())
}

/// Checks the credentials of any provider. Values from a service contain no copying mistakes, so
/// only credentials that cannot sign are rejected.
///
/// # Errors
/// Returns the first mistake.
pub(super) fn check_usable(id: &str, secret: &str, token: Option<&str>) -> Result<(), InvalidAccessKey> {
    check_given(id, secret, token)?;
    if id == secret {
        return Err(InvalidAccessKey::SecretIsId);
    }
    if is_temporary(id) && token.is_none() {
        return Err(InvalidAccessKey::TokenMissing);
    }
    Ok(())
}

/// Checks an access key for the mistakes above.
///
/// # Errors
/// Returns the first mistake.
pub(crate) fn check(id: &str, secret: &str, token: Option<&str>) -> Result<(), InvalidAccessKey> {
    check_usable(id, secret, token)?;
    let values =
        [("access key id", Some(id)), ("access key secret", Some(secret)), ("security token", token)];
    if let Some((name, _)) =
        values.iter().find(|(_, value)| value.is_some_and(|value| value.contains("****")))
    {
        return Err(InvalidAccessKey::Masked(name));
    }
    if let Some((name, _)) = values.iter().find(|(_, value)| value.is_some_and(|value| value.contains(' '))) {
        return Err(InvalidAccessKey::Characters(name));
    }
    if secret.starts_with("LTAI") || secret.starts_with("STS.") {
        return Err(InvalidAccessKey::SecretLooksLikeId);
    }
    if token.is_some() && !is_temporary(id) {
        return Err(InvalidAccessKey::TokenUnwanted);
    }
    Ok(())
}

/// Returns whether keys with such an id have a security token: those of STS, and those that a
/// central proxy hands out.
fn is_temporary(id: &str) -> bool {
    ["STS.", "HO."].iter().any(|start| id.starts_with(start))
}

#[cfg(test)]
mod tests {
    use super::{InvalidAccessKey, check};

    #[test]
    fn mistakes_of_copying_are_named() {
        let rows = [
            (("LTAIx", "s3cret", None), Ok(())),
            (("STS.x", "s3cret", Some("t")), Ok(())),
            (("HO.x", "s3cret", Some("t")), Ok(())),
            (("HO.x", "s3cret", None), Err(InvalidAccessKey::TokenMissing)),
            (("", "s", None), Err(InvalidAccessKey::Empty("access key id"))),
            (("LTAIx", "LTAIx", None), Err(InvalidAccessKey::SecretIsId)),
            (("LTAIx", "LTAIy", None), Err(InvalidAccessKey::SecretLooksLikeId)),
            (("LTAI****", "s", None), Err(InvalidAccessKey::Masked("access key id"))),
            (("LTAIx", "s3cret\n", None), Err(InvalidAccessKey::Characters("access key secret"))),
            (("LTAIx", "s 3", None), Err(InvalidAccessKey::Characters("access key secret"))),
            (("\"LTAIx\"", "s3cret", None), Err(InvalidAccessKey::Quoted("access key id"))),
            (("LTAIx", "'s3cret'", None), Err(InvalidAccessKey::Quoted("access key secret"))),
            (("LTAIx", "s3\"cret", None), Err(InvalidAccessKey::Quoted("access key secret"))),
            (("STS.x", "s3cret", Some("`t`")), Err(InvalidAccessKey::Quoted("security token"))),
            (("LTAIx", "s3\u{7}cret", None), Err(InvalidAccessKey::Characters("access key secret"))),
            (
                ("LTAIx", "\u{201c}s3cret\u{201d}", None),
                Err(InvalidAccessKey::Characters("access key secret")),
            ),
            (("STS.x", "s3cret", None), Err(InvalidAccessKey::TokenMissing)),
            (("LTAIx", "s3cret", Some("t")), Err(InvalidAccessKey::TokenUnwanted)),
            (("STS.x", "s3cret", Some("t\u{e9}")), Err(InvalidAccessKey::Characters("security token"))),
        ];
        for ((id, secret, token), expected) in rows {
            assert_eq!(check(id, secret, token), expected, "{id} {secret} {token:?}");
        }
    }
}
