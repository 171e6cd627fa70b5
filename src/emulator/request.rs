//! A request as the service sees it: the parsed target, and the bucket or service that `Host`
//! addresses.

use std::net::IpAddr;

use http::{HeaderMap, Method, StatusCode, Uri, header};

use super::encoding::{ParameterPairs, unescape};
use super::error::OssError;
use super::settings::ServiceIdentity;
use crate::oss::Bucket;

/// The parsed head of a request, before its signature is verified.
#[derive(Debug)]
pub(super) struct OssRequest {
    pub(super) method: Method,
    pub(super) target: RequestTarget,
    pub(super) query: ParameterPairs,
    pub(super) headers: HeaderMap,
}

/// The resource that a request addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum RequestTarget {
    Service,
    Bucket(Bucket),
    Object(Bucket, Vec<u8>),
}

/// The addressing style that a host name implies.
#[derive(Debug, PartialEq, Eq)]
enum HostMeaning<'a> {
    /// An IP address or `localhost`: the bucket is in the path.
    Path,
    /// An endpoint without a bucket.
    Endpoint,
    /// A bucket of this region. The label is not yet validated.
    Bucket(&'a str),
}

impl OssRequest {
    /// Parses the head of a request.
    pub(super) fn read(
        method: Method,
        uri: &Uri,
        headers: HeaderMap,
        identity: &ServiceIdentity,
    ) -> Result<Self, OssError> {
        let host = host_of(uri, &headers)?;
        let query = ParameterPairs::parse(uri.query().unwrap_or("")).ok_or_else(invalid_uri)?;
        let Some(path) = uri.path().strip_prefix('/') else {
            return Err(invalid_uri());
        };
        let target = if let Some(bucket) = identity.domain(&host) {
            object(bucket.clone(), path)?
        } else {
            match named(&host, identity)? {
                HostMeaning::Path => in_path(path)?,
                HostMeaning::Bucket(label) => object(bucket(label)?, path)?,
                HostMeaning::Endpoint if path.is_empty() => RequestTarget::Service,
                HostMeaning::Endpoint => {
                    return Err(OssError::forbidden(
                        "SecondLevelDomainForbidden",
                        "The bucket you are attempting to access must be addressed using OSS third level domain.",
                    ));
                }
            }
        };
        Ok(Self { method, target, query, headers })
    }

    /// Returns the value of a header, if it is text.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

impl RequestTarget {
    /// Returns the bucket, unless the request addresses the service.
    pub(super) fn bucket(&self) -> Option<&Bucket> {
        match self {
            Self::Service => None,
            Self::Bucket(bucket) | Self::Object(bucket, _) => Some(bucket),
        }
    }
}

/// Returns the host in lower case, without port and trailing dot. An absolute target takes
/// precedence over `Host`.
fn host_of(uri: &Uri, headers: &HeaderMap) -> Result<String, OssError> {
    let mut lines = headers.get_all(header::HOST).iter();
    let first = lines.next();
    if lines.next().is_some() {
        return Err(OssError::argument("More than one Host header."));
    }
    let text = match uri.authority() {
        Some(authority) => authority.as_str(),
        None => first.and_then(|value| value.to_str().ok()).unwrap_or(""),
    };
    let name = match text.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or(""),
        None => text.split(':').next().unwrap_or(""),
    };
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    if name.is_empty() {
        return Err(OssError::argument("The Host header is missing or empty."));
    }
    Ok(name)
}

fn named<'a>(host: &'a str, identity: &ServiceIdentity) -> Result<HostMeaning<'a>, OssError> {
    if host == "localhost" || host.parse::<IpAddr>().is_ok() {
        return Ok(HostMeaning::Path);
    }
    let Some(name) = host.strip_suffix(".aliyuncs.com") else {
        return Err(OssError::no_such_bucket(host));
    };
    if [".oss-vectors", ".oss-tables"].iter().any(|service| name.ends_with(service)) {
        return Err(OssError::not_implemented());
    }
    let name = identity.without_cloudbox_region(name);
    for own in identity.endpoints() {
        if name == own {
            return Ok(HostMeaning::Endpoint);
        }
        let label = name.strip_suffix(own.as_str()).and_then(|front| front.strip_suffix('.'));
        // `BUCKET.REGION.oss` is a dual-stack name of another region, not a bucket of `oss`.
        if let Some(label) = label.filter(|label| own != "oss" || !label.contains('.')) {
            return Ok(HostMeaning::Bucket(label));
        }
    }
    if name.split('.').any(|label| label == "oss" || label.starts_with("oss-")) {
        return Err(OssError::denied(
            "The bucket you are attempting to access must be addressed using the specified endpoint. Please send all future requests to this endpoint.",
        )
        .with("Endpoint", format!("oss-{}.aliyuncs.com", identity.region)));
    }
    Err(OssError::no_such_bucket(host))
}

/// Parses `BUCKET/KEY`, split at the first unescaped slash.
fn in_path(path: &str) -> Result<RequestTarget, OssError> {
    if path.is_empty() {
        return Ok(RequestTarget::Service);
    }
    let (label, key) = path.split_once('/').unwrap_or((path, ""));
    let label = unescape(label.as_bytes()).and_then(|bytes| String::from_utf8(bytes).ok());
    object(bucket(&label.unwrap_or_default())?, key)
}

fn object(bucket: Bucket, raw_key: &str) -> Result<RequestTarget, OssError> {
    let key = unescape(raw_key.as_bytes()).ok_or_else(invalid_uri)?;
    if key.is_empty() {
        return Ok(RequestTarget::Bucket(bucket));
    }
    check_key(&key)?;
    Ok(RequestTarget::Object(bucket, key))
}

/// Checks a key against the published naming rules.
pub(super) fn check_key(key: &[u8]) -> Result<(), OssError> {
    if key.is_empty() || key.len() > 1023 || key.starts_with(b"/") || key.starts_with(b"\\") {
        return Err(OssError::new(
            StatusCode::BAD_REQUEST,
            "InvalidObjectName",
            "The specified object is not valid.",
        )
        .ec("0016-00000005")
        .with("ObjectName", String::from_utf8_lossy(key)));
    }
    Ok(())
}

pub(super) fn bucket(name: &str) -> Result<Bucket, OssError> {
    Bucket::parse(name).map_err(|_| {
        OssError::new(StatusCode::BAD_REQUEST, "InvalidBucketName", "The specified bucket is not valid.")
            .ec("0015-00000001")
            .with("BucketName", name)
    })
}

fn invalid_uri() -> OssError {
    OssError::new(StatusCode::BAD_REQUEST, "InvalidURI", "Couldn't parse the specified URI.")
}
