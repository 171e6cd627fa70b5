//! Signature V1, in the header and in the URL: `base64(HMAC-SHA1(secret, string))`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha1::Sha1;

use super::super::error::OssError;
use super::super::request::{OssRequest, RequestTarget};
use super::claim::{SignatureAlgorithm, SignatureClaim, SignatureValidity};
use super::header_error::{bad_authorization, bad_date, no_date};
use super::signed_headers::{merged, token_header};
use crate::time::Timestamp;

/// Parses `id:signature`, which follows `OSS ` in the header.
pub(super) fn in_header(request: &OssRequest, fields: &str) -> Result<SignatureClaim, OssError> {
    let Some((key_id, signature)) = fields.trim().split_once(':') else {
        return Err(bad_authorization());
    };
    let date = merged(&request.headers, "x-oss-date").or_else(|| merged(&request.headers, "date"));
    let date = date.ok_or_else(no_date)?;
    let text = std::str::from_utf8(&date).map_err(|_| bad_date())?;
    let at = Timestamp::parse_http_date(text).or_else(|| Timestamp::parse_iso_basic(text));
    Ok(SignatureClaim {
        key_id: key_id.to_owned(),
        signature: signature.to_owned(),
        token: token_header(&request.headers),
        validity: SignatureValidity::Around(at.ok_or_else(bad_date)?),
        string_to_sign: string_to_sign(request, &date),
        algorithm: SignatureAlgorithm::V1,
    })
}

/// Parses `OSSAccessKeyId`, `Expires` and `Signature`.
pub(super) fn in_url(request: &OssRequest) -> Result<SignatureClaim, OssError> {
    let query = &request.query;
    let (Some(key_id), Some(expires), Some(signature)) =
        (query.get("OSSAccessKeyId"), query.get("Expires"), query.get("Signature"))
    else {
        return Err(OssError::denied(
            "Query-string authentication requires the Signature, Expires and OSSAccessKeyId parameters",
        ));
    };
    let end =
        expires.parse().map_err(|_| OssError::denied("Invalid date (should be seconds since epoch)."))?;
    Ok(SignatureClaim {
        key_id: key_id.to_owned(),
        signature: signature.to_owned(),
        token: query.bytes("security-token").map(<[u8]>::to_vec),
        validity: SignatureValidity::Until(Timestamp::from_unix_s(end)),
        string_to_sign: string_to_sign(request, expires.as_bytes()),
        algorithm: SignatureAlgorithm::V1,
    })
}

/// Computes the signature of a string to sign.
pub(super) fn signature(secret: &str, string_to_sign: &[u8]) -> String {
    // HMAC takes keys of any length.
    let Ok(mut mac) = Hmac::<Sha1>::new_from_slice(secret.as_bytes()) else {
        return String::new();
    };
    mac.update(string_to_sign);
    STANDARD.encode(mac.finalize().into_bytes())
}

/// Builds the string to sign: verb, MD5, type, date, OSS headers, resource.
pub(super) fn string_to_sign(request: &OssRequest, date: &[u8]) -> Vec<u8> {
    let mut text = request.method.as_str().as_bytes().to_vec();
    for name in ["content-md5", "content-type"] {
        text.push(b'\n');
        text.extend(merged(&request.headers, name).unwrap_or_default());
    }
    text.push(b'\n');
    text.extend(date);
    text.push(b'\n');
    let mut names: Vec<&str> = request
        .headers
        .keys()
        .map(http::HeaderName::as_str)
        .filter(|name| name.starts_with("x-oss-"))
        .collect();
    names.sort_unstable();
    for name in names {
        text.extend(name.as_bytes());
        text.push(b':');
        text.extend(merged(&request.headers, name).unwrap_or_default());
        text.push(b'\n');
    }
    text.extend(resource(request));
    text
}

/// Returns the canonical resource, `/bucket/key?acl&uploadId=1`, decoded.
fn resource(request: &OssRequest) -> Vec<u8> {
    let mut text = b"/".to_vec();
    if let Some(bucket) = request.target.bucket() {
        text.extend(bucket.as_str().as_bytes());
        text.push(b'/');
    }
    if let RequestTarget::Object(_, key) = &request.target {
        text.extend(key);
    }
    let mut signed: Vec<_> = request.query.0.iter().filter(|pair| is_signed(&pair.name)).collect();
    signed.sort_by_key(|pair| (&pair.name, &pair.value));
    for (at, pair) in signed.into_iter().enumerate() {
        text.push(if at == 0 { b'?' } else { b'&' });
        text.extend(&pair.name);
        if !pair.value.is_empty() {
            text.push(b'=');
            text.extend(&pair.value);
        }
    }
    text
}

fn is_signed(name: &[u8]) -> bool {
    std::str::from_utf8(name).is_ok_and(|name| {
        name.starts_with("x-oss-") || SIGNED.split_ascii_whitespace().any(|own| own == name)
    })
}

/// The parameters that are part of the resource, in addition to every `x-oss-` name. OSS does not
/// publish its table. This is the union of the parameters that the vendor's SDKs sign.
const SIGNED: &str = "
    acl append bucketInfo delete location objectMeta partNumber position response-cache-control
    response-content-disposition response-content-encoding response-content-language response-content-type
    response-expires restore security-token stat symlink tagging uploadId uploads
    callback callback-var continuation-token sequential regionList versionId versioning versions cloudboxes
    comp cors endTime lifecycle live logging qos referer startTime status vod website
    encryption inventory inventoryId policy qosInfo requestPayment worm wormId wormExtend
    asyncFetch cname metaQuery replication replicationLocation replicationProgress style styleName
    transferAcceleration resourceGroup udf udfName udfImage udfImageDesc udfApplication udfApplicationLog img
    udfId withHashContext rtc responseHeader accessPoint accessPointPolicy bucketArchiveDirectRead httpsConfig
    publicAccessBlock redundancyTransition group link objectInfo requesterQosInfo qosRequester resourcePool
    resourcePoolInfo resourcePoolBuckets policyStatus processConfiguration seal vip vpcip cleanRestoredObject
    accessPointConfigForObjectProcess accessPointForObjectProcess accessPointPolicyForObjectProcess dataPipeline
    legalHold objectWorm overwriteConfig retention userDefinedLogFieldsConfig agenticBucket quota
    metadataConfiguration metadataInventoryTable metadataJournalTable";
