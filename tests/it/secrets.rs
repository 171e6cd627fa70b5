//! Planted secrets: the program at its most verbose log level, through all successes and failures.
//! Nothing that it writes or answers may contain a secret, in any form.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

use oss_signing_proxy::emulator::EmulatorThread;
use oss_signing_proxy::emulator::issuer::CredentialIssuer;

use crate::support::{Client, SECRET, STS_ID, Script, Served, TOKEN, ask, oss, run};

/// The client's own signature.
const THEIRS: &str = "clients-own-planted-signature";
const THEIR_TOKEN: &str = "clients+own/planted+token==";

pub(crate) const STS: [(&str, &str); 3] =
    [("OSS_ACCESS_KEY_ID", STS_ID), ("OSS_ACCESS_KEY_SECRET", SECRET), ("OSS_SESSION_TOKEN", TOKEN)];

/// The first secrets that the small STS issues.
const ISSUED: [&str; 2] = ["issued-secret-1", "issued+token/1=="];
/// The token that a pod sends to STS.
const POD_TOKEN: &str = "planted.token.of.a.pod";

/// Returns all encodings in which a secret could occur.
fn forms(secret: &str) -> Vec<String> {
    let hex = |upper: bool, between: &str| {
        let one = |byte: u8| if upper { format!("{byte:02X}") } else { format!("{byte:02x}") };
        secret.bytes().map(one).collect::<Vec<_>>().join(between)
    };
    let percent = secret.bytes().fold(String::new(), |mut text, byte| {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            text.push(char::from(byte));
        } else {
            let _ = write!(text, "%{byte:02X}");
        }
        text
    });
    let twice = percent.replace('%', "%25");
    // Within a longer text, base64 differs at each of three offsets; its middle part does not
    // depend on the rest.
    let shifted = (0..3).map(|shift| {
        let encoded = STANDARD.encode(format!("{}{secret}", "x".repeat(shift)));
        encoded[4..encoded.len() - 5].to_owned()
    });
    let mut all = vec![
        secret.to_owned(),
        hex(false, ""),
        hex(true, ""),
        hex(true, " "),
        hex(false, ":"),
        URL_SAFE_NO_PAD.encode(secret),
        format!("{:?}", secret.as_bytes()),
        percent,
        twice,
    ];
    all.extend(shifted);
    all
}

/// Asserts that `text` has none of the secrets of this file, in any form.
pub(crate) fn search(place: &str, text: &str) {
    search_for(place, text, &[SECRET, TOKEN, THEIRS, THEIR_TOKEN, ISSUED[0], ISSUED[1], POD_TOKEN]);
}

/// Asserts that `text` has none of these secrets, in any form.
pub(crate) fn search_for(place: &str, text: &str, secrets: &[&str]) {
    for &secret in secrets {
        for form in forms(secret) {
            let at = text.find(&form);
            assert_eq!(
                at,
                None,
                "{place} has {secret:?} as {form:?}: {}",
                &text[at.unwrap_or(0).saturating_sub(200)..][..400.min(text.len())]
            );
        }
    }
}

