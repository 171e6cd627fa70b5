//! Redacts texts that contain secrets. Security tokens are hidden at any position, signatures are
//! cut, and bytes that are not text are escaped. Pure.

use std::borrow::Cow;

use http::{HeaderName, HeaderValue};

use crate::proxy::without_token;

/// Redacts the security tokens in a signed text. A token that differs from `own` is marked as such.
/// An intermediate proxy may already have removed `own`.
pub(super) fn redact_token(text: &[u8], own: Option<&str>) -> Vec<u8> {
    let own = own.unwrap_or_default();
    let mut out = Vec::with_capacity(text.len());
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        match line.strip_prefix(TOKEN_LINE) {
            Some(rest) => {
                let end = rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
                out.extend_from_slice(TOKEN_LINE);
                out.extend_from_slice(stand_in(&rest[..end], own));
                out.extend_from_slice(&rest[end..]);
            }
            None => hide_parameters(line, &SIGNATURE_PARAMETERS[..2], &mut out),
        }
    }
    without_token(&out, own).unwrap_or(out)
}

fn stand_in(value: &[u8], own: &str) -> &'static [u8] {
    match value {
        b"" => b"",
        b"[removed]" | b"[hidden]" => HIDDEN,
        value if !own.is_empty() && value == own.as_bytes() => HIDDEN,
        _ => b"[hidden, not ours]",
    }
}

/// Redacts the target of a request: the token and the signature of a signed URL, and a password.
pub(in super::super) fn target(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    hide_parameters(without_user(text).as_bytes(), &SIGNATURE_PARAMETERS, &mut out);
    printable(&out)
}

fn without_user(text: &str) -> Cow<'_, str> {
    let Some((scheme, rest)) = text.split_once("://") else { return Cow::Borrowed(text) };
    let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    match authority.rsplit_once('@') {
        Some((_, host)) => Cow::Owned(format!("{scheme}://[hidden]@{host}{path}")),
        None => Cow::Borrowed(text),
    }
}

/// Copies a line, except for the values of these parameters.
fn hide_parameters(line: &[u8], names: &[&[u8]], out: &mut Vec<u8>) {
    for part in line.split_inclusive(|byte| b"?&\n".contains(byte)) {
        match names.iter().find(|name| part.starts_with(name)) {
            Some(name) => {
                out.extend_from_slice(name);
                out.extend_from_slice(HIDDEN);
                out.extend(part.last().filter(|byte| b"?&\n".contains(byte)));
            }
            None => out.extend_from_slice(part),
        }
    }
}

/// Returns the value of a header, redacted.
pub(super) fn header(name: &HeaderName, value: &HeaderValue) -> String {
    let bytes = value.as_bytes();
    if !value.is_sensitive() && name != http::header::COOKIE {
        return printable(bytes);
    }
    if name != http::header::AUTHORIZATION {
        return "[hidden]".to_owned();
    }
    let text = String::from_utf8_lossy(bytes);
    let cut = |from: &str, id: &str, to: &str| format!("{from}{}{to}…", super::sources::masked(id));
    if let Some((scheme, rest)) = text.split_once(" Credential=")
        && let Some((id, rest)) = rest.split_once('/')
        && let Some((scope, _)) = rest.split_once(",Signature=")
    {
        return cut(&format!("{scheme} Credential="), id, &format!("/{scope},Signature="));
    }
    match text.strip_prefix("OSS ").and_then(|rest| rest.split_once(':')) {
        Some((id, _)) => cut("OSS ", id, ":"),
        None => "[hidden]".to_owned(),
    }
}

/// Returns the text with control characters escaped, and with bytes that are not text as `\xNN`.
pub(in super::super) fn printable(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            if c.is_control() { out.extend(c.escape_default()) } else { out.push(c) }
        }
        for byte in chunk.invalid() {
            out.extend(byte.escape_ascii().map(char::from));
        }
    }
    out
}

const HIDDEN: &[u8] = b"[hidden]";
const TOKEN_LINE: &[u8] = b"x-oss-security-token:";
/// The secret parameters of signed URLs. The first two are signed themselves.
const SIGNATURE_PARAMETERS: [&[u8]; 4] =
    [b"x-oss-security-token=", b"security-token=", b"x-oss-signature=", b"Signature="];

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use http::header::AUTHORIZATION;

    use super::{header, printable, redact_token, target};

    #[test]
    fn tokens_are_hidden_whoever_they_belong_to() {
        let text =
            b"GET\n\nx-oss-security-token:own-token\nx-oss-process:own-token\n/b/k?security-token=other&x";
        let shown = redact_token(text, Some("own-token"));
        assert_eq!(
            String::from_utf8_lossy(&shown),
            "GET\n\nx-oss-security-token:[hidden]\nx-oss-process:[removed]\n/b/k?security-token=[hidden]&x"
        );
        assert_eq!(
            target("/b/k?Signature=abc&Expires=1&x-oss-signature=abc"),
            "/b/k?Signature=[hidden]&Expires=1&x-oss-signature=[hidden]"
        );
        assert_eq!(target("http://me:pass@b.oss/k?a=@"), "http://[hidden]@b.oss/k?a=@");
        assert_eq!(target("/b/k@x:y"), "/b/k@x:y");
        let other = redact_token(b"x-oss-security-token:other\nx", Some("own-token"));
        assert_eq!(String::from_utf8_lossy(&other), "x-oss-security-token:[hidden, not ours]\nx");
        assert_eq!(redact_token(b"x-oss-security-token:[removed]", None), b"x-oss-security-token:[hidden]");
    }

    #[test]
    fn of_an_authorization_the_signature_and_the_middle_of_the_id_are_cut() {
        for (value, shown) in [
            (
                "OSS4-HMAC-SHA256 Credential=LTAI5tExampleKeyId/20240524/cn-hangzhou/oss/aliyun_v4_request,Signature=abc",
                "OSS4-HMAC-SHA256 Credential=LTAI…eyId/20240524/cn-hangzhou/oss/aliyun_v4_request,Signature=…",
            ),
            ("OSS LTAI5tExampleKeyId:abc=", "OSS LTAI…eyId:…"),
            ("other", "[hidden]"),
        ] {
            let mut value = HeaderValue::from_static(value);
            value.set_sensitive(true);
            assert_eq!(header(&AUTHORIZATION, &value), shown);
        }
        assert_eq!(header(&http::header::COOKIE, &HeaderValue::from_static("sid=1")), "[hidden]");
    }

    #[test]
    fn what_is_no_text_is_escaped() {
        assert_eq!(printable("文\t\u{7f}".as_bytes()), "文\\t\\u{7f}");
        assert_eq!(printable(b"a\xff\\"), "a\\xff\\");
    }
}
