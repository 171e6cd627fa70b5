//! The check that an upstream fixed to one bucket serves no other: in headers, parameters and
//! bodies. Bodies are not read: a request whose body can name a bucket is rejected. Pure.

use base64::Engine as _;
use base64::alphabet::URL_SAFE;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use http::{HeaderName, HeaderValue, Method};

use super::listener_request::ListenerRequest;
use crate::oss::{Bucket, QueryParameter, decode};

/// The part of a request that names, or could name, a bucket other than the pinned one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PinBreach {
    /// The header with this name.
    #[error("the header {0} is invalid or names another bucket; only the bucket of this upstream is allowed")]
    Header(&'static str),
    /// The query parameter with this name.
    #[error(
        "the parameter {0} is invalid or names another bucket; only the bucket of this upstream is allowed"
    )]
    Parameter(&'static str),
    /// A body, by the parameter that defines its content.
    #[error(
        "only the bucket of this upstream is allowed, and a body sent with {0} can name another; send it through an upstream without `bucket`"
    )]
    Body(&'static str),
    /// A body of unknown content.
    #[error(
        "only the bucket of this upstream is allowed, and the request writes an unknown setting; send it through an upstream without `bucket`"
    )]
    UnknownSetting,
}

/// Checks that nothing in the request names a bucket other than `pin`.
///
/// # Errors
/// The first part of the request that names, or could name, another bucket.
pub(super) fn check(pin: &Bucket, request: &ListenerRequest<'_>) -> Result<(), PinBreach> {
    for name in request.headers.keys() {
        check_header(pin, name, request)?;
    }
    let has_body = !matches!(*request.method, Method::GET | Method::HEAD | Method::DELETE | Method::OPTIONS);
    for param in request.query.params() {
        if let Some(name) = find(&PROCESSES, &param.name) {
            check_process(pin, name, param, has_body)?;
        } else if has_body {
            // guard: pin-body
            check_body(param)?;
        }
    }
    Ok(())
}

fn check_header(pin: &Bucket, name: &HeaderName, request: &ListenerRequest<'_>) -> Result<(), PinBreach> {
    let mut lines = request.headers.get_all(name).iter().map(HeaderValue::as_bytes);
    let name = name.as_str().as_bytes();
    if let Some(name) = find(&COPY_SOURCES, name) {
        // Repeated headers are merged before they are sent, so only a single one is accepted.
        // guard: pin-copy-source
        let is_ours = lines.next().is_some_and(|source| is_in(pin, source)) && lines.next().is_none();
        return if is_ours { Ok(()) } else { Err(PinBreach::Header(name)) };
    }
    match find(&PROCESSES, name) {
        Some(name) if lines.any(|process| !names_only_pinned(pin, process, NESTED_MAX)) => {
            Err(PinBreach::Header(name))
        }
        Some(_) | None => Ok(()),
    }
}

/// Returns whether a copy source is an object of the bucket: `/BUCKET/KEY` or `BUCKET/KEY`,
/// percent-encoded.
fn is_in(pin: &Bucket, source: &[u8]) -> bool {
    let path = source.trim_ascii().split(|byte| *byte == b'?').next().unwrap_or_default();
    let Ok(path) = decode(path) else { return false };
    let path = path.strip_prefix(b"/").unwrap_or(&path);
    path.split(|byte| *byte == b'/').next() == Some(pin.as_str().as_bytes())
}

fn check_process(
    pin: &Bucket,
    name: &'static str,
    param: &QueryParameter,
    has_body: bool,
) -> Result<(), PinBreach> {
    let process = param.value.as_deref().unwrap_or_default();
    // guard: pin-processing
    if !names_only_pinned(pin, process, NESTED_MAX) {
        return Err(PinBreach::Parameter(name));
    }
    // The body of an object query names no bucket; other bodies are processing instructions.
    if has_body && find(&QUERIES, process).is_none() {
        return Err(PinBreach::Body(name));
    }
    Ok(())
}

