//! Callers: requests signed with keys that are valid only at the proxy, and what happens to all
//! others. The emulated OSS verifies what arrives there.

use std::net::SocketAddr;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderName, HeaderValue};
use oss_signing_proxy::app::SystemEnv;
use oss_signing_proxy::internals::oss::{Key, Query};
use oss_signing_proxy::internals::sign::{
    SignableRequest, SignatureVersion, SigningIdentity, SigningKey, SigningScheme, SigningTime, presign,
};
use oss_signing_proxy::oss::Region;
use oss_signing_proxy::secret::Secret;
use oss_signing_proxy::time::{Clock as _, Timestamp};

use crate::secrets::{TRACE, search_for};
use crate::support::script::line_of;
use crate::support::{Answer, Client, ID, KEY, Proxy, Script, Served, ask, bucket, oss, proxy, run};

const CALLER_ID: &str = "team-a-1";
pub(crate) const CALLER_SECRET: &str = "TeamAPlantedSecretOf30Letters0";

/// A caller with everything, one that may read, one without rights, and no open one.
pub(crate) const CALLERS: &str = "
    [[caller]]
    name = \"team-a\"
    allow = \"everything\"
    key = [{ id = \"team-a-1\", secret = \"TeamAPlantedSecretOf30Letters0\" }]
    [[caller]]
    name = \"team-b\"
    allow = \"read\"
    key = [{ id = \"team-b-1\", secret = \"TeamBPlantedSecretOf30Letters0\" }]
    [[caller]]
    name = \"team-c\"
    key = [{ id = \"team-c-1\", secret = \"TeamCPlantedSecretOf30Letters0\" }]
";

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

/// A request to sign.
pub(crate) struct Asked<'a> {
    pub(crate) method: &'a str,
    /// The bucket that is signed.
    pub(crate) bucket: &'a str,
    pub(crate) key: &'a str,
    pub(crate) query: &'a str,
    pub(crate) headers: &'a [(&'a str, &'a str)],
    pub(crate) id: &'a str,
    pub(crate) secret: &'a str,
    pub(crate) version: SignatureVersion,
    /// Seconds from now to the time of the signature.
    pub(crate) ahead_s: i64,
}

impl<'a> Asked<'a> {
    pub(crate) fn new(method: &'a str, key: &'a str) -> Self {
        let version = SignatureVersion::V4;
        Self {
            method,
            bucket: "photos",
            key,
            query: "",
            headers: &[],
            id: CALLER_ID,
            secret: CALLER_SECRET,
            version,
            ahead_s: 0,
        }
    }

    /// Returns the header lines of the request, with its signature.
    pub(crate) fn lines(&self) -> String {
        let mut headers = self.header_map();
        let signature = self.signed(&headers, |key, request, time| key.sign(request, time));
        signature.apply(&mut headers);
        let line = |(name, value): (&HeaderName, &HeaderValue)| {
            format!("{name}: {}\r\n", value.to_str().expect("text"))
        };
        headers.iter().map(line).collect()
    }

    /// Returns the query of a presigned URL for the request.
    pub(crate) fn signed_query(&self, lifetime: Duration) -> String {
        let query =
            self.signed(&self.header_map(), |key, request, time| presign(key, request, time, lifetime));
        let mut text = String::new();
        query.expect("a URL").write(&mut text);
        text
    }

    fn header_map(&self) -> HeaderMap {
        let header = |(name, value): &(&str, &str)| {
            let name: HeaderName = name.parse().expect("a name");
            (name, HeaderValue::from_str(value).expect("a value"))
        };
        self.headers.iter().map(header).collect()
    }

    /// Signs the request with these headers by `sign`.
    fn signed<T>(
        &self,
        headers: &HeaderMap,
        sign: impl FnOnce(&SigningKey, &SignableRequest<'_>, &SigningTime) -> T,
    ) -> T {
        let at = SystemEnv.now().unix_s() + self.ahead_s;
        let time = SigningTime::new(Timestamp::from_unix_s(at));
        let region = Region::parse("cn-shanghai").expect("a region");
        let scheme = match self.version {
            SignatureVersion::V4 => {
                let day = oss_signing_proxy::internals::time::day(time.at());
                SigningScheme::V4 { day, region: &region }
            }
            SignatureVersion::V1 => SigningScheme::V1,
        };
        let secret = &Secret::new(self.secret.to_owned());
        let identity = SigningIdentity { id: self.id, secret, token: None };
        let signer = SigningKey::new(identity, scheme).expect("a key");
        let request = SignableRequest {
            method: &self.method.parse().expect("a method"),
            bucket: Some(&bucket(self.bucket)),
            key: &Key::from_path(self.key).expect("a key"),
            query: &Query::parse(self.query).expect("a query"),
            headers,
        };
        sign(&signer, &request, &time)
    }

    /// Sends the request to the bucket in the path.
    pub(crate) fn send(&self, proxy: &Proxy, body: &[u8]) -> Answer {
        self.send_on(&mut Client::connect(proxy.address), proxy.address, body)
    }

    /// Sends the request on a connection to the proxy at `address`.
    pub(crate) fn send_on(&self, client: &mut Client, address: SocketAddr, body: &[u8]) -> Answer {
        let target =
            format!("/photos/{}{}{}", self.key, if self.query.is_empty() { "" } else { "?" }, self.query);
        client.ask(self.method, &target, &address.to_string(), &self.lines(), body)
    }
}

#[test]
fn signed_requests_are_signed_again_in_every_form_of_address() {
    let oss = oss();
    let proxy = proxy(oss.address).listen("identify = [\"key\"]").sections(CALLERS).start();
    let own = proxy.address.to_string();
    for version in [SignatureVersion::V4, SignatureVersion::V1] {
        for (target, host) in [
            ("/photos/a%20b", own.as_str()),
            ("/a%20b", "photos.oss.example.test"),
            ("/a%20b", "photos.oss-cn-hangzhou.aliyuncs.com"),
            ("http://photos.oss-cn-hangzhou.aliyuncs.com/a%20b", "photos.oss-cn-hangzhou.aliyuncs.com"),
        ] {
            let put = Asked { headers: &[("x-oss-meta-a", "1")], version, ..Asked::new("PUT", "a%20b") };
            let answer = Client::connect(proxy.address).ask("PUT", target, host, &put.lines(), b"bytes");
            assert_eq!(answer.status, 200, "{version:?} {target} {host}: {}", answer.text());
            let get = Asked { version, ..Asked::new("GET", "a%20b") };
            let answer = Client::connect(proxy.address).ask("GET", target, host, &get.lines(), b"");
            assert_eq!((answer.status, answer.text().as_str()), (200, "bytes"), "{version:?} {target}");
        }
    }
}

#[test]
fn the_upstream_sees_nothing_of_the_signature_of_a_caller() {
    let upstream = Script::answering(OK);
    let proxy = proxy(upstream.address).listen("identify = [\"key\"]").sections(CALLERS).start();
    for version in [SignatureVersion::V4, SignatureVersion::V1] {
        assert_eq!(Asked { version, ..Asked::new("GET", "k") }.send(&proxy, b"").status, 200);
    }
    let heads = upstream.heads();
    assert_eq!(heads.len(), 2);
    for head in heads {
        assert!(head.contains(ID) && !head.contains(CALLER_ID) && !head.contains("cn-shanghai"), "{head}");
    }
}

#[test]
fn unidentified_requests_are_rejected_with_the_errors_of_oss_and_reach_no_upstream() {
    let upstream = Script::answering(OK);
    let proxy = proxy(upstream.address).listen("identify = [\"key\"]").sections(CALLERS).start();
    let get = || Asked::new("GET", "k");
    let rows = [
        (
            Asked { secret: "wrong", ..get() },
            403,
            "SignatureDoesNotMatch",
            "bad-signature",
            Some("0002-00000201"),
        ),
        (Asked { id: "nobody", ..get() }, 403, "InvalidAccessKeyId", "no-identity", Some("0002-00000902")),
        (
            Asked { ahead_s: 16 * 60, ..get() },
            403,
            "RequestTimeTooSkewed",
            "clock-skew",
            Some("0002-00000504"),
        ),
        (
            Asked { ahead_s: -16 * 60, ..get() },
            403,
            "RequestTimeTooSkewed",
            "clock-skew",
            Some("0002-00000504"),
        ),
        (
            Asked { headers: &[("x-oss-security-token", "t")], ..get() },
            403,
            "InvalidAccessKeyId",
            "no-identity",
            None,
        ),
        (
            Asked { id: "team-c-1", secret: "TeamCPlantedSecretOf30Letters0", ..get() },
            403,
            "AccessDenied",
            "denied",
            None,
        ),
    ];
    for (asked, status, code, refused, ec) in rows {
        for version in [SignatureVersion::V4, SignatureVersion::V1] {
            let asked = Asked { version, ..asked };
            let answer = asked.send(&proxy, b"");
            let text = answer.text();
            assert_eq!(
                (answer.status, answer.refused()),
                (status, Some(refused)),
                "{code} {version:?}: {text}"
            );
            assert!(text.contains(&format!("<Code>{code}</Code>")), "{text}");
            assert_eq!(answer.header("x-oss-ec"), ec, "{code}");
            assert_eq!(ec.is_some(), text.contains("<EC>"), "{text}");
            let head = Asked { method: "HEAD", ..asked }.send(&proxy, b"");
            assert_eq!((head.status, head.refused()), (status, Some(refused)), "{code} {version:?}");
            assert!(head.header("x-oss-err").is_some_and(|document| document.len() > 100), "{code}");
        }
    }
    let unsigned =
        Client::connect(proxy.address).ask("GET", "/photos/k", &proxy.address.to_string(), "", b"");
    assert_eq!((unsigned.status, unsigned.refused()), (403, Some("no-identity")));
    assert!(unsigned.text().contains("<Code>AccessDenied</Code>"), "{}", unsigned.text());
    assert_eq!(upstream.heads().len(), 0);
}

#[test]
fn a_mismatch_shows_what_the_proxy_signed_and_no_secret() {
    let upstream = Script::answering(OK);
    let proxy = proxy(upstream.address).listen("identify = [\"key\"]").sections(CALLERS).start();
    let asked = Asked { query: "x-oss-process=image%2Finfo", secret: "wrong", ..Asked::new("GET", "a+b") };
    let text = asked.send(&proxy, b"").text();
    for element in
        ["StringToSign", "StringToSignBytes", "CanonicalRequest", "SignatureProvided", "OSSAccessKeyId"]
    {
        assert!(text.contains(&format!("<{element}>")), "{element}: {text}");
    }
    assert!(text.contains("GET\n/photos/a%2Bb\nx-oss-process=image%2Finfo\n"), "{text}");
    assert!(!text.contains(CALLER_SECRET), "{text}");
}

#[test]
fn a_caller_that_may_read_cannot_write() {
    let upstream = Script::answering(OK);
    let proxy = proxy(upstream.address).listen("identify = [\"key\"]").sections(CALLERS).start();
    let own = |method| Asked {
        id: "team-b-1",
        secret: "TeamBPlantedSecretOf30Letters0",
        ..Asked::new(method, "k")
    };
    assert_eq!(own("GET").send(&proxy, b"").status, 200);
    let denied = own("PUT").send(&proxy, b"bytes");
    assert_eq!((denied.status, denied.refused()), (403, Some("denied")));
    assert_eq!(upstream.heads().len(), 1);
}

#[test]
fn an_open_caller_serves_unsigned_requests_with_its_own_rights() {
    let upstream = Script::answering(OK);
    let open = format!("{CALLERS}\n[[caller]]\nname = \"everyone\"\nopen = true\nallow = \"read\"\n");
    let proxy = proxy(upstream.address).listen("identify = [\"key\"]").sections(&open).start();
    let own = proxy.address.to_string();
    let ask = |method: &str, headers: &str| {
        Client::connect(proxy.address).ask(method, "/photos/k", &own, headers, b"").status
    };
    assert_eq!((ask("GET", ""), ask("PUT", "")), (200, 403));
    assert_eq!(Asked::new("PUT", "k").send(&proxy, b"bytes").status, 200);
    // A signature that fails does not become unsigned.
    assert_eq!(Asked { secret: "wrong", ..Asked::new("GET", "k") }.send(&proxy, b"").status, 403);
    assert_eq!(upstream.heads().len(), 2);
}

#[test]
fn a_listener_without_identify_serves_every_request_as_the_open_caller() {
    let upstream = Script::answering(OK);
    let open = format!("{CALLERS}\n[[caller]]\nname = \"everyone\"\nopen = true\nallow = \"read\"\n");
    let proxy = proxy(upstream.address).sections(&open).start();
    assert_eq!(Asked::new("GET", "k").send(&proxy, b"").status, 200);
    assert_eq!(Asked { secret: "wrong", ..Asked::new("GET", "k") }.send(&proxy, b"").status, 200);
    assert_eq!(Asked::new("PUT", "k").send(&proxy, b"bytes").status, 403);
}

#[test]
fn the_head_is_rejected_before_the_client_sends_the_body() {
    let upstream = Script::answering(OK);
    let proxy = proxy(upstream.address).listen("identify = [\"key\"]").sections(CALLERS).start();
    let mut client = Client::connect(proxy.address);
    let asked = Asked { secret: "wrong", ..Asked::new("PUT", "k") };
    client.send(format!(
        "PUT /photos/k HTTP/1.1\r\nHost: {}\r\nExpect: 100-continue\r\nContent-Length: 100\r\n{}\r\n",
        proxy.address,
        asked.lines()
    ));
    let answer = client.answer("PUT").expect("an answer");
    assert_eq!((answer.status, answer.refused()), (403, Some("bad-signature")));
    assert_eq!(upstream.heads().len(), 0);
}

/// Starts the program at its most verbose log level, with a listener for callers.
pub(crate) fn served(upstream: SocketAddr, callers: &str) -> Served {
    Served::start_with(upstream, &identifying(callers), &TRACE, &KEY)
}

fn identifying(callers: &str) -> String {
    format!("[[listen]]\nidentify = [\"key\"]\n{callers}")
}

#[test]
fn a_reload_of_callers_applies_to_open_connections() {
    let upstream = Script::answering(OK);
    let served = served(upstream.address, CALLERS);
    let mut client = Client::connect(served.address);
    let mut status = |id, secret| {
        let asked = Asked { id, secret, ..Asked::new("GET", "k") };
        asked.send_on(&mut client, served.address, b"").status
    };
    const NEW: &str = "TeamANextPlantedSecretOf30Lett";
    assert_eq!((status(CALLER_ID, CALLER_SECRET), status(CALLER_ID, NEW)), (200, 403));
    // The new secret is added, then the old one is removed.
    let pair = format!(
        "[{{ id = \"team-a-1\", secret = \"{NEW}\" }}, {{ id = \"team-a-1\", secret = \"{CALLER_SECRET}\" }}]"
    );
    let both = CALLERS.replace(&format!("[{{ id = \"team-a-1\", secret = \"{CALLER_SECRET}\" }}]"), &pair);
    served.rewrite(upstream.address, &identifying(&both));
    assert_eq!(served.reload().0, 200);
    assert_eq!((status(CALLER_ID, CALLER_SECRET), status(CALLER_ID, NEW)), (200, 200));
    served.rewrite(upstream.address, &identifying(&CALLERS.replace(CALLER_SECRET, NEW)));
    assert_eq!(served.reload().0, 200);
    assert_eq!((status(CALLER_ID, CALLER_SECRET), status(CALLER_ID, NEW)), (403, 200));
    // A revoked key and the callers of a revoked name are unknown, even if none is left.
    let revoked =
        format!("revoked = [\"team-a-1\", \"team-b\", \"team-c\"]\n{}", Served::text(upstream.address, ""));
    let config = served.config.as_ref().expect("its own file");
    std::fs::write(config.path(), format!("{revoked}{}", identifying(CALLERS))).expect("written");
    assert_eq!(served.reload().0, 200);
    assert_eq!((status(CALLER_ID, CALLER_SECRET), status(CALLER_ID, NEW)), (403, 403));
    let unsigned = ask(served.address, "GET", "/photos/k", b"");
    assert_eq!((unsigned.status, unsigned.refused()), (403, Some("no-identity")));
}

#[test]
fn callers_are_named_in_log_and_metrics_and_their_secrets_nowhere() {
    let oss = oss();
    let served = served(oss.address, CALLERS);
    let secrets = [CALLER_SECRET, "TeamBPlantedSecretOf30Letters0", "TeamCPlantedSecretOf30Letters0"];
    let mut signatures = Vec::new();
    for version in [SignatureVersion::V4, SignatureVersion::V1] {
        for (secret, status) in [(CALLER_SECRET, 404), ("wrong", 403)] {
            let asked = Asked { secret, version, ..Asked::new("GET", "missing") };
            let lines = asked.lines();
            let (_, authorization) = lines.split_once("authorization: ").expect("a signature");
            let line = authorization.lines().next().expect("a line");
            let signature = line.rsplit_once("Signature=").or_else(|| line.rsplit_once(':'));
            signatures.push(signature.expect("a signature").1.to_owned());
            let answer = Client::connect(served.address).ask(
                "GET",
                "/photos/missing",
                &served.address.to_string(),
                &lines,
                b"",
            );
            assert_eq!(answer.status, status);
            search_for("the response", &format!("{:?} {}", answer.head, answer.text()), &secrets);
        }
    }
    let admin = served.admin();
    for path in ["/livez", "/readyz", "/version", "/metrics", "/config", "/debug"] {
        let page = ask(admin, "GET", path, b"").text();
        search_for(path, &page, &secrets);
        if path == "/metrics" {
            let ended = "oss_proxy_caller_requests_ended_total{caller=\"team-a\",status=\"4xx\"} 2";
            assert!(page.contains(ended), "{page}");
        }
    }
    served.signal("TERM");
    let log = served.end().1;
    search_for("the log", &log, &secrets);
    for signature in &signatures {
        assert!(signature.len() >= 28, "{signature}");
        assert!(!log.contains(signature), "the log has {signature}");
    }
    let named = log.lines().filter(|line| line.contains("\"caller\":\"team-a\"")).count();
    let unknown = log.lines().filter(|line| line.contains("\"caller\":\"-\"")).count();
    assert_eq!((named, unknown), (2, 2), "{log}");
}

#[test]
fn tokens_are_accepted_as_bearer_token_and_as_password_and_others_are_challenged() {
    let upstream = Script::answering(OK);
    let caller =
        "[[caller]]\nname = \"team-d\"\nallow = \"read\"\ntoken = \"TeamDPlantedTokenOf30Letters00\"\n";
    let listen = "identify = [\"key\", \"token\"]";
    let proxy = proxy(upstream.address).listen(listen).sections(&format!("{CALLERS}{caller}")).start();
    let own = proxy.address.to_string();
    let ask = |method: &str, authorization: &str| {
        let line = format!("Authorization: {authorization}\r\n");
        let headers = if authorization.is_empty() { "" } else { &line };
        Client::connect(proxy.address).ask(method, "/photos/k", &own, headers, b"")
    };
    let basic = |password: &str| format!("Basic {}", STANDARD.encode(format!("any:{password}")));
    let token = "TeamDPlantedTokenOf30Letters00";
    for authorization in [format!("Bearer {token}"), basic(token)] {
        assert_eq!(ask("GET", &authorization).status, 200, "{authorization}");
        let denied = ask("PUT", &authorization);
        assert_eq!((denied.status, denied.refused()), (403, Some("denied")), "{authorization}");
    }
    for authorization in [String::new(), "Bearer wrong".to_owned(), basic("wrong")] {
        let answer = ask("GET", &authorization);
        assert_eq!((answer.status, answer.refused()), (401, Some("no-identity")), "{authorization}");
        // Chromium asks for no password if another challenge is on the same line.
        let basic = "Basic realm=\"oss-signing-proxy\", charset=\"UTF-8\"";
        assert_eq!(answer.all("www-authenticate"), [basic, "Bearer"], "{authorization}");
    }
    assert_eq!(Asked::new("PUT", "k").send(&proxy, b"bytes").status, 200);
    let heads = upstream.heads();
    assert_eq!(heads.len(), 3);
    assert!(heads.iter().all(|head| !head.contains(token) && head.contains(ID)));
}

#[test]
fn explain_names_the_caller_of_a_request_or_why_there_is_none() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    let callers = CALLERS.replacen("key =", "token = \"TeamAPlantedTokenOf30Letters00\"\nkey =", 1);
    let text = identifying(&callers).replace("[\"key\"]", "[\"key\", \"token\"]");
    std::fs::write(&file, format!("[upstream]\nregion = \"cn-hangzhou\"\n{text}")).expect("written");
    let explain = |header: &str| {
        let path = file.path().to_str().expect("a path");
        let (code, out, errors) =
            run(&["explain", "--config", path, "GET", "/photos/k", "--header", header], &KEY);
        assert!(!out.contains("Planted"), "{out}");
        (code, format!("{out}{errors}"))
    };
    for (header, code, words) in [
        ("Authorization: Bearer TeamAPlantedTokenOf30Letters00", 0, "caller      team-a"),
        ("Authorization: Bearer wrong", 1, "refused     401 no-identity: the token is of no caller"),
        ("x-other: a", 1, "refused     401 no-identity: the request has no identity"),
        ("Authorization: OSS a:b", 1, "refused     400 malformed-signature"),
    ] {
        let (exit, out) = explain(header);
        assert_eq!(exit, Some(code), "{header}: {out}");
        assert!(out.contains(words), "{header}: {out}");
    }
}

#[test]
fn the_upstream_is_sent_the_name_of_the_caller_and_no_other() {
    let oss = oss();
    let upstream = Script::answering(OK);
    let agents = [("user-agent", "sdk/1 Caller/team-b (x; caller/team-c)")];
    for (lines, agent) in [
        ("tell_upstream = true", "caller/team-a sdk/1 (x; )"),
        ("tell_upstream = false", "sdk/1 Caller/team-b (x; caller/team-c)"),
    ] {
        let proxy =
            proxy(upstream.address).listen("identify = [\"key\"]").upstream(lines).sections(CALLERS).start();
        for version in [SignatureVersion::V4, SignatureVersion::V1] {
            let asked = Asked { headers: &agents, version, ..Asked::new("GET", "k") };
            assert_eq!(asked.send(&proxy, b"").status, 200);
            let heads = upstream.heads();
            assert_eq!(line_of(heads.last().expect("a head"), "user-agent"), Some(agent), "{lines}");
        }
    }
    // The header is not signed for OSS.
    for signature in ["v4", "v1"] {
        let lines = format!("tell_upstream = true\nsignature = \"{signature}\"");
        let proxy =
            proxy(oss.address).listen("identify = [\"key\"]").upstream(&lines).sections(CALLERS).start();
        let asked = Asked { headers: &agents, ..Asked::new("PUT", "k") };
        assert_eq!(asked.send(&proxy, b"bytes").status, 200);
    }
}

#[test]
fn without_callers_a_client_cannot_name_one_to_the_upstream() {
    let upstream = Script::answering(OK);
    let proxy = proxy(upstream.address).upstream("tell_upstream = true").start();
    for (line, agent) in [
        ("User-Agent: caller/team-a\r\n", None),
        ("User-Agent: sdk/1 caller/team-a\r\n", Some("sdk/1")),
        ("", None),
    ] {
        let own = proxy.address.to_string();
        let answer = Client::connect(proxy.address).ask("GET", "/photos/k", &own, line, b"");
        assert_eq!(answer.status, 200);
        assert_eq!(line_of(upstream.heads().last().expect("a head"), "user-agent"), agent);
    }
}

#[test]
fn each_caller_has_the_credentials_of_its_route() {
    let upstream = Script::answering(OK);
    let routes = "
        [[route]]
        match = { caller = \"team-b\", bucket = \"photos\" }
        credentials = \"of-b\"
        [credentials.of-b]
        type = \"static\"
        access_key_id = \"LTAIofteamb\"
        access_key_secret = \"planted-secret-of-team-b\"
    ";
    let listen = "identify = [\"key\"]";
    let proxy = proxy(upstream.address).listen(listen).sections(&format!("{CALLERS}{routes}")).start();
    let of_b = Asked { id: "team-b-1", secret: "TeamBPlantedSecretOf30Letters0", ..Asked::new("GET", "k") };
    assert_eq!((of_b.send(&proxy, b"").status, Asked::new("GET", "k").send(&proxy, b"").status), (200, 200));
    let heads = upstream.heads();
    assert!(heads[0].contains("LTAIofteamb") && !heads[0].contains(ID), "{}", heads[0]);
    assert!(heads[1].contains(ID) && !heads[1].contains("LTAIofteamb"), "{}", heads[1]);
}
