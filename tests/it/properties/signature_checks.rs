//! Properties of the verification of clients' signatures that hold for any bytes, shared by the
//! property tests and the fuzz targets.
//!
//! The first byte of an input selects its kind. After [`CHANGES`], the input is a list of changes of
//! a signed request. Any other input is an [`UnprovenRequest`].

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, header};
use oss_signing_proxy::internals::address::LocatedObject;
use oss_signing_proxy::internals::caller::proven_key_id;
use oss_signing_proxy::internals::sign::{
    SignableRequest, SigningIdentity, SigningKey, SigningScheme, SigningTime, presign,
};
use oss_signing_proxy::internals::time::{day, iso_basic};
use oss_signing_proxy::oss::Region;
use oss_signing_proxy::secret::Secret;
use oss_signing_proxy::time::Timestamp;

use super::checks::locate;

/// No `Authorization` proves a caller without its secret. A signed request that was changed is
/// rejected, or it has the same meaning.
pub(crate) fn authorization(data: &[u8]) {
    check(data, SignaturePlace::Header);
}

/// No query proves a caller without its secret. A presigned request that was changed is rejected,
/// or it has the same meaning.
pub(crate) fn presigned(data: &[u8]) {
    check(data, SignaturePlace::Url);
}

/// The first byte of an input that changes a signed request.
pub(crate) const CHANGES: u8 = b'!';

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SignaturePlace {
    Header,
    Url,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TestedVersion {
    V1,
    V4,
}

fn check(data: &[u8], place: SignaturePlace) {
    match data {
        [CHANGES, selector, changes @ ..] => check_changes(*selector, changes, place),
        _ => {
            let UnprovenRequest { request, now } = UnprovenRequest::read(data, place);
            let Some(proven) = request.prove(now) else { return };
            panic!("a request without any secret is from {}: {}", proven.id, data.escape_ascii());
        }
    }
}

fn check_changes(selector: u8, changes: &[u8], place: SignaturePlace) {
    let version = if selector.is_multiple_of(2) { TestedVersion::V4 } else { TestedVersion::V1 };
    let unsigned = REQUESTS[usize::from(selector / 2) % REQUESTS.len()];
    let unsigned = ReceivedRequest::parse(unsigned.as_bytes()).expect("a request");
    let object = unsigned.locate().expect("an object");
    let meaning = signed_meaning(&unsigned, &object, version);
    let sent = unsigned.sign(&object, place, version).to_text();
    let changed = changed(sent.clone(), changes);
    let Some(received) = ReceivedRequest::parse(&changed) else { return };
    match received.prove(NOW) {
        None => assert_ne!(changed, sent, "the signed request is rejected: {}", sent.escape_ascii()),
        Some(ProvenRequest { id, request, object }) => {
            assert_eq!(id, KEY_ID);
            let other = signed_meaning(&request, &object, version);
            assert_eq!(other, meaning, "{} is accepted like {}", changed.escape_ascii(), sent.escape_ascii());
        }
    }
}

/// A request without a valid signature, as the lines of an input: the time in seconds, the `Authorization`
/// or the query, the method, the target, and headers. An invalid line is replaced or left out.
struct UnprovenRequest {
    request: ReceivedRequest,
    now: Timestamp,
}

impl UnprovenRequest {
    fn read(data: &[u8], place: SignaturePlace) -> Self {
        let mut lines = data.split(|byte| *byte == b'\n');
        let mut next = || lines.next().unwrap_or_default();
        let text = |line| std::str::from_utf8(line).unwrap_or_default();
        let now = text(next()).parse().ok().filter(|seconds| TIMES.contains(seconds));
        let now = now.map_or(NOW, Timestamp::from_unix_s);
        let value = next();
        let method = Method::from_bytes(next()).unwrap_or(Method::GET);
        let target = Some(text(next())).filter(|target| target.starts_with('/')).unwrap_or("/bucket-a/key");
        let target = match place {
            SignaturePlace::Header => target.as_bytes().to_vec(),
            SignaturePlace::Url => [target.as_bytes(), b"?", value].concat(),
        };
        let uri = Uri::try_from(target).unwrap_or_else(|_| Uri::from_static("/bucket-a/key"));
        let mut headers: HeaderMap = lines.filter_map(read_header).collect();
        let date = HeaderValue::try_from(iso_basic(now)).expect("a date");
        if place == SignaturePlace::Header {
            if let Ok(value) = HeaderValue::from_bytes(value) {
                headers.append(header::AUTHORIZATION, value);
            }
            if !headers.contains_key(header::DATE) {
                headers.entry("x-oss-date").or_insert(date);
            }
            // V1 signs every `x-oss-` header, and sends none for the payload.
            if value.starts_with(b"OSS4") {
                headers.entry("x-oss-content-sha256").or_insert(HeaderValue::from_static("UNSIGNED-PAYLOAD"));
            }
        }
        headers.entry(header::HOST).or_insert(HeaderValue::from_static("127.0.0.1"));
        Self { request: ReceivedRequest { method, uri, headers }, now }
    }
}

/// A request as received.
struct ReceivedRequest {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
}

/// A request whose signature was verified and removed.
struct ProvenRequest {
    id: String,
    request: ReceivedRequest,
    object: LocatedObject,
}

impl ReceivedRequest {
    /// Parses `METHOD TARGET` and lines with headers.
    fn parse(text: &[u8]) -> Option<Self> {
        let mut lines = text.split(|byte| *byte == b'\n');
        let first = lines.next()?;
        let space = first.iter().position(|byte| *byte == b' ')?;
        let method = Method::from_bytes(&first[..space]).ok()?;
        let uri = Uri::try_from(&first[space + 1..]).ok()?;
        let mut headers = HeaderMap::new();
        for line in lines {
            let (name, value) = read_header(line)?;
            headers.append(name, value);
        }
        Some(Self { method, uri, headers })
    }

    fn to_text(&self) -> Vec<u8> {
        let mut text = format!("{} {}", self.method, self.uri).into_bytes();
        for (name, value) in &self.headers {
            text.extend([b"\n", name.as_str().as_bytes(), b": ", value.as_bytes()].concat());
        }
        text
    }

    fn locate(&self) -> Option<LocatedObject> {
        locate(&self.method, &self.uri, &self.headers)
    }

    fn sign(&self, object: &LocatedObject, place: SignaturePlace, version: TestedVersion) -> Self {
        let region = Region::parse("cn-hangzhou").expect("a region");
        let scheme = match version {
            TestedVersion::V1 => SigningScheme::V1,
            TestedVersion::V4 => SigningScheme::V4 { day: day(NOW), region: &region },
        };
        let secret = Secret::from(SECRETS[0]);
        let key = SigningKey::new(SigningIdentity { id: KEY_ID, secret: &secret, token: None }, scheme)
            .expect("a key");
        let request = SignableRequest {
            method: &self.method,
            bucket: object.bucket.as_ref(),
            key: &object.key,
            query: &object.query,
            headers: &self.headers,
        };
        let time = SigningTime::new(NOW);
        let mut signed =
            Self { method: self.method.clone(), uri: self.uri.clone(), headers: self.headers.clone() };
        match place {
            SignaturePlace::Header => key.sign(&request, &time).apply(&mut signed.headers),
            SignaturePlace::Url => {
                let query = presign(&key, &request, &time, Duration::from_secs(600)).expect("a URL");
                let mut target = self.uri.path().to_owned();
                query.write(&mut target);
                signed.uri = target.parse().expect("a target");
            }
        }
        signed
    }

    fn prove(mut self, now: Timestamp) -> Option<ProvenRequest> {
        let mut object = self.locate()?;
        let secrets = SECRETS.map(Secret::from);
        // The published signatures have the id `ak`, and another secret.
        let keys = [KEY_ID, "ak"].iter().zip(&secrets);
        let keys: Vec<_> = keys.map(|(id, secret)| SigningIdentity { id, secret, token: None }).collect();
        let id = proven_key_id(&self.method, &mut object, &mut self.headers, &keys, now)?;
        Some(ProvenRequest { id, request: self, object })
    }
}

fn read_header(line: &[u8]) -> Option<(HeaderName, HeaderValue)> {
    let colon = line.iter().position(|byte| *byte == b':')?;
    let value = HeaderValue::from_bytes(line[colon + 1..].trim_ascii()).ok()?;
    Some((HeaderName::from_bytes(&line[..colon]).ok()?, value))
}

/// Returns the text after changes of four bytes each: the kind, the position, and a value.
fn changed(mut text: Vec<u8>, changes: &[u8]) -> Vec<u8> {
    for &[kind, high, low, value] in changes.as_chunks::<4>().0.iter().take(CHANGES_MAX) {
        let at = usize::from(u16::from_be_bytes([high, low])) % (text.len() + 1);
        let is_at_byte = at < text.len();
        let start = text[..at].iter().rposition(|byte| *byte == b'\n').unwrap_or(0);
        let end = text[at..].iter().position(|byte| *byte == b'\n').map_or(text.len(), |length| at + length);
        match kind % 6 {
            0 if is_at_byte => text[at] = value,
            1 if is_at_byte => drop(text.remove(at)),
            2 => text.insert(at, value),
            3 => drop(text.splice(at..at, INSERTED[usize::from(value) % INSERTED.len()].bytes())),
            4 => drop(text.drain(start..end)),
            5 if text.len() <= REPEATED_TEXT_MAX => {
                let line = text[start..end].to_vec();
                drop(text.splice(end..end, line));
            }
            _ => {}
        }
    }
    text
}

/// Returns what a signature protects of a request without its signature. V1 joins the key and the
/// parameters without escapes, so that it cannot distinguish some requests: see
/// `v1_urls_select_only_what_is_usually_presigned`.
fn signed_meaning(request: &ReceivedRequest, object: &LocatedObject, version: TestedVersion) -> Vec<Vec<u8>> {
    let mut query = String::new();
    object.query.write(&mut query);
    let params = query.trim_start_matches('?').split('&').filter(|param| !param.is_empty());
    // A parameter without a value equals one with an empty value.
    let mut params: Vec<&str> = params.map(|param| param.strip_suffix('=').unwrap_or(param)).collect();
    let bucket = object.bucket.as_ref().map_or("", |bucket| bucket.as_str());
    let mut meaning = vec![request.method.as_str().as_bytes().to_vec()];
    match version {
        TestedVersion::V4 => {
            params.sort_unstable();
            meaning.extend([bucket.as_bytes().to_vec(), object.key.as_bytes().to_vec()]);
            meaning.extend(params.into_iter().map(|param| param.as_bytes().to_vec()));
        }
        TestedVersion::V1 => {
            params.retain(|param| !LISTING.contains(&param.split('=').next().unwrap_or_default()));
            let mut params: Vec<_> = params
                .iter()
                .map(|param| param.split_once('=').unwrap_or((param, "")))
                .map(|(name, value)| (decoded(name), decoded(value)))
                .collect();
            params.sort_unstable();
            let mut resource = [bucket.as_bytes(), b"/", object.key.as_bytes()].concat();
            for (index, (name, value)) in params.iter().enumerate() {
                resource.push(if index == 0 { b'?' } else { b'&' });
                resource.extend_from_slice(name);
                if !value.is_empty() {
                    resource.push(b'=');
                    resource.extend_from_slice(value);
                }
            }
            meaning.push(resource);
        }
    }
    let is_signed =
        |name: &str| name.starts_with("x-oss-") || name == "content-type" || name == "content-md5";
    let is_absent = |name: &str, value: &[u8]| {
        version == TestedVersion::V1 && value.is_empty() && !name.starts_with("x-oss-")
    };
    let mut lines: Vec<_> = request
        .headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_bytes().trim_ascii()))
        .filter(|(name, value)| is_signed(name) && !is_absent(name, value))
        .map(|(name, value)| [name.as_bytes(), b": ", value].concat())
        .collect();
    lines.sort_unstable();
    meaning.extend(lines);
    meaning
}

