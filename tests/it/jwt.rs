//! JSON Web Tokens of callers, with keys from a file and from a server on loopback, which also
//! fails in every way.

use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use oss_signing_proxy::app::SystemEnv;
use oss_signing_proxy::time::{Clock as _, Timestamp};
use serde_json::{Value, json};

use crate::secrets::{TRACE, search_for};
use crate::support::certificates::Authority;
use crate::support::script::line_of;
use crate::support::{Answer, Client, ID, KEY, Proxy, Script, Served, ask, eventually, proxy, run};

const ISSUER: &str = "https://kubernetes.default.svc";
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
const LISTEN: &str = "identify = [\"jwt\"]";

/// A key of an issuer.
struct IssuerKey {
    id: &'static str,
    pair: Ed25519KeyPair,
}

impl IssuerKey {
    fn new(id: &'static str) -> Self {
        Self { id, pair: Ed25519KeyPair::generate().expect("a key") }
    }

    /// Returns the JWK set of this key.
    fn set(&self) -> String {
        let x = URL_SAFE_NO_PAD.encode(self.pair.public_key().as_ref());
        json!({ "keys": [{ "kty": "OKP", "crv": "Ed25519", "kid": self.id, "use": "sig", "x": x }] })
            .to_string()
    }

    /// Returns a token that is valid for ten minutes.
    fn token(&self) -> String {
        self.token_with("exp", json!(now() + 600))
    }

    /// Returns a token with another value of a claim.
    fn token_with(&self, name: &str, value: Value) -> String {
        let mut claims = json!({
            "iss": ISSUER,
            "sub": "system:serviceaccount:team-a:app",
            "aud": ["oss-proxy"],
            "exp": now() + 600,
        });
        claims[name] = value;
        let header = json!({ "alg": "EdDSA", "kid": self.id });
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(&header), part(&claims));
        let signature = self.pair.sign(signed.as_bytes());
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature.as_ref()))
    }
}

fn now() -> i64 {
    SystemEnv.now().unix_s()
}

/// A server of keys, whose response can be changed.
struct KeyServer {
    script: Script,
    response: Arc<Mutex<String>>,
}

impl KeyServer {
    fn start(keys: &IssuerKey) -> Self {
        let response = Arc::new(Mutex::new(document(&keys.set())));
        let current = Arc::clone(&response);
        let script = Script::start(move |peer| {
            if peer.head().is_some() {
                let response = current.lock().expect("no panic").clone();
                peer.send(response);
            }
        });
        Self { script, response }
    }

    fn respond(&self, response: String) {
        *self.response.lock().expect("no panic") = response;
    }

    fn fetches(&self) -> usize {
        self.script.heads().len()
    }

    /// Returns a caller with the keys of this server.
    fn caller(&self) -> String {
        caller(&format!("jwks_url = \"http://{}/openid/v1/jwks?a=b\"", self.script.address))
    }
}

