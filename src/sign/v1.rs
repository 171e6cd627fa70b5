//! Signature V1: HMAC-SHA1 over a text that names the bucket, the key and the parameters of a fixed
//! table. Follows "Include a V1 signature in the header" (OSS API reference). The table of the
//! service is not published. The one here is the union of the parameters that the vendor's SDKs
//! sign, and of all that begin with `x-oss-`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use http::header::{HeaderName, HeaderValue};
use sha1::Sha1;

use super::signable_request::{SignableRequest, collect, is_oss_header, write_headers};
use crate::oss::Query;
use crate::secret::Secret;

/// An access key, prepared for signing.
pub(crate) struct V1Key {
    mac: Hmac<Sha1>,
    id: String,
}

impl V1Key {
    /// Prepares an access key.
    #[must_use]
    pub(crate) fn new(id: &str, secret: &Secret) -> Self {
        Self { mac: keyed(secret), id: id.to_owned() }
    }

    /// Returns the value of `Authorization` for `request`, on which `added` will be set.
    #[must_use]
    pub(crate) fn authorize(
        &self,
        request: &SignableRequest<'_>,
        added: &[(HeaderName, HeaderValue)],
    ) -> String {
        format!("OSS {}:{}", self.id, self.signature(&string_to_sign(request, added)))
    }

    /// Returns the parameters of `request`, followed by those that sign its URL: "Add signatures to
    /// a URL" (OSS API reference). The client must send the signed headers of `request` with the
    /// URL. `expires` is in seconds since 1970.
    #[must_use]
    pub(crate) fn presign(&self, request: &SignableRequest<'_>, expires: i64, token: Option<&[u8]>) -> Query {
        let mut query = request.query.clone();
        if let Some(token) = token {
            query.push("security-token", token);
        }
        let expires = expires.to_string();
        let text = string_to_sign_with(&SignableRequest { query: &query, ..*request }, &expires);
        query.push("OSSAccessKeyId", self.id.as_str());
        query.push("Expires", expires);
        query.push("Signature", self.signature(&text));
        query
    }

    /// Returns the access key id.
    #[must_use]
    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// Returns the signature in base64.
    #[must_use]
    pub(crate) fn signature(&self, string_to_sign: &[u8]) -> String {
        STANDARD.encode(self.mac.clone().chain_update(string_to_sign).finalize().into_bytes())
    }
}

/// Returns the signature of a text.
#[must_use]
pub(crate) fn mac(secret: &Secret, string_to_sign: &[u8]) -> [u8; 20] {
    keyed(secret).chain_update(string_to_sign).finalize().into_bytes().into()
}

fn keyed(secret: &Secret) -> Hmac<Sha1> {
    // HMAC accepts keys of any length.
    #[expect(clippy::expect_used, reason = "RFC 2104: a key of any length is valid")]
    Hmac::new_from_slice(secret.expose().as_bytes()).expect("any length")
}

/// Returns the text whose HMAC is the signature. The date is that of `x-oss-date`, or else of
/// `Date`.
#[must_use]
pub(crate) fn string_to_sign(request: &SignableRequest<'_>, added: &[(HeaderName, HeaderValue)]) -> Vec<u8> {
    write(request, added, None)
}

/// Returns the string to sign with this text as the date. In a URL it is the expiry time.
#[must_use]
pub(crate) fn string_to_sign_with(request: &SignableRequest<'_>, date: &str) -> Vec<u8> {
    write(request, &[], Some(date))
}

fn write(request: &SignableRequest<'_>, added: &[(HeaderName, HeaderValue)], date: Option<&str>) -> Vec<u8> {
    let lines = collect(request, added, |name| is_oss_header(name) || PLAIN.contains(&name));
    let value_of = |wanted: &str| lines.iter().find(|line| line.0 == wanted).map(|line| line.1);
    let date = date.map(str::as_bytes).or_else(|| value_of("x-oss-date")).or_else(|| value_of("date"));
    let mut out = Vec::with_capacity(512);
    out.extend_from_slice(request.method.as_str().as_bytes());
    for value in [value_of("content-md5"), value_of("content-type"), date] {
        out.push(b'\n');
        out.extend_from_slice(value.unwrap_or_default());
    }
    out.push(b'\n');
    let oss: Vec<_> = lines.into_iter().filter(|line| is_oss_header(line.0)).collect();
    write_headers(&oss, &mut out);
    write_resource(request, &mut out);
    out
}

