//! Removal of the signature of a client. OSS rejects two signatures, and a foreign token together
//! with the access key of the proxy.

use http::{HeaderMap, HeaderName};

use crate::oss::{Query, is_of_signature};

/// Removes the signature of the client from a request.
pub fn remove_client_signature(headers: &mut HeaderMap, query: &mut Query) {
    // guard: client-signature
    remove_signature(headers);
    query.remove(is_of_signature);
}

/// Removes a signature from the headers.
pub(crate) fn remove_signature(headers: &mut HeaderMap) {
    let signature: Vec<HeaderName> =
        headers.keys().filter(|name| SIGNATURE_HEADERS.contains(&name.as_str())).cloned().collect();
    for name in signature {
        headers.remove(name);
    }
}

const SIGNATURE_HEADERS: [&str; 6] =
    ["authorization", "date", "x-oss-date", "x-oss-content-sha256", "x-oss-security-token", "security-token"];

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue};

    use super::remove_client_signature;
    use crate::oss::Query;

    #[test]
    fn a_clients_own_signature_is_taken_off_and_nothing_else() {
        let mut headers = HeaderMap::new();
        for name in
            ["authorization", "date", "x-oss-date", "x-oss-security-token", "security-token", "x-oss-meta-a"]
        {
            headers.insert(name, HeaderValue::from_static("v"));
        }
        let text = "acl&OSSAccessKeyId=a&Expires=1&Signature=s&x-oss-signature=s&x-oss-process=p&expires=2";
        let mut query = Query::parse(text).expect("a query");
        remove_client_signature(&mut headers, &mut query);
        assert_eq!(headers.keys().map(http::HeaderName::as_str).collect::<Vec<_>>(), ["x-oss-meta-a"]);
        let mut left = String::new();
        query.write(&mut left);
        assert_eq!(left, "?acl&x-oss-process=p&expires=2");
    }
}