/// Sends all kinds of valid and invalid requests, and searches the responses for secrets. They may
/// contain no secret of the proxy or of the client, even if the upstream echoes requests.
fn everything(served: &Served, admin: Option<std::net::SocketAddr>) {
    let own = served.address.to_string();
    let signed = format!(
        "Authorization: OSS LTAIx:{THEIRS}\r\nx-oss-security-token: {THEIR_TOKEN}\r\nx-oss-date: 20260101T000000Z\r\n"
    );
    let presigned = format!(
        "/photos/k?x-oss-signature={THEIRS}&x-oss-security-token=clients%2Bown%2Fplanted%2Btoken%3D%3D&x-oss-credential=a&Signature={THEIRS}"
    );
    let large = vec![b'x'; 300_000];
    for (method, target, headers, body) in [
        ("PUT", "/photos/k", "", &b"body"[..]),
        ("PUT", "/photos/k", &*signed, b"body"),
        ("GET", "/photos/k", &*signed, b""),
        ("GET", &*presigned, "", b""),
        ("HEAD", "/photos/k", "", b""),
        ("GET", "/photos?list-type=2", "", b""),
        ("GET", "/photos/missing", "", b""),
        ("GET", "/nobucketofours/k", "", b""),
        ("POST", "/photos/k?uploads", "", b""),
        ("PUT", "/photos/large", "", &large),
        ("DELETE", "/photos/k", "", b""),
        // Rejected by the proxy.
        ("GET", "/photos/%zz", &*signed, b""),
        ("GET", "/Bad_Bucket/k", &*signed, b""),
        ("PATCH", "/photos/k", &*signed, b""),
        ("POST", "/photos/", "Content-Type: multipart/form-data; boundary=x\r\n", b"--x--"),
        ("GET", "/photos/k", "Origin: https://evil.example\r\n", b""),
        ("PUT", "/photos/k", "Expect: something\r\n", b"x"),
    ] {
        let mut client = Client::connect(served.address);
        let answer = client.ask(method, target, &own, headers, body);
        search(&format!("the answer to {method} {target}"), &format!("{:?} {}", answer.head, answer.text()));
    }
    // Invalid HTTP, and truncated requests.
    for bytes in [
        format!("GET /photos/<k HTTP/1.1\r\nHost: {own}\r\nAuthorization: {THEIRS}\r\n\r\n"),
        format!(
            "PUT /photos/k HTTP/1.1\r\nHost: {own}\r\nAuthorization: {THEIRS}\r\nContent-Length: 100\r\n\r\nhalf"
        ),
        format!("{THEIRS}\r\n\r\n"),
        format!("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n{THEIRS}{THEIRS}"),
    ] {
        let mut client = Client::connect(served.address);
        client.send(bytes);
        // The result is ignored, because the connection may be closed already.
        let _ = client.stream.shutdown(std::net::Shutdown::Write);
        let mut rest = Vec::new();
        let _ = std::io::Read::read_to_end(&mut client.stream, &mut rest);
        search("the answer to garbage", &String::from_utf8_lossy(&rest));
    }
    if let Some(admin) = admin {
        for path in ["/livez", "/readyz", "/version", "/metrics", "/config", "/debug"] {
            let answer = ask(admin, "GET", path, b"");
            search(path, &format!("{:?} {}", answer.head, answer.text()));
        }
    }
}

/// Shuts the program down and searches its log, which must be more verbose than usual.
fn search_log(served: Served) {
    let log = log_of(served);
    assert!(
        log.contains("\"level\":\"TRACE\"") || log.contains("trace") || log.contains("DEBUG"),
        "it was told to say all"
    );
    search("the log", &log);
}

/// Shuts the program down and returns its log.
pub(crate) fn log_of(served: Served) -> String {
    served.signal("TERM");
    served.end().1
}

pub(crate) const TRACE: [&str; 2] = ["--log-level", "trace"];

#[test]
fn nothing_shows_before_an_oss_that_does_its_work() {
    let oss = oss();
    let served = Served::start(oss.address, &TRACE, &STS);
    everything(&served, Some(served.admin()));
    assert!(
        oss.recorder.last().expect("a request").headers.contains_key("x-oss-security-token"),
        "it was sent"
    );
    search_log(served);
}