fn document(body: &str) -> String {
    format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn caller(keys: &str) -> String {
    format!(
        "[[caller]]\nname = \"team-a\"\nallow = \"read\"\n[caller.jwt]\nissuer = \"{ISSUER}\"\n\
         audience = \"oss-proxy\"\nsubject = \"system:serviceaccount:team-a:*\"\n{keys}\n"
    )
}

fn send(to: SocketAddr, token: &str) -> Answer {
    send_on(&mut Client::connect(to), to, token)
}

fn send_on(client: &mut Client, to: SocketAddr, token: &str) -> Answer {
    client.ask("GET", "/photos/k", &to.to_string(), &format!("Authorization: Bearer {token}\r\n"), b"")
}

fn started(upstream: &Script, caller: &str) -> Proxy {
    proxy(upstream.address).listen(LISTEN).sections(caller).start()
}

#[test]
fn a_token_of_a_service_account_is_accepted_and_others_are_challenged() {
    let upstream = Script::answering(OK);
    let (key, other) = (IssuerKey::new("a"), IssuerKey::new("a"));
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(&file, key.set()).expect("written");
    let proxy = started(&upstream, &caller(&format!("jwks_file = {:?}", file.path())));
    let own = proxy.address.to_string();
    let token = key.token();
    let basic = format!("Authorization: Basic {}\r\n", STANDARD.encode(format!("any:{token}")));
    assert_eq!(send(proxy.address, &token).status, 200);
    assert_eq!(Client::connect(proxy.address).ask("GET", "/photos/k", &own, &basic, b"").status, 200);
    let denied = Client::connect(proxy.address).ask("PUT", "/photos/k", &own, &basic, b"bytes");
    assert_eq!((denied.status, denied.refused()), (403, Some("denied")));
    let unsigned = Client::connect(proxy.address).ask("GET", "/photos/k", &own, "", b"");
    assert_eq!((unsigned.status, unsigned.refused()), (401, Some("no-identity")));
    for (token, code, words) in [
        (key.token_with("exp", json!(now() - 61)), "expired", "has expired"),
        (key.token_with("nbf", json!(now() + 600)), "clock-skew", "not valid yet"),
        (key.token_with("aud", json!("other")), "no-identity", "audience"),
        (key.token_with("iss", json!("https://other")), "no-identity", "issuer"),
        (key.token_with("sub", json!("system:serviceaccount:team-b:app")), "no-identity", "subject"),
        (key.token_with("exp", Value::Null), "malformed-signature", "no exp claim"),
        (other.token(), "bad-signature", "signature of the JSON Web Token is wrong"),
        ("a.b.c".to_owned(), "malformed-signature", "JSON Web Token is invalid"),
    ] {
        let answer = send(proxy.address, &token);
        let text = answer.text();
        assert_eq!((answer.status, answer.refused()), (401, Some(code)), "{text}");
        assert!(text.contains(words) && text.contains("<Code>AccessDenied</Code>"), "{text}");
        let challenges = answer.all("www-authenticate");
        assert_eq!(challenges.last(), Some(&"Bearer error=\"invalid_token\""), "{challenges:?}");
        if token.len() > 100 {
            search_for("the response", &format!("{:?} {text}", answer.head), &[&token]);
        }
    }
    let heads = upstream.heads();
    assert_eq!(heads.len(), 2);
    assert!(heads.iter().all(|head| !head.contains(&token) && head.contains(ID)));
}

#[test]
fn a_token_that_expires_is_rejected_on_an_open_connection() {
    let upstream = Script::answering(OK);
    let key = IssuerKey::new("a");
    let server = KeyServer::start(&key);
    let proxy = started(&upstream, &server.caller());
    let mut client = Client::connect(proxy.address);
    // The leeway is 60 seconds.
    let token = key.token_with("exp", json!(now() - 57));
    assert_eq!(send_on(&mut client, proxy.address, &token).status, 200);
    eventually("the token expires", || {
        send_on(&mut client, proxy.address, &token).refused() == Some("expired")
    });
}

#[test]
fn keys_that_a_token_obtains_end_with_it() {
    let upstream = Script::answering(OK);
    let key = IssuerKey::new("a");
    let server = KeyServer::start(&key);
    let listen = "[[listen]]\naddress = \"127.0.0.1:0\"\nserve = \"credentials\"\nidentify = [\"jwt\"]\n";
    let master = "[hand_out]\nmaster = [\"PlantedMasterOf40LettersAndDigits0123456\"]\n";
    let proxy = proxy(upstream.address)
        .listen("identify = [\"key\"]")
        .sections(&format!("{listen}{master}{}", server.caller()))
        .start();
    let keys = proxy.listeners[1];
    let ask = |path: &str, authorization: &str| {
        let line = format!("Authorization: {authorization}\r\n");
        Client::connect(keys).ask("GET", path, &keys.to_string(), &line, b"")
    };
    let expires = now() + 300;
    let token = key.token_with("exp", json!(expires));
    for (path, authorization) in [("/credentials", format!("Bearer {token}")), ("/aws", token)] {
        let answer = ask(path, &authorization);
        let document: Value = serde_json::from_str(&answer.text()).expect("json");
        let ends = document["Expiration"].as_str().and_then(Timestamp::parse_rfc3339).expect("a time");
        assert_eq!((answer.status, ends.unix_s()), (200, expires), "{path}");
    }
    // The leeway for clocks does not extend the life of a token.
    let ended = ask("/credentials", &format!("Bearer {}", key.token_with("exp", json!(now() - 1))));
    assert_eq!((ended.status, ended.refused()), (403, Some("expired")));
    let other = ask("/credentials", &format!("Bearer {}", IssuerKey::new("a").token()));
    assert_eq!((other.status, other.refused()), (401, Some("bad-signature")));
}

#[test]
fn a_key_that_is_new_is_fetched_for_the_first_request_with_it() {
    let upstream = Script::answering(OK);
    let (first, second) = (IssuerKey::new("first"), IssuerKey::new("second"));
    let server = KeyServer::start(&first);
    let proxy = started(&upstream, &server.caller());
    assert_eq!(send(proxy.address, &first.token()).status, 200);
    assert_eq!(server.fetches(), 1);
    server.respond(document(&second.set()));
    assert_eq!(send(proxy.address, &second.token()).status, 200);
    assert_eq!(server.fetches(), 2);
    let gone = send(proxy.address, &first.token());
    assert_eq!((gone.status, gone.refused()), (401, Some("no-identity")));
    assert!(gone.text().contains("none with its key id"), "{}", gone.text());
    assert_eq!(server.fetches(), 2, "one on demand a minute");
    let heads = server.script.heads();
    assert!(heads.iter().all(|head| head.starts_with("GET /openid/v1/jwks?a=b HTTP/1.1\r\n")), "{heads:?}");
    assert!(heads.iter().all(|head| line_of(head, "authorization").is_none()), "{heads:?}");
}

#[test]
fn many_unknown_key_ids_cause_one_fetch() {
    let upstream = Script::answering(OK);
    let key = IssuerKey::new("known");
    let server = KeyServer::start(&key);
    let proxy = started(&upstream, &server.caller());
    assert_eq!(send(proxy.address, &key.token()).status, 200);
    let address = proxy.address;
    let attackers = [(); 8].map(|()| {
        std::thread::spawn(move || {
            let unknown = IssuerKey::new("unknown");
            let mut client = Client::connect(address);
            for _ in 0..50 {
                assert_eq!(send_on(&mut client, address, &unknown.token()).status, 401);
            }
        })
    });
    for _ in 0..50 {
        assert_eq!(send(proxy.address, &key.token()).status, 200);
    }
    for attacker in attackers {
        attacker.join().expect("no panic");
    }
    assert_eq!(server.fetches(), 2);
    assert_eq!(upstream.heads().len(), 51);
}

#[test]
fn keys_are_kept_while_their_issuer_is_away() {
    let upstream = Script::answering(OK);
    let key = IssuerKey::new("a");
    let server = KeyServer::start(&key);
    let proxy = started(&upstream, &server.caller());
    assert_eq!(send(proxy.address, &key.token()).status, 200);
    for response in ["HTTP/1.1 503 X\r\nContent-Length: 0\r\n\r\n", ""] {
        server.respond(response.to_owned());
        assert_eq!(send(proxy.address, &IssuerKey::new("b").token()).status, 401);
        assert_eq!(send(proxy.address, &key.token()).status, 200);
    }
    let metrics = ask(proxy.admin, "GET", "/metrics", b"").text();
    let name = format!("issuer=\"{ISSUER}\"");
    for line in [
        format!("oss_proxy_jwks_keys{{{name}}} 1"),
        format!("oss_proxy_jwks_fetches_total{{{name},result=\"ok\"}} 1"),
        format!("oss_proxy_jwks_age_seconds{{{name}}} "),
    ] {
        assert!(metrics.contains(&line), "{line}\n{metrics}");
    }
    assert!(
        !metrics.contains(&format!("oss_proxy_jwks_fetches_total{{{name},result=\"failed\"}} 0")),
        "{metrics}"
    );
    assert_eq!(ask(proxy.admin, "GET", "/readyz", b"").status, 200);
}

#[test]
fn responses_that_are_no_keys_are_rejected_and_redirects_are_not_followed() {
    let upstream = Script::answering(OK);
    let key = IssuerKey::new("a");
    let good = KeyServer::start(&key);
    let set = key.set();
    let elsewhere = format!("http://{}/", good.script.address);
    let mut healing = Vec::new();
    for response in [
        // These keys are right, but the response is too large.
        document(&format!("{set}{}", " ".repeat(10 << 20))),
        format!("HTTP/1.1 200 OK\r\n\r\n{set}{}", " ".repeat(10 << 20)),
        format!("HTTP/1.1 302 X\r\nLocation: {elsewhere}\r\nContent-Length: {}\r\n\r\n{set}", set.len()),
        format!("HTTP/1.1 404 X\r\nContent-Length: {}\r\n\r\n{set}", set.len()),
        document("<html>"),
        document("{\"keys\":[]}"),
        format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{set}", set.len() + 1),
        "SSH-2.0\r\n".to_owned(),
    ] {
        let server = KeyServer::start(&key);
        server.respond(response.clone());
        let proxy = started(&upstream, &server.caller());
        let answer = send(proxy.address, &key.token());
        let begin = &response[..response.len().min(80)];
        assert_eq!((answer.status, answer.refused()), (401, Some("no-identity")), "{begin}");
        assert!(answer.text().contains("not available yet"), "{begin}: {}", answer.text());
        server.respond(document(&set));
        healing.push((proxy, server));
    }
    for (proxy, _) in &healing {
        eventually("keys", || send(proxy.address, &key.token()).status == 200);
    }
    assert_eq!(good.fetches(), 0);
}

#[test]
fn an_issuer_that_never_responds_delays_only_its_own_requests_and_only_briefly() {
    let upstream = Script::answering(OK);
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let key = IssuerKey::new("a");
    let url = format!("jwks_url = \"http://{}/\"", silent.local_addr().expect("bound"));
    let token =
        "[[caller]]\nname = \"team-b\"\nallow = \"read\"\ntoken = \"TeamBPlantedTokenOf30Letters00\"\n";
    let proxy = proxy(upstream.address)
        .listen("identify = [\"token\", \"jwt\"]")
        .sections(&format!("{}{token}", caller(&url)))
        .start();
    let address = proxy.address;
    let waiting = [(); 4].map(|()| {
        let token = key.token();
        std::thread::spawn(move || {
            let begun = Instant::now();
            (send(address, &token).status, begun.elapsed())
        })
    });
    let begun = Instant::now();
    while waiting.iter().any(|request| !request.is_finished()) {
        assert_eq!(send(proxy.address, "TeamBPlantedTokenOf30Letters00").status, 200);
        assert!(begun.elapsed() < Duration::from_secs(20), "they wait for too long");
    }
    for request in waiting {
        let (status, waited) = request.join().expect("no panic");
        assert_eq!(status, 401);
        assert!(waited < Duration::from_secs(15), "{waited:?}");
    }
}

#[test]
fn keys_are_fetched_over_tls_with_the_token_of_the_proxy() {
    let upstream = Script::answering(OK);
    let (authority, other) = (Authority::new(), Authority::new());
    let key = IssuerKey::new("a");
    let config = authority.server("localhost");
    let set = key.set();
    let server = Script::start(move |peer| {
        let connection = rustls::ServerConnection::new(Arc::clone(&config)).expect("a server");
        let stream = peer.stream.try_clone().expect("a second handle");
        let mut stream = rustls::StreamOwned::new(connection, stream);
        let mut head = [0; 4096];
        let Ok(length) = std::io::Read::read(&mut stream, &mut head) else { return };
        let head = String::from_utf8_lossy(&head[..length]);
        let is_known = line_of(&head, "authorization") == Some("Bearer planted-token-of-the-proxy");
        let response =
            if is_known { document(&set) } else { "HTTP/1.1 403 X\r\nContent-Length: 0\r\n\r\n".to_owned() };
        let _ = std::io::Write::write_all(&mut stream, response.as_bytes());
        stream.conn.send_close_notify();
        let _ = std::io::Write::flush(&mut stream);
    });
    let token = tempfile::NamedTempFile::new().expect("a file");
    let url = format!("jwks_url = \"https://localhost:{}/\"", server.address.port());
    let with =
        |authority: &Authority, token: &str| format!("{url}\njwks_ca_file = {:?}\n{token}", authority.file());
    let with_token = format!("jwks_token_file = {:?}", token.path());
    std::fs::write(&token, "planted-token-of-the-proxy\n").expect("written");
    for (keys, status) in [
        (with(&authority, &with_token), 200),
        (with(&authority, ""), 401),
        (with(&other, &with_token), 401),
        (format!("{url}\n{with_token}"), 401),
    ] {
        let proxy = started(&upstream, &caller(&keys));
        assert_eq!(send(proxy.address, &key.token()).status, status, "{keys}");
    }
    // Both files are read for each fetch.
    std::fs::write(&token, "other").expect("written");
    let proxy = started(&upstream, &caller(&with(&authority, &with_token)));
    assert_eq!(send(proxy.address, &key.token()).status, 401);
    std::fs::write(&token, "planted-token-of-the-proxy").expect("written");
    eventually("keys", || send(proxy.address, &key.token()).status == 200);
}

#[test]
fn a_reload_keeps_fetched_keys_and_reads_a_changed_file() {
    let upstream = Script::answering(OK);
    let (first, second) = (IssuerKey::new("first"), IssuerKey::new("second"));
    let server = KeyServer::start(&first);
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(&file, second.set()).expect("written");
    let sections = |audience: &str| {
        let of_file = caller(&format!("jwks_file = {:?}", file.path())).replace("team-a", "team-b");
        let of_file = of_file.replace(ISSUER, "https://other").replace("oss-proxy", audience);
        format!("[[listen]]\n{LISTEN}\n{}{of_file}", server.caller())
    };
    let served = Served::start_with(upstream.address, &sections("b"), &TRACE, &KEY);
    let of_file = |key: &IssuerKey| {
        let claims = |name: &str, value: &str| (name.to_owned(), json!(value));
        let mut token = json!({ "exp": now() + 600 });
        let all = [
            claims("iss", "https://other"),
            claims("sub", "system:serviceaccount:team-b:app"),
            claims("aud", "b2"),
        ];
        token.as_object_mut().expect("claims").extend(all);
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(&json!({ "alg": "EdDSA", "kid": key.id })), part(&token));
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(key.pair.sign(signed.as_bytes()).as_ref()))
    };
    assert_eq!(send(served.address, &first.token()).status, 200);
    let mut client = Client::connect(served.address);
    assert_eq!(send_on(&mut client, served.address, &of_file(&second)).status, 401);
    served.rewrite(upstream.address, &sections("b2"));
    assert_eq!(served.reload().0, 200);
    assert_eq!(send_on(&mut client, served.address, &of_file(&second)).status, 200);
    assert_eq!(send_on(&mut client, served.address, &first.token()).status, 200);
    assert_eq!(server.fetches(), 1, "the keys outlive the reload");
    // A changed file is noticed.
    let third = IssuerKey::new("third");
    std::fs::write(&file, third.set()).expect("written");
    eventually("the keys of the file", || send(served.address, &of_file(&third)).status == 200);
    assert_eq!(send_on(&mut client, served.address, &of_file(&second)).status, 401);
}