/// Decodes the escapes of a written query.
fn decoded(text: &str) -> Vec<u8> {
    let mut parts = text.split('%');
    let mut out = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        let (digits, rest) = part.split_at(2);
        out.push(u8::from_str_radix(digits, 16).expect("an escape"));
        out.extend_from_slice(rest.as_bytes());
    }
    out
}

/// Requests whose operations are usually presigned.
const REQUESTS: [&str; 6] = [
    "GET /bucket-a/a/b%2Bc.jpg?x-oss-process=image%2Fresize%2Cw_100\nhost: 127.0.0.1\nrange: bytes=0-1",
    "PUT /bucket-a/key\nhost: 127.0.0.1\ncontent-type: text/plain\ncontent-md5: eB5eJF1ptWaXm4bijSPyxw==\n\
     x-oss-meta-a: one two\nx-oss-object-acl: private",
    "PUT /bucket-a/key?partNumber=1&uploadId=0004B9\nhost: 127.0.0.1\ncontent-length: 5",
    "POST /bucket-a/key?uploads\nhost: 127.0.0.1\nx-oss-storage-class: IA",
    "HEAD /key?versionId=v1\nhost: bucket-a.oss.example.test",
    "GET /bucket-a/?list-type=2&prefix=a%2F&start-after=b\nhost: 127.0.0.1",
];

