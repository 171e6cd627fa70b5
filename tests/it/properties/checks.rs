//! Properties that hold for any bytes, shared by the property tests and the fuzz targets.

use std::io;
use std::path::Path;

use http::{HeaderMap, HeaderValue, Method, Uri, header};
use oss_signing_proxy::config::{ConfigFile, ProxyConfig};
use oss_signing_proxy::credentials::{SecretText, SourceEnv};
use oss_signing_proxy::internals::address::{
    BucketAddressing, Endpoint, Host, ListenerNames, LocatedObject, ResolvedEndpoint, RoutingTable,
    UpstreamAddress, UrlScheme,
};
use oss_signing_proxy::internals::oss::{Key, Query};
use oss_signing_proxy::internals::proxy::without_token;
use oss_signing_proxy::internals::sign::{SignableRequest, v4};
use oss_signing_proxy::oss::{Bucket, Region};
use oss_signing_proxy::time::{Clock, Timestamp};

fn directory() -> RoutingTable {
    let upstream = UpstreamAddress {
        region: Region::parse("cn-hangzhou").ok(),
        endpoint: Endpoint::parse("http://127.0.0.1:9000").expect("an endpoint"),
        addressing: BucketAddressing::Path,
        pin: None,
        connect: None,
    };
    RoutingTable::new(upstream, Vec::new())
}

fn find(uri: &Uri, host: &[u8]) -> Option<LocatedObject> {
    let mut headers = HeaderMap::new();
    headers.insert(header::HOST, HeaderValue::from_bytes(host).ok()?);
    locate(&Method::GET, uri, &headers)
}

/// Locates the object of a request to a listener with the domain `oss.example.test`.
pub(crate) fn locate(method: &Method, uri: &Uri, headers: &HeaderMap) -> Option<LocatedObject> {
    let domains = ["oss.example.test".to_owned()];
    let entrance =
        ListenerNames { domains: &domains, scheme: UrlScheme::Http, unnamed: false, address: None };
    LocatedObject::find(method, uri, headers, (entrance, &directory())).ok()
}

/// A parsed host parses to the same host again, and a bucket in a host is its first label.
pub(crate) fn host(data: &[u8]) {
    if let Some((host, _)) = std::str::from_utf8(data).ok().and_then(|text| Host::parse(text).ok()) {
        let again = Host::parse(&host.bracketed()).map(|(again, _)| again);
        assert_eq!(again.as_ref(), Ok(&host));
    }
    let Some(located) = find(&Uri::from_static("/key"), data) else { return };
    let Some(bucket) = located.bucket else { return };
    let lower = String::from_utf8_lossy(data).to_ascii_lowercase();
    let in_host = lower.starts_with(&format!("{bucket}."));
    assert!(in_host || bucket.as_str() == "key", "{bucket} of {lower}");
}

/// A target is rejected, or the outbound target has the same bucket, key and parameters, and would
/// be forwarded unchanged.
pub(crate) fn target(data: &[u8]) {
    let Ok(uri) = Uri::try_from(data) else { return };
    let Some(located) = find(&uri, b"127.0.0.1") else { return };
    let endpoint = ResolvedEndpoint::resolve(&located, &directory());
    let outbound = endpoint.target(&located);
    let sent: Uri = outbound.parse().unwrap_or_else(|error| panic!("{outbound}: {error}"));
    // A target of another region leads to its OSS endpoint, with the bucket in the host.
    let again = find(&sent, endpoint.host.as_bytes());
    let again = again.unwrap_or_else(|| panic!("{outbound} is refused at {}", endpoint.host));
    assert_eq!(again.bucket, located.bucket, "{outbound}");
    assert_eq!(again.key.as_bytes(), located.key.as_bytes(), "{outbound}");
    assert_eq!(again.query, located.query, "{outbound}");
    assert_eq!(ResolvedEndpoint::resolve(&again, &directory()).target(&again), outbound);
}

/// A parsed query is signed identically after it was sent, and in any order of its parameters.
pub(crate) fn query(data: &[u8]) {
    let Some(query) = std::str::from_utf8(data).ok().and_then(|text| Query::parse(text).ok()) else { return };
    let mut wire = String::new();
    query.write(&mut wire);
    let text = wire.strip_prefix('?').unwrap_or_default();
    let again = Query::parse(text).unwrap_or_else(|error| panic!("{wire}: {error}"));
    assert_eq!(again, query, "{wire}");
    let backwards: Vec<&str> = text.rsplit('&').collect();
    let backwards = Query::parse(&backwards.join("&")).expect("the same parameters");
    assert_eq!(canonical(&backwards), canonical(&query), "{wire}");
}

fn canonical(query: &Query) -> Vec<u8> {
    let (bucket, key) = (Bucket::parse("photos").expect("a bucket"), Key::from_path("k").expect("a key"));
    let headers = HeaderMap::new();
    let method = Method::GET;
    let subject =
        SignableRequest { method: &method, bucket: Some(&bucket), key: &key, query, headers: &headers };
    v4::canonical_request(&subject, &[], &[])
}

/// The first line is a token, the rest an error. If the token is inserted, redaction removes it.
/// Text without the token is unchanged.
pub(crate) fn redaction(data: &[u8]) {
    let split = data.iter().position(|byte| *byte == b'\n').unwrap_or(data.len());
    let (token, rest) = data.split_at(split);
    let Ok(token) = std::str::from_utf8(token) else { return };
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"+/=._-".contains(&byte);
    if token.len() < 16 || !token.bytes().all(fits) {
        return;
    }
    let has = |text: &[u8]| text.windows(token.len()).any(|window| window == token.as_bytes());
    let half = rest.len() / 2;
    let told = [&rest[..half], b"<T>", token.as_bytes(), b"</T>", &rest[half..]].concat();
    let clean = without_token(&told, token).expect("it was there");
    // The replacement can form the token only if the token contains the replacement's text.
    assert!(!has(&clean) || token.contains("removed"));
    match without_token(rest, token) {
        None => assert!(!has(rest)),
        Some(clean) => assert_ne!(clean, rest),
    }
}

/// A configuration is valid, or each error has a location and a message.
pub(crate) fn configuration(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Err(errors) =
        ProxyConfig::load(Some(ConfigFile { path: Path::new("proxy.toml"), text }), &[], &Nothing)
    {
        assert!(errors.iter().count() > 0);
        for line in errors.to_string().lines() {
            assert!(line.contains(": "), "{line:?} of {text:?}");
        }
    }
}

/// An environment without variables and files.
struct Nothing;

impl Clock for Nothing {
    fn now(&self) -> Timestamp {
        Timestamp::from_unix_s(0)
    }
}

impl SourceEnv for Nothing {
    fn variable(&self, _name: &str) -> Option<String> {
        None
    }

    fn read_secret(&self, _path: &Path) -> io::Result<SecretText> {
        Err(io::ErrorKind::NotFound.into())
    }

    fn check_readable(&self, _path: &Path) -> io::Result<()> {
        Err(io::ErrorKind::NotFound.into())
    }
}