#[test]
fn callers_are_named_in_the_log_and_their_tokens_nowhere() {
    let upstream = Script::answering(OK);
    let (key, other) = (IssuerKey::new("a"), IssuerKey::new("a"));
    let server = KeyServer::start(&key);
    let caller = format!("[[listen]]\n{LISTEN}\n{}", server.caller());
    let served = Served::start_with(upstream.address, &caller, &TRACE, &KEY);
    let tokens = [key.token(), key.token_with("exp", json!(1)), other.token()];
    let statuses = tokens.each_ref().map(|token| send(served.address, token).status);
    assert_eq!(statuses, [200, 401, 401]);
    // A failure is a warning, and does not end readiness.
    server.respond("HTTP/1.1 500 planted-body\r\nContent-Length: 12\r\n\r\nplanted-body".to_owned());
    assert_eq!(send(served.address, &IssuerKey::new("b").token()).status, 401);
    let admin = served.admin();
    assert_eq!(ask(admin, "GET", "/readyz", b"").status, 200);
    let metrics = ask(admin, "GET", "/metrics", b"").text();
    let counted = "oss_proxy_caller_requests_ended_total{caller=\"team-a\",status=\"2xx\"} 1";
    assert!(metrics.contains(counted), "{metrics}");
    served.signal("TERM");
    let log = served.end().1;
    let parts: Vec<&str> = tokens.iter().flat_map(|token| token.rsplit('.').take(2)).collect();
    search_for("the log", &log, &parts);
    search_for("the metrics", &metrics, &parts);
    assert!(!log.contains("planted-body"), "{log}");
    assert_eq!(log.lines().filter(|line| line.contains("\"caller\":\"team-a\"")).count(), 1, "{log}");
    let warnings: Vec<&str> = log.lines().filter(|line| line.contains("cannot fetch the keys")).collect();
    assert!(warnings.len() == 1 && warnings[0].contains("status 500"), "{warnings:?}");
}