/// Texts that changes insert.
const INSERTED: [&str; 16] = [
    "%20",
    "%2F",
    "%3F",
    "%00",
    "/../",
    "&acl",
    "&prefix=b",
    "&versionId=v2",
    "&x-oss-security-token=t",
    "&OSSAccessKeyId=ak&Expires=1702744257&Signature=AAAAAAAAAAAAAAAAAAAAAAAAAAA=",
    ",AdditionalHeaders=host",
    " , ",
    "\nx-oss-meta-b: 1",
    "\nx_oss_acl: private",
    "\ncontent-type:",
    "\nauthorization: OSS ak:AAAAAAAAAAAAAAAAAAAAAAAAAAA=",
];

/// The parameters that V1 does not sign and that only select a part of a listing.
const LISTING: [&str; 20] = [
    "category",
    "delimiter",
    "encoding-type",
    "fetch-owner",
    "key-marker",
    "list-type",
    "marker",
    "max-keys",
    "max-parts",
    "max-uploads",
    "mode",
    "part-number-marker",
    "prefix",
    "regions",
    "rule-id",
    "start-after",
    "tag-key",
    "tag-value",
    "upload-id-marker",
    "version-id-marker",
];

const KEY_ID: &str = "team-a-1";
const SECRETS: [&str; 2] = ["t7GkW2xMqB9vZc4LpR8nYd3HsJ6f", "Q5mXa1TzKe8uVb7NwCg2PyD9rLh4"];
const NOW: Timestamp = Timestamp::from_unix_s(1_702_743_657);
/// The times that an input may have.
const TIMES: std::ops::Range<i64> = 0..4_000_000_000;
/// The maximum number of changes of a request.
const CHANGES_MAX: usize = 32;
/// The maximum length of a text whose lines are repeated. A line can double the text.
const REPEATED_TEXT_MAX: usize = 16 * 1024;
