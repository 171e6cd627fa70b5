//! `ACS3-HMAC-SHA256`: "Request syntax and signature method V3" (Alibaba Cloud SDK documentation).

use base16ct::lower::encode_string;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use super::call::{CallStamp, FORM, StsCall, VERSION};
use crate::credentials::Credentials;
use crate::transport::Url;

/// Returns the headers of a signed call to `/` without a query.
pub(super) fn headers(
    call: &StsCall,
    key: &Credentials,
    url: &Url,
    stamp: CallStamp<'_>,
) -> Vec<(&'static str, Zeroizing<String>)> {
    let own = |text: &str| Zeroizing::new(text.to_owned());
    let mut signed = vec![
        ("content-type", own(FORM)),
        ("host", own(&url.host())),
        ("x-acs-action", own(call.action)),
        ("x-acs-content-sha256", own(&encode_string(&Sha256::digest(&call.form)))),
        ("x-acs-date", own(stamp.at)),
        ("x-acs-signature-nonce", own(stamp.nonce)),
        ("x-acs-version", own(VERSION)),
    ];
    if let Some(token) = &key.token {
        signed.push(("x-acs-accesskey-id", own(&key.id)));
        signed.push(("x-acs-security-token", own(token.expose())));
    }
    signed.sort_by_key(|(name, _)| *name);
    let lines: Vec<(&str, &str)> = signed.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let canonical = CanonicalRequest { method: "POST", path: "/", query: "", headers: &lines };
    let authorization =
        canonical.authorization(&encode_string(&Sha256::digest(&call.form)), &key.id, key.secret.expose());
    // The HTTP client writes `Host`.
    signed.retain(|(name, _)| *name != "host");
    signed.push(("authorization", Zeroizing::new(authorization)));
    signed
}

/// The parts of a canonical request; the headers are sorted by their lower-case names.
struct CanonicalRequest<'a> {
    method: &'a str,
    path: &'a str,
    query: &'a str,
    headers: &'a [(&'a str, &'a str)],
}

impl CanonicalRequest<'_> {
    fn authorization(&self, hashed_body: &str, id: &str, secret: &str) -> String {
        let names = self.headers.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(";");
        let mut request = Zeroizing::new(format!("{}\n{}\n{}\n", self.method, self.path, self.query));
        for (name, value) in self.headers {
            for part in [name, ":", value, "\n"] {
                request.push_str(part);
            }
        }
        request.push_str(&format!("\n{names}\n{hashed_body}"));
        let to_sign = format!("{ALGORITHM}\n{}", encode_string(&Sha256::digest(request.as_bytes())));
        #[expect(clippy::expect_used, reason = "RFC 2104: a key of any length is valid")]
        let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("any length");
        mac.update(to_sign.as_bytes());
        let signature = encode_string(&mac.finalize().into_bytes());
        format!("{ALGORITHM} Credential={id},SignedHeaders={names},Signature={signature}")
    }
}

const ALGORITHM: &str = "ACS3-HMAC-SHA256";

#[cfg(test)]
mod tests {
    use base16ct::lower::encode_string;
    use serde_json::Value;
    use sha2::{Digest as _, Sha256};

    use super::CanonicalRequest;

    #[test]
    fn the_documented_example_is_signed_as_documented() {
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        let canonical = CanonicalRequest {
            method: "POST",
            path: "/",
            query: "ImageId=win2019_1809_x64_dtc_zh-cn_40G_alibase_20230811.vhd&RegionId=cn-shanghai",
            headers: &[
                ("host", "ecs.cn-shanghai.aliyuncs.com"),
                ("x-acs-action", "RunInstances"),
                ("x-acs-content-sha256", empty),
                ("x-acs-date", "2023-10-26T10:22:32Z"),
                ("x-acs-signature-nonce", "3156853299f313e23d1673dc12e1703d"),
                ("x-acs-version", "2014-05-26"),
            ],
        };
        assert_eq!(
            canonical.authorization(empty, "YourAccessKeyId", "YourAccessKeySecret"),
            "ACS3-HMAC-SHA256 Credential=YourAccessKeyId,SignedHeaders=host;x-acs-action;x-acs-content-sha256;x-acs-date;\
             x-acs-signature-nonce;x-acs-version,Signature=06563a9e1b43f5dfe96b81484da74bceab24a1d853912eee15083a6f0f3283c0"
        );
    }

    /// Some vectors of the vendor's test suites sign the word `undefined`, or nothing, as the
    /// method. Those are not valid calls, but their signatures are correct.
    #[test]
    fn signatures_are_those_of_the_vendor() {
        let all: Value = serde_json::from_str(include_str!("../../../tests/vectors/sts.json")).expect("json");
        let rows = all["acs3"].as_array().expect("rows");
        assert_eq!(rows.len(), 5);
        for row in rows {
            let text = |key: &str| row[key].as_str().expect("text");
            let pairs = |key: &str| -> Vec<(String, String)> {
                let object = row[key].as_object().expect("pairs").iter();
                object.map(|(name, value)| (name.clone(), value.as_str().expect("text").to_owned())).collect()
            };
            let (headers, mut query) = (pairs("canonical_headers"), pairs("query"));
            query.sort();
            let query: Vec<String> = query.iter().map(|(name, value)| format!("{name}={value}")).collect();
            let headers: Vec<(&str, &str)> = headers.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
            let canonical = CanonicalRequest {
                method: text("method"),
                path: text("canonical_uri"),
                query: &query.join("&"),
                headers: &headers,
            };
            let id = text("access_key_id");
            let secret = text("access_key_secret");
            let authorization = canonical.authorization(text("hashed_payload"), id, secret);
            assert_eq!(authorization, row["expected_authorization"], "{}", row["id"]);
        }
        let hash = &all["primitives"][0];
        let message = hash["message"].as_str().expect("text");
        assert_eq!(encode_string(&Sha256::digest(message.as_bytes())), hash["expected"]);
    }
}