#[test]
fn check_and_explain_show_the_tokens_of_callers() {
    let key = IssuerKey::new("a");
    let server = KeyServer::start(&key);
    let file = tempfile::NamedTempFile::new().expect("a file");
    let listen = "[[listen]]\nidentify = [\"jwt\"]\naddress = \"127.0.0.1:8770\"\n";
    let text = format!("[upstream]\nregion = \"cn-hangzhou\"\n{listen}{}", server.caller());
    std::fs::write(&file, &text).expect("written");
    let path = file.path().to_str().expect("a path");
    let (code, out, errors) = run(&["check", "--config", path], &KEY);
    assert_eq!(code, Some(0), "{out}{errors}");
    let words = "jwt issuer https://kubernetes.default.svc (fetched keys) audience oss-proxy subject system:serviceaccount:team-a:*";
    assert!(out.contains(words), "{out}");
    for (token, code, words) in [
        (key.token(), 0, "caller      team-a"),
        (IssuerKey::new("b").token(), 1, "refused     401 no-identity: the keys of the issuer"),
        (key.token_with("exp", json!(1)), 1, "refused     401 expired"),
    ] {
        let header = format!("Authorization: Bearer {token}");
        let begun = Instant::now();
        let (exit, out, errors) =
            run(&["explain", "--config", path, "GET", "/photos/k", "--header", &header], &KEY);
        assert_eq!(exit, Some(code), "{out}{errors}");
        assert!(out.contains(words) && !out.contains(&token), "{out}{errors}");
        assert!(begun.elapsed() < Duration::from_secs(30));
    }
    std::fs::write(&file, text.replace("team-a:*", "")).expect("written");
    assert_eq!(run(&["check", "--config", path], &KEY).0, Some(0), "an exact subject may end with a colon");
}

