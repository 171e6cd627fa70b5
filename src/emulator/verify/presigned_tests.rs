//! Verification of published signatures in URLs.

use std::str::FromStr as _;

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use serde_json::Value;

use super::super::encoding::{ParameterPair, ParameterPairs};
use super::super::request::{OssRequest, RequestTarget};
use super::super::settings::{EmulatedAccount, ServiceIdentity};
use super::{RequestAuthentication, SignatureVerifier, authenticate};
use crate::oss::{Bucket, Region};
use crate::time::Timestamp;

/// A request whose URL contains the signature of a vector.
struct Presigned {
    id: String,
    request: OssRequest,
    account: EmulatedAccount,
    identity: ServiceIdentity,
    signed_at: Timestamp,
    ends: Timestamp,
}

impl Presigned {
    fn all() -> Vec<Self> {
        let json: Value =
            serde_json::from_str(include_str!("../../../tests/vectors/presigned.json")).expect("JSON");
        json["vectors"].as_array().expect("a list").iter().map(Self::new).collect()
    }

    fn new(json: &Value) -> Self {
        let time = text(&json["time"]).replace(['-', ':'], "");
        let signed_at = Timestamp::parse_iso_basic(&time).expect("a time");
        let mut headers = HeaderMap::new();
        for (name, value) in pairs(&json["headers"]) {
            let name = HeaderName::from_str(&name).expect("a header name");
            headers.append(name, HeaderValue::from_str(&value).expect("a header value"));
        }
        let region = json["region"].as_str().unwrap_or("cn-hangzhou");
        let place = ServiceIdentity::new(Region::parse(region).expect("a region"), Vec::new());
        let mut query = pairs(&json["query"]);
        let expires = json["expires"].as_i64().expect("a number");
        let ends = if json["version"] == "v1" {
            query.extend(v1_fields(json, expires));
            Timestamp::from_unix_s(expires)
        } else {
            query.extend(v4_fields(json, expires, &time, &place, &headers));
            Timestamp::from_unix_s(signed_at.unix_s() + expires)
        };
        let id = text(&json["access_key_id"]);
        let secret = text(&json["access_key_secret"]);
        let bucket = Bucket::parse(&text(&json["bucket"])).expect("a bucket name");
        let as_pair =
            |(name, value): (String, String)| ParameterPair { name: name.into(), value: value.into() };
        Self {
            id: text(&json["id"]),
            request: OssRequest {
                method: Method::from_str(&text(&json["method"])).expect("a method"),
                target: RequestTarget::Object(bucket, text(&json["key"]).into()),
                query: ParameterPairs(query.into_iter().map(as_pair).collect()),
                headers,
            },
            account: match json["security_token"].as_str() {
                None => EmulatedAccount::pair(&id, &secret),
                Some(token) => EmulatedAccount::temporary(&id, &secret, token),
            },
            identity: place,
            signed_at,
            ends,
        }
    }

    fn judge_at(&self, now: Timestamp) -> Result<RequestAuthentication, String> {
        let accounts = std::slice::from_ref(&self.account);
        let judge = SignatureVerifier { accounts, identity: &self.identity, now, simulated_failure: None };
        authenticate(&self.request, &judge).map_err(|failure| failure.into_parts().code.into_owned())
    }
}

fn v1_fields(json: &Value, expires: i64) -> Vec<(String, String)> {
    fields(&[
        ("OSSAccessKeyId", Some(text(&json["access_key_id"]))),
        ("Expires", Some(expires.to_string())),
        ("Signature", Some(text(&json["signature"]))),
        ("security-token", json["security_token"].as_str().map(str::to_owned)),
    ])
}

fn v4_fields(
    json: &Value,
    expires: i64,
    time: &str,
    place: &ServiceIdentity,
    headers: &HeaderMap,
) -> Vec<(String, String)> {
    let scope = format!("{}/{}/{}/aliyun_v4_request", &time[..8], place.region, place.product());
    let listed = json["additional_headers"].as_array().expect("a list").iter();
    // A signer omits headers that are signed by default or missing.
    let mut additional: Vec<_> = listed.map(|name| text(name).to_ascii_lowercase()).collect();
    additional.retain(|name| !name.starts_with("x-oss-") && headers.contains_key(name.as_str()));
    additional.sort();
    fields(&[
        ("x-oss-signature-version", Some("OSS4-HMAC-SHA256".to_owned())),
        ("x-oss-credential", Some(format!("{}/{scope}", text(&json["access_key_id"])))),
        ("x-oss-date", Some(time.to_owned())),
        ("x-oss-expires", Some(expires.to_string())),
        ("x-oss-signature", Some(text(&json["signature"]))),
        ("x-oss-additional-headers", Some(additional.join(";")).filter(|list| !list.is_empty())),
        ("x-oss-security-token", json["security_token"].as_str().map(str::to_owned)),
    ])
}

fn fields(all: &[(&str, Option<String>)]) -> Vec<(String, String)> {
    all.iter().filter_map(|(name, value)| Some(((*name).to_owned(), value.clone()?))).collect()
}

fn pairs(list: &Value) -> Vec<(String, String)> {
    list.as_array().expect("a list").iter().map(|pair| (text(&pair[0]), text(&pair[1]))).collect()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or("").to_owned()
}

#[test]
fn every_presigned_vector_is_let_in_until_it_ends() {
    let all = Presigned::all();
    assert_eq!(all.len(), 19);
    for vector in all {
        let own = Ok(RequestAuthentication::Account(vector.account.access_key_id.clone()));
        for now in [vector.signed_at, vector.ends] {
            assert_eq!(vector.judge_at(now), own, "{} at {}", vector.id, now.unix_s());
        }
        let late = Timestamp::from_unix_s(vector.ends.unix_s() + 1);
        assert_eq!(vector.judge_at(late), Err("AccessDenied".to_owned()), "{} is over", vector.id);
    }
}

#[test]
fn a_presigned_url_is_for_its_method_key_and_parameters() {
    for vector in Presigned::all() {
        let changes: [fn(&mut OssRequest); 3] = [
            |request| request.method = Method::DELETE,
            |request| {
                if let RequestTarget::Object(_, key) = &mut request.target {
                    key.push(b'x');
                }
            },
            |request| request.query.0.push(ParameterPair { name: b"acl".to_vec(), value: Vec::new() }),
        ];
        for (at, change) in changes.into_iter().enumerate() {
            let mut changed = Presigned::all().into_iter().find(|one| one.id == vector.id).expect("itself");
            change(&mut changed.request);
            let judged = changed.judge_at(vector.signed_at);
            assert_eq!(judged, Err("SignatureDoesNotMatch".to_owned()), "{} change {at}", vector.id);
        }
    }
}
