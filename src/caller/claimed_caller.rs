//! The caller that a request claims to come from, by an access key id that is not verified.

use std::sync::Arc;

use http::HeaderMap;
use http::header::AUTHORIZATION;

use super::directory::{Caller, CallerDirectory};
use super::real_key_id::beginning_of_key_id;
use super::signature_claim::text_parameter;
use crate::oss::Query;
use crate::time::Timestamp;

/// Returns the caller whose access key id the signature of a request names. The signature may be
/// wrong.
pub(crate) fn claimed_caller(
    headers: &HeaderMap,
    query: &Query,
    directory: &CallerDirectory,
) -> Option<Arc<Caller>> {
    let id = id_in_header(headers).or_else(|| id_in_url(query))?;
    directory.key(id).map(|entry| Arc::clone(&entry.caller))
}

/// Returns the access key id that the signature of a request names, for a log: in full if a caller has
/// it, and otherwise its beginning, since it may be anything.
pub(crate) fn claimed_key_id(
    headers: &HeaderMap,
    query: &Query,
    directory: &CallerDirectory,
) -> Option<String> {
    let id = id_in_header(headers).or_else(|| id_in_url(query))?;
    Some(if directory.key(id).is_some() { id.to_owned() } else { beginning_of_key_id(id) })
}

/// Returns the caller whose key the signature in a URL names, as of `now`. A key that was handed out
/// comes with its token.
pub(super) fn claimed_in_url(
    query: &Query,
    directory: &CallerDirectory,
    now: Timestamp,
) -> Option<Arc<Caller>> {
    let id = id_in_url(query)?;
    if let Some(entry) = directory.key(id) {
        return Some(Arc::clone(&entry.caller));
    }
    let token =
        ["x-oss-security-token", "security-token"].iter().find_map(|name| text_parameter(query, name))?;
    directory.handed_out(id, token, now).ok().map(|entry| entry.caller)
}

fn id_in_header(headers: &HeaderMap) -> Option<&str> {
    let text = headers.get(AUTHORIZATION)?.to_str().ok()?.trim_matches([' ', '\t']);
    let (scheme, fields) = text.split_once(' ')?;
    if scheme == "OSS" {
        return Some(fields.split_once(':')?.0);
    }
    let (_, credential) = fields.split_once("Credential=")?;
    Some(credential.split_once('/')?.0)
}

fn id_in_url(query: &Query) -> Option<&str> {
    let of_v4 = || Some(text_parameter(query, "x-oss-credential")?.split_once('/')?.0);
    text_parameter(query, "OSSAccessKeyId").or_else(of_v4)
}

#[cfg(test)]
mod tests {
    use super::claimed_caller;
    use crate::caller::test_request::{KEY_ID, NOW, SignedForm, TestRequest, directory};

    #[test]
    fn the_id_in_a_signature_names_its_caller_even_if_the_signature_is_wrong() {
        let directory = directory(false);
        for form in SignedForm::ALL {
            for (id, expected) in [(KEY_ID, Some("one")), ("two-1", Some("two")), ("nobody", None)] {
                let signed = TestRequest::new("GET", "k", "").signed_with(form, NOW, id, "wrong");
                let found = claimed_caller(&signed.headers, &signed.query, &directory);
                assert_eq!(found.as_ref().map(|caller| &*caller.name), expected, "{form:?} {id}");
            }
        }
        let token = TestRequest::new("GET", "k", "").header("authorization", "Bearer one-1");
        assert!(claimed_caller(&token.headers, &token.query, &directory).is_none());
    }
}