/// Returns whether a processing instruction names no other bucket. Checks `b_` arguments
/// (`sys/saveas`), `oss://` URIs and nested instructions.
fn names_only_pinned(pin: &Bucket, process: &[u8], nested: usize) -> bool {
    let inner_stays = |inner: &[u8]| nested > 0 && names_only_pinned(pin, inner, nested - 1);
    let decoded: Vec<u8> = percent_encoding::percent_decode(process).collect();
    if decoded != process && !inner_stays(&decoded) {
        return false;
    }
    let uris = process.windows(URI.len()).enumerate().filter(|(_, window)| window.eq_ignore_ascii_case(URI));
    let mut uris = uris.map(|(at, _)| &process[at + URI.len()..]);
    if uris.any(|named| !is_in(pin, named)) {
        return false;
    }
    let arguments = process.split(|byte| *byte == b'|').map(without_style);
    arguments.flat_map(|action| action.split(|byte| SEPARATORS.contains(byte))).all(|argument| {
        let Some(at) = argument.iter().position(|byte| *byte == b'_') else { return true };
        let name = argument[..at].trim_ascii();
        let value = argument[at + 1..].trim_ascii();
        if name.eq_ignore_ascii_case(b"b") {
            let value = value.strip_suffix(b"==").or_else(|| value.strip_suffix(b"=")).unwrap_or(value);
            return value == URL_SAFE_NO_PAD.encode(pin.as_str()).as_bytes();
        }
        // A watermark image can have a processing instruction itself.
        ANY_URL_SAFE.decode(value).map_or(true, |inner| !is_instruction(&inner) || inner_stays(&inner))
    })
}

/// Returns an action without its style name, which may begin like a bucket argument.
fn without_style(action: &[u8]) -> &[u8] {
    let Some(named) = action.strip_prefix(b"style/") else { return action };
    let end = named.iter().position(|byte| SEPARATORS.contains(byte)).unwrap_or(named.len());
    &named[end..]
}

/// Returns whether a decoded argument is or contains an instruction.
fn is_instruction(text: &[u8]) -> bool {
    [&b"process="[..], b"saveas", URI]
        .iter()
        .any(|word| text.windows(word.len()).any(|window| window.eq_ignore_ascii_case(word)))
}

fn check_body(param: &QueryParameter) -> Result<(), PinBreach> {
    if let Some(name) = find(&NAMING_BUCKETS, &param.name) {
        return Err(PinBreach::Body(name));
    }
    let is_bare = param.value.as_ref().is_none_or(Vec::is_empty);
    if is_bare && find(&NAMING_NONE, &param.name).is_none() {
        return Err(PinBreach::UnknownSetting);
    }
    Ok(())
}

