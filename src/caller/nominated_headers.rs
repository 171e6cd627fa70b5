//! Headers that `Connection` nominates. They are removed before a signature is verified, so a client
//! or a middleman could remove a signed header in this way (RFC 9110, 7.6.1).

use http::HeaderMap;
use http::header::CONNECTION;

use super::identity_error::{IdentityError, MalformedSignature};
use crate::sign::v4;

/// Checks that `Connection` names no header that belongs to a signature.
///
/// # Errors
/// [`IdentityError::Malformed`].
pub(crate) fn check_nominated(headers: &HeaderMap) -> Result<(), IdentityError> {
    let names =
        headers.get_all(CONNECTION).iter().flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
    let mut names = names.map(|name| name.trim_ascii().to_ascii_lowercase());
    // guard: nominated-signature
    if names.any(|name| std::str::from_utf8(&name).is_ok_and(is_of_signature)) {
        return Err(NOMINATED.into());
    }
    Ok(())
}

fn is_of_signature(name: &str) -> bool {
    v4::is_signed(name) || matches!(name, "authorization" | "date" | "security-token")
}

const NOMINATED: MalformedSignature = MalformedSignature::argument(
    "The Connection header names a header of the signature, which would be removed.",
);

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::check_nominated;

    #[test]
    fn connection_names_no_header_of_a_signature() {
        for (lines, is_valid) in [
            (&["close"][..], true),
            (&["keep-alive, x-other"], true),
            (&["x-oss-meta-a"], false),
            (&["close,\tX-OSS-Date "], false),
            (&["close", "Authorization"], false),
            (&["content-type"], false),
            (&["date"], false),
        ] {
            let line = |line: &&str| (http::header::CONNECTION, line.parse().expect("a value"));
            let mut headers = HeaderMap::new();
            for (name, value) in lines.iter().map(line) {
                headers.append(name, value);
            }
            assert_eq!(check_nominated(&headers).is_ok(), is_valid, "{lines:?}");
        }
    }
}