#[test]
fn a_token_gets_keys_that_do_not_outlive_it() {
    let upstream = Script::answering(OK);
    let key = IssuerKey::new("a");
    let server = KeyServer::start(&key);
    let keys = "[[listen]]\naddress = \"127.0.0.1:0\"\nserve = \"credentials\"\nidentify = [\"jwt\"]\n\
                [hand_out]\nmaster = [\"0123456789abcdef0123456789abcdef\"]\n";
    let proxy =
        proxy(upstream.address).listen(LISTEN).sections(&format!("{keys}{}", server.caller())).start();
    let to = proxy.listeners[1];
    let get = |path: &str, authorization: &str| {
        let line = format!("Authorization: {authorization}\r\n");
        Client::connect(to).ask("GET", path, &to.to_string(), &line, b"")
    };
    let expires = |answer: &Answer| {
        assert_eq!(answer.status, 200, "{}", answer.text());
        let document: Value = serde_json::from_str(&answer.text()).expect("json");
        let text = document["Expiration"].as_str().expect("a text");
        Timestamp::parse_rfc3339(text).expect("a time").unix_s()
    };
    let ends = now() + 600;
    let short = key.token_with("exp", json!(ends));
    assert_eq!(expires(&get("/credentials", &format!("Bearer {short}"))), ends);
    // The SDKs of AWS send the token of a pod as it is.
    assert_eq!(expires(&get("/aws", &short)), ends);
    let long = key.token_with("exp", json!(now() + 86_400));
    assert!(expires(&get("/credentials", &format!("Bearer {long}"))) <= now() + 3600);
    // The leeway that a token has is no lifetime of a key.
    let ended = get("/credentials", &format!("Bearer {}", key.token_with("exp", json!(now() - 10))));
    assert_eq!((ended.status, ended.refused()), (403, Some("expired")), "{}", ended.text());
    let other = IssuerKey::new("a").token();
    let refused = get("/aws", &other);
    assert!(refused.status != 200 && !refused.text().contains("HO."), "{}", refused.text());
}
