//! Keys that callers obtain from the proxy: who gets them, in which forms, and what they open.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use oss_signing_proxy::app::SystemEnv;
use oss_signing_proxy::credentials::{SecretText, SourceEnv};
use oss_signing_proxy::internals::oss::{Key, Query};
use oss_signing_proxy::internals::sign::{
    SignableRequest, SignatureVersion, SigningIdentity, SigningKey, SigningScheme, SigningTime,
};
use oss_signing_proxy::oss::Region;
use oss_signing_proxy::secret::Secret;
use oss_signing_proxy::time::{Clock, Timestamp};
use rcgen::{ExtendedKeyUsagePurpose, date_time_ymd};
use rustls::{ClientConnection, StreamOwned};
use serde_json::Value;

use crate::secrets::search_for;
use crate::support::certificates::Authority;
use crate::support::h2::over_h2;
use crate::support::{
    Answer, Client, ID, KEY, Proxy, SECRET, STS_ID, Script, Served, TOKEN, ask, bucket, oss, proxy,
};

pub(crate) const MASTER: &str = "PlantedMasterOf40LettersAndDigits0123456";
const OTHER_MASTER: &str = "AnotherMasterOf40LettersAndDigits0123456";
pub(crate) const TOKEN_A: &str = "TeamAPlantedTokenOf30Letters00";
const TOKEN_B: &str = "TeamBPlantedTokenOf30Letters00";
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
pub(crate) const VERSIONS: [SignatureVersion; 2] = [SignatureVersion::V4, SignatureVersion::V1];