fn find(names: &[&'static str], wanted: &[u8]) -> Option<&'static str> {
    names.iter().copied().find(|name| name.as_bytes() == wanted)
}

/// Headers that name the source object of a copy; the second is that of S3.
const COPY_SOURCES: [&str; 2] = ["x-oss-copy-source", "x-amz-copy-source"];
/// Parameters with a processing instruction; older clients also send them as headers.
const PROCESSES: [&str; 2] = ["x-oss-process", "x-oss-async-process"];
/// Instructions whose body is a query over the object itself.
const QUERIES: [&str; 5] = ["csv/select", "json/select", "parquet/select", "csv/meta", "json/meta"];
const SEPARATORS: &[u8] = b"|/,?&=\r\n";
const URI: &[u8] = b"oss://";
/// Maximum nesting of instructions; deeper ones are rejected.
const NESTED_MAX: usize = 3;

/// Parameters of writes whose body can name a bucket, a URL of one, or a resource of one.
const NAMING_BUCKETS: [&str; 12] = [
    "logging",
    "replication",
    "inventory",
    "website",
    "img",
    "live",
    "style",
    "asyncFetch",
    "dataPipeline",
    "accessPointForObjectProcess",
    "accessPointConfigForObjectProcess",
    "x-oss-write-get-object-response",
];

/// Parameters of writes that have no body, or a body that names no bucket.
const NAMING_NONE: [&str; 62] = [
    "accessPoint",
    "accessPointPolicy",
    "accessPointPolicyForObjectProcess",
    "accessmonitor",
    "acl",
    "antiDDos",
    "append",
    "bucketAntiDDos",
    "bucketArchiveDirectRead",
    "cleanRestoredObject",
    "cname",
    "cors",
    "dataAccelerator",
    "delete",
    "encoding-type",
    "encryption",
    "httpsConfig",
    "legalHold",
    "marker",
    "max-keys",
    "lifecycle",
    "metaQuery",
    "objectMeta",
    "objectWorm",
    "overwriteConfig",
    "partNumber",
    "policy",
    "policyStatus",
    "position",
    "prefix",
    "processConfiguration",
    "publicAccessBlock",
    "qos",
    "qosInfo",
    "redundancyTransition",
    "referer",
    "requestPayment",
    "requesterQosInfo",
    "resourceGroup",
    "resourcePoolBucketGroup",
    "responseHeader",
    "restore",
    "retention",
    "rtc",
    "seal",
    "sequential",
    "symlink",
    "start-after",
    "tagging",
    "transferAcceleration",
    "uploadId",
    "uploads",
    "userDefinedLogFieldsConfig",
    "versionId",
    "versioning",
    "vip",
    "vod",
    "worm",
    "wormExtend",
    "x-oss-delete",
    "x-oss-dir",
    "x-oss-rename",
];

/// URL-safe Base64 that accepts input with or without padding.
const ANY_URL_SAFE: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::{STANDARD, URL_SAFE, URL_SAFE_NO_PAD};
    use http::{HeaderMap, HeaderName, HeaderValue, Method};

    use super::PinBreach;
    use crate::oss::{Bucket, Operation, Query};
    use crate::policy::{AccessPolicy, ClientProof, DenyReason, ListenerRequest, NamedHost, PolicyDecision};

    const PIN: &str = "photos-1";

    /// Returns the breach if a request is denied on an upstream fixed to [`PIN`].
    fn breach(method: &str, target: &str, headers: &[(&'static str, &str)]) -> Option<PinBreach> {
        let method: Method = method.parse().expect("a method");
        let (key, query) = target.split_once('?').unwrap_or((target, ""));
        let query = Query::parse(query).expect("a query");
        let mut lines = HeaderMap::new();
        for (name, value) in headers {
            lines.append(HeaderName::from_static(name), HeaderValue::from_str(value).expect("a value"));
        }
        let operation =
            Operation::classify(&method, false, key.is_empty(), &query, &lines).expect("an operation");
        let pin = Bucket::parse(PIN).expect("a bucket");
        let shape = ListenerRequest {
            rights: None,
            proof: ClientProof::Explicit,
            operation,
            host: NamedHost::Other,
            method: &method,
            query: &query,
            headers: &lines,
            pin: Some(&pin),
        };
        match AccessPolicy::default().decide(&shape) {
            PolicyDecision::Sign => None,
            PolicyDecision::Deny(DenyReason::Pinned(breach)) => Some(breach),
            other @ (PolicyDecision::Judge | PolicyDecision::PassUnsigned | PolicyDecision::Deny(_)) => {
                panic!("{target}: {other:?}")
            }
        }
    }

    #[test]
    fn copies_come_from_the_pinned_bucket_alone() {
        let rows = [
            ("/photos-1/k", true),
            ("photos-1/k", true),
            ("/photos-1/a%2Fb?versionId=CAEQ", true),
            ("photos-1%2Fk", true),
            ("/ph%6ftos-1/k", true),
            ("/files/k", false),
            ("files/k", false),
            ("%2Ffiles%2Fk", false),
            ("//files/k", false),
            ("/photos-11/k", false),
            ("/photos-1.files/k", false),
            ("/Photos-1/k", false),
            ("/files/photos-1/k", false),
            ("/photos-1-ossalias/k", false),
            ("/%zz/k", false),
            ("?/photos-1/k", false),
            ("", false),
        ];
        for target in ["k", "k?partNumber=1&uploadId=x", "k?acl"] {
            for header in ["x-oss-copy-source", "x-amz-copy-source"] {
                for (source, is_ours) in rows {
                    let expected = (!is_ours).then_some(PinBreach::Header(header));
                    assert_eq!(breach("PUT", target, &[(header, source)]), expected, "{target} {source}");
                }
            }
        }
        let two = [("x-oss-copy-source", "/photos-1/k"), ("x-oss-copy-source", "/files/k")];
        assert_eq!(breach("PUT", "k", &two), Some(PinBreach::Header("x-oss-copy-source")));
    }

    #[test]
    fn processing_saves_into_the_pinned_bucket_alone() {
        let ours = URL_SAFE_NO_PAD.encode(PIN);
        let theirs = URL_SAFE_NO_PAD.encode("files");
        let watermark =
            |inner: &str| format!("image/watermark,image_{}", URL_SAFE.encode(format!("logo.png?{inner}")));
        let rows = [
            ("image/resize,w_100/format,webp".to_owned(), true),
            ("style/thumb_small".to_owned(), true),
            ("style/b_small".to_owned(), true),
            (format!("style/b_small,b_{theirs}"), false),
            (format!("image/info|style/x|sys/saveas,b_{theirs}"), false),
            (format!("sys/saveas,style/b_{theirs}"), false),
            (format!("image/resize,w_1|sys/saveas,o_azE,b_{ours}"), true),
            (format!("image/resize,w_1|sys/saveas,b_{},o_azE", URL_SAFE.encode(PIN)), true),
            ("image/resize,w_1|sys/saveas,o_azE".to_owned(), true),
            (watermark("x-oss-process=image/resize,P_20"), true),
            (format!("image/resize,w_1|sys/saveas,o_azE,b_{theirs}"), false),
            (format!("image/resize,w_1|sys/saveas,b_{theirs},o_azE"), false),
            (format!("video/convert,f_mp4|sys/saveas,b_{ours}|sys/saveas,b_{theirs}"), false),
            (format!("sys/saveas,B_{theirs}"), false),
            (format!("sys/saveas%2Cb_{theirs}"), false),
            (format!("sys/saveas, b_{theirs}"), false),
            (format!("sys/saveas,b_{}", STANDARD.encode("a>>?bucket")), false),
            ("sys/saveas,b_files".to_owned(), false),
            ("sys/saveas,b_".to_owned(), false),
            (watermark(&format!("x-oss-process=sys/saveas,b_{theirs}")), false),
            ("imm/archive,source_oss://files/k".to_owned(), false),
            (format!("imm/archive,source_{}", URL_SAFE.encode("oss://files/k")), false),
            (format!("imm/archive,source_{}", URL_SAFE.encode("oss://photos-1/k")), true),
        ];
        for (process, is_ours) in rows {
            let mut query = String::new();
            crate::oss::encode_strict(process.as_bytes(), &mut query);
            for name in ["x-oss-process", "x-oss-async-process"] {
                let expected = (!is_ours).then_some(PinBreach::Parameter(name));
                assert_eq!(breach("GET", &format!("k?{name}={query}"), &[]), expected, "{process}");
                let twice = format!("k?{name}=image/info&{name}={query}");
                assert_eq!(breach("GET", &twice, &[]), expected, "{process}");
                let expected = (!is_ours).then_some(PinBreach::Header(name));
                assert_eq!(breach("GET", "k", &[(name, &process)]), expected, "{process}");
            }
        }
    }

    #[test]
    fn bodies_that_can_name_another_bucket_are_rejected_whole() {
        for name in super::NAMING_BUCKETS {
            for target in [format!("?{name}"), format!("k?{name}"), format!("?comp=add&{name}=x&acl")] {
                for method in ["PUT", "POST"] {
                    assert_eq!(breach(method, &target, &[]), Some(PinBreach::Body(name)), "{target}");
                }
                for method in ["GET", "DELETE"] {
                    assert_eq!(breach(method, &target, &[]), None, "{method} {target}");
                }
            }
        }
        for name in ["x-oss-process", "x-oss-async-process"] {
            for target in [format!("k?{name}"), format!("k?{name}="), format!("k?{name}=image/info")] {
                assert_eq!(breach("POST", &target, &[]), Some(PinBreach::Body(name)), "{target}");
            }
        }
        for target in ["?brandNew", "k?brandNew", "?Logging", "?acl&brandNew"] {
            assert_eq!(breach("PUT", target, &[]), Some(PinBreach::UnknownSetting), "{target}");
        }
    }

    #[test]
    fn every_known_write_is_judged_by_name() {
        let text = include_str!("../../tests/vectors/operations.json");
        let fixture: serde_json::Value = serde_json::from_str(text).expect("JSON");
        let has = |list: &serde_json::Value, words: &[&str]| {
            list.as_array().into_iter().flatten().any(|one| words.iter().any(|word| one == word))
        };
        let names = |list: &serde_json::Value| -> Vec<String> {
            list.as_array().into_iter().flatten().filter_map(|one| one.as_str()).map(str::to_owned).collect()
        };
        let operations = fixture["operations"].as_array().expect("operations");
        let mut seen = 0;
        for operation in operations.iter().filter(|one| one["service"] == "oss") {
            if !has(&operation["methods"], &["PUT", "POST"])
                || !has(&operation["levels"], &["bucket", "object"])
            {
                continue;
            }
            for name in names(&operation["select"]["bare"]) {
                let found = breach("PUT", &format!("k?{name}"), &[]);
                assert_ne!(found, Some(PinBreach::UnknownSetting), "{name}: {}", operation["name"]);
                seen += 1;
            }
        }
        assert!(seen > 80, "{seen} writes");
    }

    #[test]
    fn what_names_no_bucket_passes() {
        for (method, target) in [
            ("PUT", "k"),
            ("PUT", "k?partNumber=1&uploadId=x"),
            ("PUT", ""),
            ("PUT", "?acl"),
            ("PUT", "k?acl&versionId="),
            ("POST", "?delete&encoding-type="),
            ("POST", "k?uploads&encoding-type="),
            ("POST", "?vip"),
            ("PUT", "?lifecycle"),
            ("PUT", "?rtc"),
            ("PUT", "?tagging"),
            ("POST", "?delete"),
            ("POST", "k?uploads"),
            ("POST", "k?uploads&sequential"),
            ("POST", "k?append&position=0"),
            ("POST", "k?restore"),
            ("POST", "k?x-oss-process=csv%2Fselect"),
            ("PUT", "k?symlink"),
            ("GET", "?logging"),
            ("DELETE", "?website"),
        ] {
            assert_eq!(breach(method, target, &[]), None, "{method} {target}");
        }
    }
}