/// Writes `/bucket/key?acl&uploadId=…`, decoded. The bucket is written for every form of the host.
fn write_resource(request: &SignableRequest<'_>, out: &mut Vec<u8>) {
    out.push(b'/');
    if let Some(bucket) = request.bucket {
        out.extend_from_slice(bucket.as_str().as_bytes());
        out.push(b'/');
        out.extend_from_slice(request.key.as_bytes());
    }
    let mut params: Vec<_> = request
        .query
        .params()
        .iter()
        .filter(|param| is_signed_parameter(&param.name))
        .map(|param| (param.name.as_slice(), param.value.as_deref().unwrap_or_default()))
        .collect();
    params.sort_unstable();
    for (index, (name, value)) in params.iter().enumerate() {
        out.push(if index == 0 { b'?' } else { b'&' });
        out.extend_from_slice(name);
        if !value.is_empty() {
            out.push(b'=');
            out.extend_from_slice(value);
        }
    }
}

/// Returns whether a signature covers the parameter of this name.
#[must_use]
pub(crate) fn is_signed_parameter(name: &[u8]) -> bool {
    name.starts_with(b"x-oss-") || SUBRESOURCES.iter().any(|known| known.as_bytes() == name)
}

/// The headers whose values are signed in separate lines, without their names.
const PLAIN: [&str; 3] = ["content-md5", "content-type", "date"];

/// The parameters that any SDK of the vendor signs, in alphabetical order.
const SUBRESOURCES: &[&str] = &[
    "accessPoint",
    "accessPointConfigForObjectProcess",
    "accessPointForObjectProcess",
    "accessPointPolicy",
    "accessPointPolicyForObjectProcess",
    "acl",
    "agenticBucket",
    "append",
    "asyncFetch",
    "bucketArchiveDirectRead",
    "bucketInfo",
    "callback",
    "callback-var",
    "cleanRestoredObject",
    "cloudboxes",
    "cname",
    "comp",
    "continuation-token",
    "cors",
    "dataPipeline",
    "delete",
    "encryption",
    "endTime",
    "group",
    "httpsConfig",
    "img",
    "inventory",
    "inventoryId",
    "legalHold",
    "lifecycle",
    "link",
    "live",
    "location",
    "logging",
    "metaQuery",
    "metadataConfiguration",
    "metadataInventoryTable",
    "metadataJournalTable",
    "objectInfo",
    "objectMeta",
    "objectWorm",
    "overwriteConfig",
    "partNumber",
    "policy",
    "policyStatus",
    "position",
    "processConfiguration",
    "publicAccessBlock",
    "qos",
    "qosInfo",
    "qosRequester",
    "quota",
    "redundancyTransition",
    "referer",
    "regionList",
    "replication",
    "replicationLocation",
    "replicationProgress",
    "requestPayment",
    "requesterQosInfo",
    "resourceGroup",
    "resourcePool",
    "resourcePoolBuckets",
    "resourcePoolInfo",
    "response-cache-control",
    "response-content-disposition",
    "response-content-encoding",
    "response-content-language",
    "response-content-type",
    "response-expires",
    "responseHeader",
    "restore",
    "retention",
    "rtc",
    "seal",
    "security-token",
    "sequential",
    "startTime",
    "stat",
    "status",
    "style",
    "styleName",
    "symlink",
    "tagging",
    "transferAcceleration",
    "udf",
    "udfApplication",
    "udfApplicationLog",
    "udfId",
    "udfImage",
    "udfImageDesc",
    "udfName",
    "uploadId",
    "uploads",
    "userDefinedLogFieldsConfig",
    "versionId",
    "versioning",
    "versions",
    "vip",
    "vod",
    "vpcip",
    "website",
    "withHashContext",
    "worm",
    "wormExtend",
    "wormId",
];