/// A listener for credentials, and two callers with tokens.
fn sections(master: &str) -> String {
    format!(
        "[[listen]]
        address = \"127.0.0.1:0\"
        serve = \"credentials\"
        domains = [\"keys.example.test\"]
        identify = [\"token\"]
        [hand_out]
        master = [\"{master}\"]
        [[caller]]
        name = \"team-a\"
        allow = \"everything\"
        token = \"{TOKEN_A}\"
        [[caller]]
        name = \"team-b\"
        allow = \"read\"
        token = \"{TOKEN_B}\"
        "
    )
}

/// Starts a proxy that serves objects to keys, and keys to tokens.
pub(crate) fn central(upstream: SocketAddr, master: &str) -> Proxy {
    proxy(upstream).listen("identify = [\"key\"]").sections(&sections(master)).start()
}

/// A key as a client has received it.
#[derive(Debug)]
pub(crate) struct GivenKey {
    pub(crate) id: String,
    pub(crate) secret: String,
    pub(crate) token: String,
}

impl GivenKey {
    /// Reads a key in the form of a credentials URI or of an ECS instance.
    fn of(answer: &Answer) -> Self {
        Self::read(answer, "AccessKeySecret", "SecurityToken")
    }

    fn read(answer: &Answer, secret: &str, token: &str) -> Self {
        let text = answer.text();
        assert_eq!((answer.status, answer.header("cache-control")), (200, Some("no-store")), "{text}");
        let document: Value = serde_json::from_str(&text).expect("json");
        let part = |name: &str| document[name].as_str().expect(name).to_owned();
        let expires = Timestamp::parse_rfc3339(&part("Expiration")).expect("a time");
        let left_s = expires.unix_s() - SystemEnv.now().unix_s();
        assert!((3500..=3600).contains(&left_s), "{text}");
        Self { id: part("AccessKeyId"), secret: part(secret), token: part(token) }
    }

    /// Returns the header lines of a request that this key signs at a time.
    fn lines(&self, method: &str, version: SignatureVersion, at: Timestamp) -> String {
        let mut headers = HeaderMap::new();
        let time = SigningTime::new(at);
        let region = Region::parse("cn-hangzhou").expect("a region");
        let scheme = match version {
            SignatureVersion::V4 => {
                let day = oss_signing_proxy::internals::time::day(time.at());
                SigningScheme::V4 { day, region: &region }
            }
            SignatureVersion::V1 => SigningScheme::V1,
        };
        let secret = &Secret::new(self.secret.clone());
        let token = &Secret::new(self.token.clone());
        let identity = SigningIdentity { id: &self.id, secret, token: Some(token) };
        let signer = SigningKey::new(identity, scheme).expect("a key");
        let request = SignableRequest {
            method: &method.parse::<Method>().expect("a method"),
            bucket: Some(&bucket("photos")),
            key: &Key::from_path("k").expect("a key"),
            query: &Query::parse("").expect("a query"),
            headers: &headers,
        };
        signer.sign(&request, &time).apply(&mut headers);
        let line = |(name, value): (&HeaderName, &HeaderValue)| {
            format!("{name}: {}\r\n", value.to_str().expect("text"))
        };
        headers.iter().map(line).collect()
    }

    /// Sends a signed request for the object `k`.
    pub(crate) fn send(&self, method: &str, version: SignatureVersion, to: SocketAddr) -> Answer {
        self.send_at(method, version, to, SystemEnv.now())
    }

    fn send_at(&self, method: &str, version: SignatureVersion, to: SocketAddr, at: Timestamp) -> Answer {
        let body: &[u8] = if method == "PUT" { b"bytes" } else { b"" };
        let lines = self.lines(method, version, at);
        Client::connect(to).ask(method, "/photos/k", &to.to_string(), &lines, body)
    }
}

/// Sends a request for keys, with an `Authorization` unless that is empty.
fn ask_for(to: SocketAddr, path: &str, authorization: &str) -> Answer {
    let line = format!("Authorization: {authorization}\r\n");
    let lines = if authorization.is_empty() { "" } else { &line };
    Client::connect(to).ask("GET", path, &to.to_string(), lines, b"")
}

fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

#[test]
fn a_token_gets_keys_in_each_form_that_clients_read() {
    let oss = oss();
    let proxy = central(oss.address, MASTER);
    let keys = proxy.listeners[1];
    let basic = format!("Basic {}", STANDARD.encode(format!("any:{TOKEN_A}")));
    let roles = "/latest/meta-data/ram/security-credentials/";
    let role = ask_for(keys, roles, &bearer(TOKEN_A));
    assert_eq!((role.status, role.text().as_str()), (200, "team-a"));
    let of_role = format!("{roles}team-a");
    let container = |authorization: &str| {
        GivenKey::read(&ask_for(keys, "/aws", authorization), "SecretAccessKey", "Token")
    };
    let all = [
        GivenKey::of(&ask_for(keys, "/credentials", &bearer(TOKEN_A))),
        GivenKey::of(&ask_for(keys, "/credentials", &basic)),
        GivenKey::of(&ask_for(keys, &of_role, &bearer(TOKEN_A))),
        // The SDKs of AWS send the content of the token file as it is.
        container(TOKEN_A),
        container(&bearer(TOKEN_A)),
    ];
    for key in &all {
        assert!(key.id.starts_with("HO."), "{key:?}");
        for version in VERSIONS {
            let put = key.send("PUT", version, proxy.address);
            assert_eq!(put.status, 200, "{version:?} {}", put.text());
            let get = key.send("GET", version, proxy.address);
            assert_eq!((get.status, get.text().as_str()), (200, "bytes"), "{version:?}");
        }
    }
    // The key has the rights of its caller.
    let of_b = GivenKey::of(&ask_for(keys, "/credentials", &bearer(TOKEN_B)));
    assert_eq!(of_b.send("GET", SignatureVersion::V4, proxy.address).status, 200);
    let denied = of_b.send("PUT", SignatureVersion::V4, proxy.address);
    assert_eq!((denied.status, denied.refused()), (403, Some("denied")));
    // The session token of the metadata service exists for clients that require one.
    let session = Client::connect(keys).ask(
        "PUT",
        "/latest/api/token",
        &keys.to_string(),
        "X-aliyun-ecs-metadata-token-ttl-seconds: 21600\r\n",
        b"",
    );
    assert_eq!(session.status, 200);
    assert!(!session.text().is_empty());
}

#[test]
fn keys_are_served_to_callers_only_and_no_key_obtains_another() {
    let oss = oss();
    let proxy = central(oss.address, MASTER);
    let keys = proxy.listeners[1];
    let key = GivenKey::of(&ask_for(keys, "/credentials", &bearer(TOKEN_A)));
    let basic = format!("Basic {}", STANDARD.encode(format!("{}:{}", key.id, key.secret)));
    for (path, authorization, status, code) in [
        ("/credentials", "", 401, "no-identity"),
        ("/credentials", "Bearer wrong", 401, "no-identity"),
        ("/credentials", &basic, 401, "no-identity"),
        ("/credentials", &bearer(&key.token), 401, "no-identity"),
        // Only the clients of AWS send a token without its scheme.
        ("/credentials", TOKEN_A, 400, "malformed-signature"),
        ("/aws", "wrong", 401, "no-identity"),
        ("/aws", &format!("{TOKEN_A}\r\nAuthorization: Bearer wrong"), 400, "malformed-signature"),
        ("/latest/meta-data/ram/security-credentials/", "", 401, "no-identity"),
        ("/latest/meta-data/ram/security-credentials/team-b", &bearer(TOKEN_A), 404, "unknown-path"),
    ] {
        let answer = ask_for(keys, path, authorization);
        assert_eq!((answer.status, answer.refused()), (status, Some(code)), "{path} {authorization}");
    }
    for version in VERSIONS {
        let lines = key.lines("GET", version, SystemEnv.now());
        let signed = Client::connect(keys).ask("GET", "/credentials", &keys.to_string(), &lines, b"");
        assert_eq!((signed.status, signed.refused()), (400, Some("malformed-signature")), "{version:?}");
    }
}

#[test]
fn a_listener_for_credentials_serves_no_objects_and_keeps_names_and_web_pages_out() {
    let upstream = Script::answering(OK);
    let proxy = central(upstream.address, MASTER);
    let keys = proxy.listeners[1];
    let own = keys.to_string();
    let get = |path: &str, host: &str, line: &str| {
        let lines = format!("Authorization: Bearer {TOKEN_A}\r\n{line}");
        Client::connect(keys).ask("GET", path, host, &lines, b"")
    };
    for path in ["/photos/k", "/", "/credentials/", "/credentials/k", "/latest/meta-data/", "/aws/k"] {
        let answer = get(path, &own, "");
        assert_eq!((answer.status, answer.refused()), (404, Some("unknown-path")), "{path}");
    }
    for method in ["PUT", "POST", "DELETE", "HEAD", "OPTIONS"] {
        let lines = format!("Authorization: Bearer {TOKEN_A}\r\n");
        let answer = Client::connect(keys).ask(method, "/credentials", &own, &lines, b"");
        assert_eq!((answer.status, answer.refused()), (405, Some("method")), "{method}");
    }
    let rebound = format!("evil.example:{}", keys.port());
    let rows = [
        (own.as_str(), "Origin: http://evil.example\r\n", 403),
        (&own, "Origin: null\r\n", 403),
        (&own, "Origin: http://127.0.0.1:3000\r\n", 403),
        (&own, "Sec-Fetch-Site: cross-site\r\n", 403),
        ("evil.example", "", 421),
        (&rebound, "Sec-Fetch-Site: same-origin\r\n", 421),
        ("photos.oss-cn-hangzhou.aliyuncs.com", "", 421),
        ("keys.example.test", "", 200),
        ("localhost", "", 200),
    ];
    for path in ["/credentials", "/aws", "/latest/meta-data/ram/security-credentials/team-a"] {
        for (host, line, status) in rows {
            let answer = get(path, host, line);
            assert_eq!(answer.status, status, "{path} {host} {line}");
            assert_eq!(answer.text().contains("HO."), status == 200, "{path} {host} {line}");
        }
    }
    assert!(upstream.heads().is_empty());
}

#[test]
fn the_upstream_sees_nothing_of_a_handed_out_key() {
    let upstream = Script::answering(OK);
    let proxy = central(upstream.address, MASTER);
    let key = GivenKey::of(&ask_for(proxy.listeners[1], "/credentials", &bearer(TOKEN_A)));
    for version in VERSIONS {
        assert_eq!(key.send("GET", version, proxy.address).status, 200);
    }
    let heads = upstream.heads();
    assert_eq!(heads.len(), 2);
    for head in heads {
        assert!(head.contains(ID) && !head.contains("security-token"), "{head}");
        assert!(!head.contains(&key.id) && !head.contains(&key.token), "{head}");
    }
}

#[test]
fn any_process_with_the_master_accepts_a_key_and_no_other_does() {
    let oss = oss();
    let first = central(oss.address, MASTER);
    let key = GivenKey::of(&ask_for(first.listeners[1], "/credentials", &bearer(TOKEN_A)));
    let replica = central(oss.address, MASTER);
    let stranger = central(oss.address, OTHER_MASTER);
    // After a restart too.
    drop(first);
    let restarted = central(oss.address, MASTER);
    for version in VERSIONS {
        for proxy in [&replica, &restarted] {
            assert_eq!(key.send("PUT", version, proxy.address).status, 200, "{version:?}");
        }
        let refused = key.send("PUT", version, stranger.address);
        assert_eq!((refused.status, refused.refused()), (403, Some("no-identity")), "{version:?}");
        assert!(refused.text().contains("<Code>InvalidAccessKeyId</Code>"), "{}", refused.text());
    }
    let rotating = format!("{OTHER_MASTER}\", \"{MASTER}");
    let rotating = central(oss.address, &rotating);
    assert_eq!(key.send("PUT", SignatureVersion::V4, rotating.address).status, 200);
}

/// The environment of the system, with another clock.
#[derive(Default)]
struct ShiftedEnv {
    ahead_s: AtomicI64,
}

impl Clock for ShiftedEnv {
    fn now(&self) -> Timestamp {
        Timestamp::from_unix_s(SystemEnv.now().unix_s() + self.ahead_s.load(Ordering::Relaxed))
    }
}

impl SourceEnv for ShiftedEnv {
    fn variable(&self, _name: &str) -> Option<String> {
        None
    }

    fn read_secret(&self, path: &Path) -> io::Result<SecretText> {
        SystemEnv.read_secret(path)
    }
}

#[test]
fn a_key_expires_by_the_clock_of_the_proxy_and_a_new_one_replaces_it() {
    let upstream = Script::answering(OK);
    let env = Arc::new(ShiftedEnv::default());
    let proxy = proxy(upstream.address)
        .listen("identify = [\"key\"]")
        .sections(&sections(MASTER).replace("[hand_out]", "[hand_out]\nlifetime = \"20m\""))
        .env(Arc::<ShiftedEnv>::clone(&env))
        .start();
    let ask_now = || {
        let answer = ask_for(proxy.listeners[1], "/credentials", &bearer(TOKEN_A));
        let document: Value = serde_json::from_str(&answer.text()).expect("json");
        let part = |name: &str| document[name].as_str().expect(name).to_owned();
        GivenKey { id: part("AccessKeyId"), secret: part("AccessKeySecret"), token: part("SecurityToken") }
    };
    let key = ask_now();
    let send = |key: &GivenKey| key.send_at("GET", SignatureVersion::V4, proxy.address, env.now());
    assert_eq!(send(&key).status, 200);
    env.ahead_s.store(19 * 60, Ordering::Relaxed);
    assert_eq!(send(&key).status, 200);
    env.ahead_s.store(21 * 60, Ordering::Relaxed);
    let expired = send(&key);
    assert_eq!((expired.status, expired.refused()), (403, Some("expired")));
    assert_eq!(expired.header("x-oss-ec"), Some("0002-00000007"));
    assert!(expired.text().contains("<Code>SecurityTokenExpired</Code>"), "{}", expired.text());
    assert_eq!(send(&ask_now()).status, 200);
}

/// A local instance that fetches keys with the token of team-a in a file.
fn local(central: &Proxy, token: &Path) -> Proxy {
    let fetch = format!(
        "type = \"uri\"\nurl = \"http://{}/credentials\"\nauthorization_file = {token:?}\n",
        central.listeners[1]
    );
    let pass_on = "[[listen]]\naddress = \"127.0.0.1:0\"\nserve = \"credentials\"\n[hand_out]\ncredentials = \"default\"\n";
    let upstream = format!("endpoint = \"http://{}\"", central.address);
    proxy(central.address).upstream(&upstream).credentials(&fetch).sections(pass_on).start()
}

#[test]
fn a_local_instance_passes_on_the_keys_that_it_fetches_and_signs_with_them() {
    let oss = oss();
    let central = central(oss.address, MASTER);
    let token = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(&token, bearer(TOKEN_A)).expect("written");
    let local = local(&central, token.path());
    let passing = local.listeners[1];
    // The clients of the vendor send a bare GET.
    let key = GivenKey::of(&ask_for(passing, "/credentials", ""));
    for version in VERSIONS {
        assert_eq!(key.send("PUT", version, central.address).status, 200, "{version:?}");
    }
    let role = ask_for(passing, "/latest/meta-data/ram/security-credentials/", "");
    assert_eq!(role.text(), "default");
    GivenKey::of(&ask_for(passing, "/latest/meta-data/ram/security-credentials/default", ""));
    GivenKey::read(&ask_for(passing, "/aws", ""), "SecretAccessKey", "Token");
    let evil = "Origin: http://evil.example\r\n";
    let page = Client::connect(passing).ask("GET", "/credentials", &passing.to_string(), evil, b"");
    assert_eq!(page.status, 403);
    // Its own data port signs with the same keys.
    let unsigned = ask(local.address, "GET", "/photos/k", b"");
    assert_eq!((unsigned.status, unsigned.text().as_str()), (200, "bytes"));
}

#[test]
fn keys_of_oss_are_never_passed_on() {
    let oss = oss();
    let temporary = format!(
        "{{\"AccessKeyId\":\"{STS_ID}\",\"AccessKeySecret\":\"{SECRET}\",\"SecurityToken\":\"{TOKEN}\",\"Expiration\":\"2999-01-01T00:00:00Z\"}}"
    );
    let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{temporary}", temporary.len());
    let service = Script::answering(answer.leak());
    let fetched = format!("type = \"uri\"\nurl = \"http://{}/\"\n", service.address);
    let lasting = format!("type = \"static\"\naccess_key_id = \"{ID}\"\naccess_key_secret = \"{SECRET}\"\n");
    let pass_on = "[[listen]]\naddress = \"127.0.0.1:0\"\nserve = \"credentials\"\n[hand_out]\ncredentials = \"default\"\n";
    for credentials in [fetched, lasting] {
        let proxy = proxy(oss.address).credentials(&credentials).sections(pass_on).start();
        assert_eq!(ask(proxy.address, "PUT", "/photos/k", b"v").status, 200);
        for path in ["/credentials", "/aws", "/latest/meta-data/ram/security-credentials/default"] {
            let answer = ask_for(proxy.listeners[1], path, "");
            assert_eq!((answer.status, answer.refused()), (503, Some("credentials-unavailable")), "{path}");
            search_for(path, &answer.text(), &[ID, STS_ID, SECRET, TOKEN]);
        }
    }
}

#[test]
fn an_open_caller_gets_keys_without_an_identity_on_a_port_and_on_a_unix_socket() {
    let oss = oss();
    let folder = tempfile::tempdir().expect("a folder");
    let socket = folder.path().join("keys");
    let open = format!(
        "[[listen]]\naddress = \"127.0.0.1:0\"\nserve = \"credentials\"\n\
         [[listen]]\naddress = \"unix:{}\"\nserve = \"credentials\"\n\
         [hand_out]\nmaster = [\"{MASTER}\"]\n\
         [[caller]]\nname = \"everyone\"\nopen = true\nallow = \"read\"\n",
        socket.display()
    );
    let proxy = proxy(oss.address).listen("identify = [\"key\"]").sections(&open).start();
    let key = GivenKey::of(&ask_for(proxy.listeners[1], "/credentials", ""));
    assert_eq!(key.send("GET", SignatureVersion::V4, proxy.address).status, 404);
    let denied = key.send("PUT", SignatureVersion::V4, proxy.address);
    assert_eq!((denied.status, denied.refused()), (403, Some("denied")));
    // No name points to a socket, but a browser may still say that a page asks.
    for (lines, status) in [("Host: anything.example\r\n", "200"), ("Host: a\r\nOrigin: null\r\n", "403")] {
        let mut stream = UnixStream::connect(&socket).expect("a connection");
        let request = format!("GET /credentials HTTP/1.1\r\n{lines}Connection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{answer}");
        assert_eq!(answer.contains("\"AccessKeyId\":\"HO."), status == "200", "{answer}");
    }
}

/// Sends a request for keys on a connection, and returns the whole response.
fn ask_on(mut stream: impl io::Read + io::Write, lines: &str) -> String {
    let request = format!("GET /credentials HTTP/1.1\r\nHost: localhost\r\n{lines}Connection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("sent");
    let mut answer = Vec::new();
    // A TLS server may close the connection without a notice.
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8(answer).expect("text")
}

/// Returns the time at which the key in a response expires.
fn expiration(answer: &str) -> Timestamp {
    let (_, body) = answer.split_once("\r\n\r\n").expect("a body");
    let document: Value = serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {answer}"));
    assert!(document["AccessKeyId"].as_str().is_some_and(|id| id.starts_with("HO.")), "{answer}");
    Timestamp::parse_rfc3339(document["Expiration"].as_str().expect("a text")).expect("a time")
}

#[test]
fn a_client_certificate_gets_keys_that_do_not_outlive_it() {
    let (authority, oss) = (Authority::new(), oss());
    let files = authority.sign("listener", "localhost");
    let tls = Authority::listen(&files, &format!(", client_ca_file = {:?}", authority.file()));
    let sections = format!(
        "[[listen]]\naddress = \"127.0.0.1:0\"\nserve = \"credentials\"\nidentify = [\"certificate\"]\n{tls}\n\
         [hand_out]\nmaster = [\"{MASTER}\"]\n\
         [[caller]]\nname = \"team-a\"\nallow = \"read\"\ncertificate = {{ dns = \"team-a.example\" }}\n"
    );
    let proxy = proxy(oss.address).listen("identify = [\"key\"]").sections(&sections).start();
    let now = SystemEnv.now();
    let ask = |stem: &str, name: &str, lasts_s: u64| {
        let now = Duration::from_secs(now.unix_s().unsigned_abs());
        let own = authority.sign_with(stem, name, |parameters| {
            parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
            parameters.not_after = date_time_ymd(1970, 1, 1) + now + Duration::from_secs(lasts_s);
        });
        let stream = TcpStream::connect(proxy.listeners[1]).expect("a connection");
        let client =
            ClientConnection::new(authority.client(&[], Some(&own)), "localhost".try_into().expect("a name"));
        ask_on(StreamOwned::new(client.expect("a client"), stream), "")
    };
    let short = expiration(&ask("short", "team-a.example", 600));
    assert_eq!(short.unix_s(), now.unix_s() + 600);
    let long = expiration(&ask("long", "team-a.example", 86_400));
    assert!((3600..3700).contains(&(long.unix_s() - now.unix_s())), "{long:?}");
    let other = ask("other", "team-b.example", 600);
    assert!(other.starts_with("HTTP/1.1 403") && !other.contains("HO."), "{other}");
}

#[test]
fn a_user_of_a_unix_socket_gets_keys() {
    let oss = oss();
    let folder = tempfile::tempdir().expect("a folder");
    let socket = folder.path().join("keys");
    let own = rustix::process::geteuid().as_raw();
    for (uid, status) in [(own, "200"), (own + 1, "403")] {
        let sections = format!(
            "[[listen]]\naddress = \"unix:{}\"\nserve = \"credentials\"\nidentify = [\"uid\"]\n\
             [hand_out]\nmaster = [\"{MASTER}\"]\n\
             [[caller]]\nname = \"local\"\nallow = \"read\"\nuid = {uid}\n",
            socket.display()
        );
        let proxy = proxy(oss.address).listen("identify = [\"key\"]").sections(&sections).start();
        let answer = ask_on(UnixStream::connect(&socket).expect("a connection"), "");
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{answer}");
        assert_eq!(answer.contains("HO."), status == "200", "{answer}");
        drop(proxy);
    }
}

#[test]
fn keys_over_http2_are_those_over_http1() {
    let oss = oss();
    let proxy = central(oss.address, MASTER);
    let keys = proxy.listeners[1];
    let own = keys.to_string();
    let rows = [
        (own.as_str(), "/credentials", ("authorization", bearer(TOKEN_A)), 200),
        ("keys.example.test", "/credentials", ("authorization", bearer(TOKEN_A)), 200),
        (&own, "/credentials", ("accept", "*/*".to_owned()), 401),
        (&own, "/photos/k", ("authorization", bearer(TOKEN_A)), 404),
        (&own, "/credentials", ("origin", "null".to_owned()), 403),
        ("evil.example", "/credentials", ("authorization", bearer(TOKEN_A)), 421),
    ];
    let statuses = over_h2(keys, async |connection| {
        let mut statuses = Vec::new();
        for (authority, path, (name, value), _) in &rows {
            let request = http::Request::builder().uri(format!("http://{authority}{path}"));
            let request = request.header(*name, value).body(()).expect("a request");
            statuses.push(connection.ask(request, b"").await.status);
        }
        statuses
    });
    assert_eq!(statuses, rows.map(|row| row.3));
}

#[test]
fn a_reload_rejects_earlier_keys_on_open_connections() {
    let upstream = Script::answering(OK);
    let listen = "[[listen]]\naddress = \"127.0.0.1:0\"\nidentify = [\"key\"]\n";
    let admin = "[admin]\naddress = \"127.0.0.1:0\"\n[log]\nformat = \"json\"\n";
    let sections = sections(MASTER);
    let text = Served::text(upstream.address, &format!("{listen}{sections}{admin}"));
    let config = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(&config, &text).expect("written");
    let served = Served::of_file(config.path(), &KEY);
    let key = GivenKey::of(&ask_for(served.listeners()[1], "/credentials", &bearer(TOKEN_A)));
    let mut client = Client::connect(served.address);
    let mut send = || {
        let lines = key.lines("GET", SignatureVersion::V4, SystemEnv.now());
        client.ask("GET", "/photos/k", &served.address.to_string(), &lines, b"")
    };
    assert_eq!(send().status, 200);
    let of_a = format!("token = \"{TOKEN_A}\"");
    let rows = [
        (format!("{of_a}\ncredentials_not_before = \"2999-01-01T00:00:00Z\""), "", "InvalidSecurityToken"),
        (of_a.clone(), "revoked = [\"team-a\"]\n", "InvalidAccessKeyId"),
        (of_a.clone(), &format!("revoked = [\"{}\"]\n", key.id), "InvalidAccessKeyId"),
    ];
    for (caller, top, code) in rows {
        std::fs::write(&config, format!("{top}{}", text.replace(&of_a, &caller))).expect("written");
        let (status, answer) = served.reload();
        assert_eq!(status, 200, "{answer}");
        let rejected = send();
        assert_eq!(rejected.status, 403);
        assert!(rejected.text().contains(&format!("<Code>{code}</Code>")), "{}", rejected.text());
    }
    std::fs::write(&config, &text).expect("written");
    assert_eq!(served.reload().0, 200);
    assert_eq!(send().status, 200);
}

#[test]
fn handed_out_keys_and_masters_are_in_no_log_and_the_caller_is() {
    let oss = oss();
    let sections = sections(MASTER);
    let own = format!("[[listen]]\naddress = \"127.0.0.1:0\"\nidentify = [\"key\"]\n{sections}");
    let config = tempfile::NamedTempFile::new().expect("a file");
    let admin = "[admin]\naddress = \"127.0.0.1:0\"\n[log]\nlevel = \"trace\"\nformat = \"json\"\n";
    std::fs::write(&config, Served::text(oss.address, &format!("{own}{admin}"))).expect("written");
    let served = Served::of_file(config.path(), &KEY);
    let key = GivenKey::of(&ask_for(served.listeners()[1], "/credentials", &bearer(TOKEN_A)));
    assert_eq!(key.send("PUT", SignatureVersion::V4, served.address).status, 200);
    let wrong = GivenKey { secret: "wrong".to_owned(), ..key };
    let mismatch = wrong.send("PUT", SignatureVersion::V4, served.address);
    assert_eq!(mismatch.status, 403);
    let secrets = [MASTER, TOKEN_A, wrong.token.as_str()];
    search_for("the response", &mismatch.text(), &secrets);
    for path in ["/metrics", "/config", "/debug"] {
        search_for(path, &ask(served.admin(), "GET", path, b"").text(), &secrets);
    }
    served.signal("TERM");
    let log = served.end().1;
    search_for("the log", &log, &secrets);
    let named = log.lines().filter(|line| line.contains("\"caller\":\"team-a\"")).count();
    assert_eq!(named, 2, "{log}");
}
