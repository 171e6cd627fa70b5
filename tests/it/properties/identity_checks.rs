//! Properties of tokens, connections and files of callers that hold for any bytes. Shared by the
//! property tests and the fuzz targets.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderMap, HeaderValue, Method, header};
use oss_signing_proxy::config::{ConfigFile, ProxyConfig};
use oss_signing_proxy::credentials::{SecretText, SourceEnv};
use oss_signing_proxy::internals::caller::{TokenClaims, is_token_of, token_claims};
use oss_signing_proxy::internals::config::{broken_caller_files, caller_rights};
use oss_signing_proxy::internals::policy::is_granted;
use oss_signing_proxy::internals::server::parse_proxy_header;
use oss_signing_proxy::secret::Secret;
use oss_signing_proxy::time::{Clock, Timestamp};
use serde_json::Value;

use super::checks::locate;

/// No bytes but [`TOKEN`] identify its caller. The claims of any token are those that another reader
/// of JSON finds, and its header names an accepted algorithm.
pub(crate) fn json_web_token(data: &[u8]) {
    let claims = TokenClaims {
        issuer: Some("https://issuer.example".to_owned()),
        subject: Some("system:serviceaccount:team-a:*".to_owned()),
        audiences: vec!["oss-proxy".to_owned()],
    };
    let is_accepted = is_token_of(data, &claims, KEYS.as_bytes(), Timestamp::from_unix_s(1_800_000_000));
    assert_eq!(is_accepted, data.trim_ascii() == TOKEN.as_bytes(), "{}", data.escape_ascii());
    let Some(read) = token_claims(data) else { return };
    let parts: Vec<&[u8]> = data.split(|byte| *byte == b'.').collect();
    let [head, claims, _] = &parts[..] else { panic!("{} parts", parts.len()) };
    let json = |part: &[u8]| -> Option<Value> {
        let text = String::from_utf8(URL_SAFE_NO_PAD.decode(part).expect("base64url")).expect("UTF-8");
        // Members that are ignored may be deeper, or have greater numbers, than this reader accepts.
        serde_json::from_str(&text).ok()
    };
    let (Some(head), Some(claims)) = (json(head), json(claims)) else { return };
    let algorithm = head["alg"].as_str().expect("an algorithm");
    assert!(["RS256", "ES256", "EdDSA", "Ed25519"].contains(&algorithm) && head["crit"].is_null(), "{head}");
    let text = |name: &str| claims[name].as_str().map(str::to_owned);
    let texts = |all: &Vec<Value>| all.iter().map(|one| one.as_str().expect("a text").to_owned()).collect();
    let audiences = claims["aud"].as_array().map_or_else(|| text("aud").into_iter().collect(), texts);
    assert_eq!(read, TokenClaims { issuer: text("iss"), subject: text("sub"), audiences });
}

/// A header of the PROXY protocol is read the same whatever follows it. A part of it needs more bytes,
/// and what no bytes can complete remains an error. The first byte of the input selects the part.
pub(crate) fn proxy_header(data: &[u8]) {
    let Some((selector, bytes)) = data.split_first() else { return };
    let parsed = parse_proxy_header(bytes);
    let length = parsed.as_ref().ok().copied().flatten().map_or(bytes.len(), |header| header.length);
    assert!(length <= bytes.len());
    let part = parse_proxy_header(&bytes[..length * usize::from(*selector) / 256]);
    assert!(part == Ok(None) || (part.is_err() && parsed.is_err()), "{}", bytes.escape_ascii());
    let Ok(Some(found)) = parsed else { return };
    assert!(length <= 2048);
    assert_eq!(parse_proxy_header(&bytes[..length]), Ok(Some(found)));
    if let (Some(client), Some(line)) = (found.client, bytes[..length].strip_prefix(b"PROXY ")) {
        let line = std::str::from_utf8(line).expect("text").strip_suffix("\r\n").expect("a line");
        let fields: Vec<&str> = line.split(' ').collect();
        let [family, source, _, port, _] = fields[..] else { panic!("{line:?}") };
        let address = SocketAddr::new(source.parse().expect("an address"), port.parse().expect("a port"));
        assert_eq!((client, family), (address, if client.is_ipv6() { "TCP6" } else { "TCP4" }));
    }
}