#[test]
fn nothing_shows_before_an_upstream_that_repeats_what_it_gets() {
    let upstream = Script::start(|peer| {
        if let Some(head) = peer.head() {
            let mut rest = head.clone();
            let _ = write!(rest, "{}", STANDARD.encode(&head));
            let body = format!("<Error><Code>X</Code><StringToSign>{rest}</StringToSign></Error>");
            peer.send(format!("HTTP/1.1 403 Forbidden\r\nx-oss-err: {}\r\n", STANDARD.encode(&body[..200])));
            peer.send(format!("Content-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len()));
        }
    });
    let served = Served::start(upstream.address, &TRACE, &STS);
    everything(&served, None);
    search_log(served);
}

#[test]
fn nothing_shows_before_an_upstream_that_breaks() {
    for answer in ["", "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf", "garbage\r\n\r\n"] {
        let upstream = Script::start(move |peer| {
            peer.head();
            peer.send(answer);
        });
        let served = Served::start(upstream.address, &TRACE, &STS);
        everything(&served, None);
        search_log(served);
    }
}

#[test]
fn nothing_shows_in_what_commands_print() {
    for arguments in [
        &["check", "--region", "cn-hangzhou", "--log-level", "trace"][..],
        &["check", "--region", "cn-hangzhou", "--endpoint", "nonsense"],
        &["serve", "--region", "cn-hangzhou", "--listen", "nonsense"],
        &["presign", "GET", "/Bad_Bucket/k", "--expires", "1m", "--region", "cn-hangzhou"],
    ] {
        let (_, out, log) = run(arguments, &STS);
        search(&format!("{arguments:?}"), &format!("{out}{log}"));
    }
}

/// Runs a program that assumes a role at this STS, at its most verbose log level: for one request,
/// and until the next refresh.
fn asking(oss: &EmulatorThread, sts: std::net::SocketAddr, token_file: &str) -> String {
    let endpoint = format!("http://{sts}");
    let role = ("OSS_STS_ROLE_ARN", "acs:ram::1:role/r");
    let of_role = [&STS[..], &[role, ("ALIBABA_CLOUD_STS_ENDPOINT", &endpoint)]].concat();
    let of_pod = [
        ("ALIBABA_CLOUD_STS_ENDPOINT", endpoint.as_str()),
        ("ALIBABA_CLOUD_ROLE_ARN", "acs:ram::1:role/r"),
        ("ALIBABA_CLOUD_OIDC_PROVIDER_ARN", "acs:ram::1:oidc-provider/p"),
        ("ALIBABA_CLOUD_OIDC_TOKEN_FILE", token_file),
    ];
    let mut logs = String::new();
    for environment in [&of_role[..], &of_pod] {
        let served = Served::start(oss.address, &["--log-level", "trace"], environment);
        let answer = ask(served.address, "GET", "/photos/none", b"");
        search("an answer", &format!("{:?} {}", answer.head, answer.text()));
        std::thread::sleep(std::time::Duration::from_millis(700));
        served.signal("TERM");
        logs.push_str(&served.end().1);
    }
    logs
}

#[test]
fn nothing_shows_of_what_goes_to_sts_and_comes_from_it() {
    let oss = oss();
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(&file, POD_TOKEN).expect("written");
    let path = file.path().to_str().expect("a path");
    let sts = CredentialIssuer::spawn(([127, 0, 0, 1], 0).into(), oss.service.clone()).expect("an STS");
    sts.role("acs:ram::1:role/r", None);
    sts.token(POD_TOKEN);
    let log = asking(&oss, sts.address, path);
    search("the log", &log);
    assert!(log.contains("ram_role_arn") && log.contains("oidc_role_arn"), "{log}");

    // An STS that echoes the request and adds secrets, as an error and as an invalid success.
    for status in ["403 Forbidden", "200 OK"] {
        let echo = Script::start(move |peer| {
            let Some(head) = peer.head() else { return };
            let body = peer.body(&head);
            let issued = ISSUED.join(" ");
            let text = [head.as_bytes(), &body, issued.as_bytes()].concat();
            peer.send(format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n", text.len()));
            peer.send(text);
        });
        let log = asking(&oss, echo.address, path);
        search("the log", &log);
        assert!(log.contains("STS at http://"), "{log}");
    }
}

/// Returns a provider of each kind that reads files or sends requests. Their values must not be
/// printed.
fn kinds(issuer: &CredentialIssuer, directory: &std::path::Path) -> Vec<(&'static str, String)> {
    let file = |name: &str, text: String| {
        let path = directory.join(name);
        std::fs::write(&path, text).expect("written");
        path.to_str().expect("a path").to_owned()
    };
    let at = issuer.address;
    let json = format!(
        r#"{{"mode": "StsToken", "name": "a", "access_key_id": "{STS_ID}", "access_key_secret": "{SECRET}", "sts_token": "{TOKEN}"}}"#
    );
    let triple = format!("access_key_id = {STS_ID}\naccess_key_secret = {SECRET}\nsts_token = {TOKEN}\n");
    let printed = file("printed.json", json.clone());
    let plain = file("key.json", json.replace("sts_token", "security_token"));
    let profile = file("config.json", format!(r#"{{"current": "a", "profiles": [{json}]}}"#));
    let ini = file("credentials", format!("[default]\ntype = sts\n{triple}"));
    let ossutil = file("ossutilconfig", format!("[Credentials]\n{triple}"));
    let authorization = file("authorization", THEIRS.to_owned());
    vec![
        (
            "static",
            format!(
                "access_key_id = \"{STS_ID}\"\naccess_key_secret = \"{SECRET}\"\nsecurity_token = \"{TOKEN}\""
            ),
        ),
        ("file", format!("path = {plain:?}")),
        ("process", format!("command = [\"/bin/cat\", {printed:?}]")),
        ("profile", format!("path = {profile:?}")),
        ("ini", format!("path = {ini:?}")),
        ("ossutil", format!("path = {ossutil:?}")),
        ("ecs", format!("endpoint = \"http://{at}\"")),
        ("uri", format!("url = \"http://{at}/credentials\"\nauthorization_file = {authorization:?}")),
    ]
}

#[test]
fn nothing_shows_of_any_source_in_log_answers_admin_and_metrics() {
    let oss = oss();
    let directory = tempfile::tempdir().expect("a directory");
    let issuer = CredentialIssuer::spawn(([127, 0, 0, 1], 0).into(), oss.service.clone()).expect("an issuer");
    issuer.instance("app", Some(true));
    issuer.authorization(THEIRS);
    let issued = |text: &str| {
        for word in ["issued-secret-", "issued+token", "metadata-token-"] {
            assert!(!text.contains(word), "{word}: {text}");
        }
    };
    for (kind, lines) in kinds(&issuer, directory.path()) {
        let sections = format!("[credentials.default]\ntype = \"{kind}\"\n{lines}\n");
        let environment = [("ALIBABA_CLOUD_ECS_METADATA_DISABLED", "false")];
        let served = Served::start_with(oss.address, &sections, &["--log-level", "trace"], &environment);
        assert_eq!(ask(served.address, "PUT", "/photos/k", b"v").status, 200, "{kind}");
        let mut seen = String::new();
        for (at, path) in [
            (served.address, "/photos/none"),
            (served.admin(), "/credentials"),
            (served.admin(), "/metrics"),
            (served.admin(), "/readyz"),
        ] {
            let answer = ask(at, "GET", path, b"");
            seen.push_str(&format!("{:?} {}\n", answer.head, answer.text()));
        }
        served.signal("TERM");
        let (_, log) = served.end();
        seen.push_str(&log);
        search(kind, &seen);
        issued(&seen);
        let text = format!("[upstream]\nregion = \"cn-hangzhou\"\n{sections}");
        let file = directory.path().join("proxy.toml");
        std::fs::write(&file, text).expect("written");
        for command in [&["check", "--credentials"][..], &["explain"]] {
            let arguments = [command, &["--config", file.to_str().expect("a path")]].concat();
            let (code, out, errors) = run(&arguments, &environment);
            assert_eq!(code, Some(0), "{kind}: {errors}");
            search(kind, &format!("{out}{errors}"));
            issued(&format!("{out}{errors}"));
        }
    }
}
