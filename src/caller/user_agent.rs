//! The name of the caller in `User-Agent`, as a token that a client cannot send. OSS writes the
//! header to its access log, and no signature of OSS covers it.

use http::header::USER_AGENT;
use http::{HeaderMap, HeaderValue};

/// Removes the tokens `caller/NAME` of the client, and puts that of the caller first.
pub(crate) fn name_in_user_agent(headers: &mut HeaderMap, caller: Option<&str>) {
    let mut text = Vec::new();
    text.extend(caller.into_iter().flat_map(|name| [TOKEN, name.as_bytes()].concat()));
    for line in headers.get_all(USER_AGENT) {
        let kept = without_tokens(line.as_bytes());
        let kept = kept.trim_ascii();
        if !text.is_empty() && !kept.is_empty() {
            text.push(b' ');
        }
        text.extend_from_slice(kept);
    }
    match HeaderValue::from_bytes(&text) {
        Ok(value) if !text.is_empty() => drop(headers.insert(USER_AGENT, value)),
        Ok(_) | Err(_) => drop(headers.remove(USER_AGENT)),
    }
}

/// Returns a value without the tokens of callers, in any case and at any position, even within
/// another word or a comment: a reader of the log may search for a part of a line.
fn without_tokens(value: &[u8]) -> Vec<u8> {
    let mut kept = Vec::with_capacity(value.len());
    let mut rest = value;
    while let Some(at) = rest.windows(TOKEN.len()).position(|part| part.eq_ignore_ascii_case(TOKEN)) {
        kept.extend_from_slice(&rest[..at]);
        // What is left begins with a byte that no token has, so it cannot complete another one.
        // guard: removal-joins-no-token
        let end = rest.iter().skip(at).position(|byte| !is_of_token(*byte));
        rest = end.map_or(&[][..], |end| &rest[at + end..]);
        if kept.last().is_none_or(u8::is_ascii_whitespace) {
            rest = rest.trim_ascii_start();
        }
    }
    kept.extend_from_slice(rest);
    kept
}

/// Returns whether a byte may be part of a product with its version (RFC 9110, 10.1.5).
fn is_of_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~/".contains(&byte)
}

/// The beginning of the token.
const TOKEN: &[u8] = b"caller/";

#[cfg(test)]
mod tests {
    use http::header::USER_AGENT;
    use http::{HeaderMap, HeaderValue};
    use proptest::prelude::*;

    use super::name_in_user_agent;

    /// Returns the header that is sent for a caller, and these lines of the client.
    fn sent<T: AsRef<[u8]>>(caller: Option<&str>, lines: &[T]) -> Option<Vec<u8>> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(USER_AGENT, HeaderValue::from_bytes(line.as_ref()).expect("a value"));
        }
        name_in_user_agent(&mut headers, caller);
        assert!(headers.get_all(USER_AGENT).iter().count() <= 1);
        headers.get(USER_AGENT).map(|value| value.as_bytes().to_vec())
    }

    #[test]
    fn the_caller_comes_first_and_tokens_of_the_client_are_removed() {
        for (lines, rest) in [
            (&[][..], ""),
            (&["aliyun-sdk-python/2.18.0 (Linux)"], " aliyun-sdk-python/2.18.0 (Linux)"),
            (&["caller/team-b"], ""),
            (&["curl/8 caller/team-b caller/team-b x"], " curl/8 x"),
            (&["curl/8 Caller/team-b CALLER/"], " curl/8"),
            (&["curl/8 (x; caller/team-b; y)"], " curl/8 (x; ; y)"),
            (&["curl/8 (caller/team-b)"], " curl/8 ()"),
            (&["xcaller/team-b y"], " x y"),
            (&["callercaller//team-b"], " caller"),
            (&["cacaller/caller/xller/team-b z"], " ca z"),
            (&["caller/\"team-b\""], " \"team-b\""),
            (&["a", "caller/team-b", "b"], " a b"),
            (&["caller", "/team-b"], " caller /team-b"),
            (&["the caller of x/1"], " the caller of x/1"),
        ] {
            let expected = format!("caller/team-a{rest}");
            assert_eq!(sent(Some("team-a"), lines), Some(expected.into_bytes()), "{lines:?}");
        }
        assert_eq!(sent(None, &["caller/team-b"]), None);
        assert_eq!(sent(None, &["curl/8 caller/team-b"]), Some(b"curl/8".to_vec()));
        assert_eq!(sent::<&str>(None, &[]), None);
    }

    /// Returns texts of the pieces of which tokens consist, and of other bytes.
    fn texts() -> impl Strategy<Value = Vec<u8>> {
        const PIECES: &[&[u8]] =
            &[b"caller/", b"CaLLeR", b"cal", b"ler", b"/", b" ", b"(", b"\"", b"team-b", b"\xe9"];
        prop::collection::vec(prop::sample::select(PIECES), 0..24).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn no_client_can_send_a_token_of_a_caller(lines in prop::collection::vec(texts(), 0..3)) {
            let sent = sent(Some("team-a"), &lines).expect("a header");
            let lower = String::from_utf8_lossy(&sent).to_ascii_lowercase();
            prop_assert!(lower.starts_with("caller/team-a"), "{lower}");
            prop_assert!(lower.len() == 13 || lower.as_bytes()[13] == b' ', "{lower}");
            prop_assert_eq!(lower.matches("caller/").count(), 1, "{}", lower);
        }

        #[test]
        fn a_line_without_a_token_is_sent_as_it_was(line in "[a-z/ ();.0-9]{0,40}") {
            prop_assume!(!line.contains("caller/") && !line.trim().is_empty());
            let expected = format!("caller/team-a {}", line.trim());
            prop_assert_eq!(sent(Some("team-a"), &[line]), Some(expected.into_bytes()));
        }
    }
}