/// A file of a team is used, or has errors with its name and a message. The main file and its callers
/// are not affected, no caller gets more than the ceiling, and another team loses a caller only to an
/// earlier claim.
pub(crate) fn callers_file(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let main = ConfigFile { path: Path::new("proxy.toml"), text: MAIN };
    let config = ProxyConfig::load(Some(main), &[], &TeamFiles(text));
    let config = config.unwrap_or_else(|errors| panic!("{errors} of {text:?}"));
    let faults = broken_caller_files(&config);
    for line in faults.iter().flat_map(|fault| fault.lines()) {
        let is_located = line.starts_with("d/a.toml:") || line.starts_with("d/z.toml:");
        assert!(is_located && line.contains(": "), "{line:?} of {text:?}");
    }
    let fault_of_other = faults.iter().find(|fault| fault.starts_with("d/z.toml"));
    let mut names = Vec::new();
    for (name, rights) in caller_rights(&config) {
        assert_eq!(rights.is_unrestricted(), name == "main", "{name} of {text:?}");
        assert!(name == "main" || !may_write(rights), "{name} of {text:?}");
        names.push(name);
    }
    let unique: std::collections::BTreeSet<_> = names.iter().collect();
    assert_eq!(unique.len(), names.len(), "{text:?}");
    assert!(names.contains(&"main"), "{text:?}");
    match fault_of_other {
        None => assert!(names.contains(&"z"), "{text:?}"),
        Some(fault) => assert!(fault.contains("another caller already has"), "{fault} of {text:?}"),
    }
}

fn may_write(rights: &oss_signing_proxy::internals::policy::CallerRights) -> bool {
    let headers = HeaderMap::from_iter([(header::HOST, HeaderValue::from_static("127.0.0.1"))]);
    let target = "/team-data/a/k".parse().expect("a target");
    let object = locate(&Method::PUT, &target, &headers).expect("an object");
    is_granted(rights, &Method::PUT, &object, &HeaderMap::new(), b"") == Some(true)
}

/// An environment with the files of two teams, and a ceiling.
struct TeamFiles<'a>(&'a str);

impl Clock for TeamFiles<'_> {
    fn now(&self) -> Timestamp {
        Timestamp::from_unix_s(0)
    }
}

impl SourceEnv for TeamFiles<'_> {
    fn variable(&self, _name: &str) -> Option<String> {
        None
    }

    fn read_secret(&self, _path: &Path) -> io::Result<SecretText> {
        Err(io::ErrorKind::NotFound.into())
    }

    fn user_id(&self, _name: &str) -> io::Result<Option<u32>> {
        Ok(None)
    }

    fn check_readable(&self, _path: &Path) -> io::Result<()> {
        Err(io::ErrorKind::NotFound.into())
    }

    fn read_regular(&self, path: &Path, _max: usize) -> io::Result<SecretText> {
        let files = [("d/a.toml", self.0), ("d/z.toml", OTHER_TEAM), ("ceiling.toml", "allow = \"read\"")];
        let found = files.iter().find(|(name, _)| Path::new(name) == path);
        let (_, text) = found.ok_or(io::ErrorKind::NotFound)?;
        Ok(SecretText::new(Secret::from(*text)))
    }

    fn read_beneath(&self, directory: &Path, path: &Path, max: usize) -> io::Result<SecretText> {
        self.read_regular(&directory.join(path), max)
    }

    fn list_directory(&self, _path: &Path) -> io::Result<Vec<String>> {
        Ok(vec!["a.toml".to_owned(), "z.toml".to_owned()])
    }

    fn resolve_path(&self, path: &Path) -> io::Result<PathBuf> {
        Ok(path.to_owned())
    }
}

const MAIN: &str = r#"
callers_dir = { path = "d", ceiling = "file:ceiling.toml" }
[upstream]
region = "cn-hangzhou"
[[listen]]
identify = ["key", "token"]
[[caller]]
name = "main"
allow = "everything"
key = [{ id = "main-1", secret = "0123456789abcdef0123456789main" }]
"#;

const OTHER_TEAM: &str = r#"
[[caller]]
name = "z"
allow = "read"
key = [{ id = "z-1", secret = "0123456789abcdef0123456789zzzz" }]
"#;

/// The public keys of the issuer.
const KEYS: &str = r#"{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"one","x":"2s9GetuyX45GxBIilcxFTMH-2fPQNGZRHzw8zEX9QOc"}]}"#;

/// A token of `system:serviceaccount:team-a:app`, signed with a key that is not kept.
pub(crate) const TOKEN: &str = "eyJhbGciOiJFZERTQSIsImtpZCI6Im9uZSIsInR5cCI6IkpXVCJ9.eyJpc3MiOiJodHRwczovL2lzc3Vlci5leGFtcGxlIiwic3ViIjoic3lzdGVtOnNlcnZpY2VhY2NvdW50OnRlYW0tYTphcHAiLCJhdWQiOlsib3NzLXByb3h5Il0sImV4cCI6MTgwMDAwMDYwMCwibmJmIjoxNzk5OTk5MDAwfQ.WbqwbYCKhUae9-A7CLsv4NpRKOvluFdFYssDdBMUrElNb4qhBWFMTk6Z2V3pNLflvHfqklyjENrAPShV9EBiBA";
