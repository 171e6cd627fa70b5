//! Published responses, verbatim, through the whole proxy: observed responses of the metadata
//! service, STS and OSS.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use oss_signing_proxy::app::SystemEnv;
use oss_signing_proxy::emulator::issuer::CredentialIssuer;
use oss_signing_proxy::internals::time::{iso_extended, parse_iso_basic};
use oss_signing_proxy::time::{Clock as _, Timestamp};
use serde_json::Value;

use crate::support::script::line_of;
use crate::support::{ID, Proxy, SECRET, STS_ID, Script, TOKEN, ask, eventually, oss, proxy, run};

fn samples(text: &str) -> Vec<Value> {
    let all: Value = serde_json::from_str(text).expect("json");
    all["samples"].as_array().expect("samples").clone()
}

/// Returns the status and the body of the sample with this name.
fn sample(text: &str, id: &str) -> (u64, String) {
    let sample = samples(text).into_iter().find(|sample| sample["id"] == id).expect("the sample");
    (sample["status"].as_u64().expect("a status"), sample["body"].as_str().expect("a body").to_owned())
}

const ECS: &str = include_str!("../vectors/ecs_answers.json");
const STS: &str = include_str!("../vectors/sts_answers.json");
const OSS: &str = include_str!("../vectors/oss_refusals.json");

fn http(status: u64, body: &str) -> String {
    format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len())
}

fn triple(expires: Timestamp) -> String {
    format!(
        "{{\"Code\":\"Success\",\"AccessKeyId\":\"{STS_ID}\",\"AccessKeySecret\":\"{SECRET}\",\"SecurityToken\":\"{TOKEN}\",\
         \"Expiration\":\"{}\"}}",
        expires.rfc3339()
    )
}

/// Starts a metadata service with these responses: to the PUT for a token, to the request for the
/// role, and to the request for its key.
fn metadata(
    token: (u64, String),
    role: (u64, String),
    key: impl Fn() -> (u64, String) + Send + Sync + 'static,
) -> Script {
    Script::start(move |peer| {
        let Some(head) = peer.head() else { return };
        let (status, body) = if head.starts_with("PUT ") {
            token.clone()
        } else if head.starts_with("GET /latest/meta-data/ram/security-credentials/ ") {
            role.clone()
        } else {
            key()
        };
        peer.send(http(status, &body));
    })
}

fn of_instance(oss: std::net::SocketAddr, service: &Script) -> Proxy {
    proxy(oss).credentials(&format!("type = \"ecs\"\nendpoint = \"http://{}\"", service.address)).start()
}

fn last_error(proxy: &Proxy) -> String {
    let text = ask(proxy.admin, "GET", "/credentials", b"").text();
    let sources: Value = serde_json::from_str(&text).expect("json");
    sources[0]["last_error"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn each_published_token_and_role_name_of_the_metadata_service_is_used_as_it_stands() {
    for name in ["role-name", "role-name-trailing-newline"] {
        let oss = oss();
        let key = || (200, triple(SystemEnv.now() + std::time::Duration::from_secs(3_600)));
        let service = metadata(sample(ECS, "token"), sample(ECS, name), key);
        let proxy = of_instance(oss.address, &service);
        assert_eq!(ask(proxy.address, "PUT", "/photos/k", b"v").status, 200, "{name}");
        let heads = service.heads();
        assert_eq!(heads.len(), 3, "{name}: {heads:?}");
        assert_eq!(line_of(&heads[1], "x-aliyun-ecs-metadata-token"), Some("tokenxxxxx"), "{name}");
        assert!(heads[2].starts_with("GET /latest/meta-data/ram/security-credentials/rolename HTTP/1.1\r\n"));
    }
}

#[test]
fn each_published_refusal_of_the_metadata_service_comes_to_what_it_should() {
    let key = || (200, triple(SystemEnv.now() + std::time::Duration::from_secs(3_600)));
    let role = || (200, "rolename".to_owned());
    let token = || (200, "tokenxxxxx".to_owned());
    for (token, role, status, words) in [
        (sample(ECS, "token-403"), role(), 200, ""),
        (sample(ECS, "token-405"), role(), 200, ""),
        (token(), sample(ECS, "no-role-404"), 503, "has no RAM role"),
        (sample(ECS, "token-403"), sample(ECS, "hardened-401"), 503, "401"),
    ] {
        let oss = oss();
        let service = metadata(token, role, key);
        let proxy = of_instance(oss.address, &service);
        assert_eq!(ask(proxy.address, "PUT", "/photos/k", b"v").status, status, "{words}");
        let error = last_error(&proxy);
        assert!(error.contains(words) && !error.contains("<html>"), "{words}: {error}");
    }
}

#[test]
fn a_key_that_the_metadata_service_gives_too_late_leaves_the_one_that_is_there() {
    let oss = oss();
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let (_, stale) = sample(ECS, "stale-served");
    let key = move || {
        let now = SystemEnv.now();
        if count.fetch_add(1, Ordering::Relaxed) == 0 {
            return (200, triple(now + std::time::Duration::from_secs(9)));
        }
        let minute_ago = Timestamp::from_unix_s(now.unix_s() - 60);
        (200, stale.replace("{now-60s}", &minute_ago.rfc3339()))
    };
    let service = metadata((200, "tokenxxxxx".to_owned()), (200, "rolename".to_owned()), key);
    let proxy = of_instance(oss.address, &service);
    eventually("it is asked for another", || {
        assert_eq!(ask(proxy.address, "PUT", "/photos/k", b"v").status, 200, "the old one still signs");
        asked.load(Ordering::Relaxed) > 1 && last_error(&proxy).contains("credentials that expired at")
    });
    assert_eq!(ask(proxy.address, "PUT", "/photos/k", b"v").status, 200);
}

#[test]
fn a_token_of_a_pod_that_sts_calls_expired_is_read_once_more() {
    let oss = oss();
    let file = tempfile::NamedTempFile::new().expect("a file");
    fs::write(&file, "token-1").expect("written");
    let path = file.path().to_owned();
    let (status, expired) = sample(STS, "oidc_role_arn/token-expired");
    let tokens = Arc::new(std::sync::Mutex::new(Vec::new()));
    let seen = Arc::clone(&tokens);
    let sts = Script::start(move |peer| {
        let Some(head) = peer.head() else { return };
        let form = String::from_utf8(peer.body(&head)).expect("a form");
        let token =
            form.split('&').find_map(|pair| pair.strip_prefix("OIDCToken=")).expect("a token").to_owned();
        seen.lock().expect("no panic").push(token.clone());
        if token == "token-1" {
            fs::write(&path, "token-2\n").expect("written");
            peer.send(http(status, &expired));
        } else {
            let triple = triple(SystemEnv.now() + std::time::Duration::from_secs(3_600));
            peer.send(http(200, &format!("{{\"Credentials\":{triple}}}")));
        }
    });
    let lines = format!(
        "type = \"oidc\"\nrole_arn = \"acs:ram::1:role/r\"\noidc_provider_arn = \"acs:ram::1:oidc-provider/p\"\n\
         token_file = {:?}\nsts_endpoint = \"http://{}\"",
        file.path(),
        sts.address
    );
    let proxy = proxy(oss.address).credentials(&lines).start();
    assert_eq!(ask(proxy.address, "PUT", "/photos/k", b"v").status, 200);
    assert_eq!(*tokens.lock().expect("no panic"), ["token-1", "token-2"]);
}

/// Starts an OSS that answers the first request with this response, and all others with 200.
fn refusing_once(status: u64, headers: &'static str, body: String) -> Script {
    let asked = AtomicUsize::new(0);
    Script::start(move |peer| {
        while let Some(head) = peer.head() {
            peer.body(&head);
            if asked.fetch_add(1, Ordering::Relaxed) == 0 {
                let length = body.len();
                peer.send(format!("HTTP/1.1 {status} X\r\n{headers}Content-Length: {length}\r\n\r\n{body}"));
            } else {
                peer.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
            }
        }
    })
}

#[test]
fn each_published_refusal_of_a_key_has_another_one_asked_for_and_the_request_sent_again() {
    let refusals: Vec<Value> =
        samples(OSS).into_iter().filter(|sample| sample["expect"] == "invalidate").collect();
    assert_eq!(refusals.len(), 2);
    for refusal in refusals {
        let body = refusal["body"].as_str().expect("a body").to_owned();
        let upstream = refusing_once(refusal["status"].as_u64().expect("a status"), "", body);
        let oss = oss();
        let sts = CredentialIssuer::spawn(([127, 0, 0, 1], 0).into(), oss.service.clone()).expect("an STS");
        sts.role("acs:ram::1:role/r", None);
        let role = format!(
            "type = \"assume_role\"\nsource = \"base\"\nrole_arn = \"acs:ram::1:role/r\"\nsts_endpoint = \"http://{}\"",
            sts.address
        );
        let base = format!(
            "[credentials.base]\ntype = \"static\"\naccess_key_id = \"{ID}\"\naccess_key_secret = \"{SECRET}\""
        );
        let proxy = proxy(upstream.address).credentials(&role).sections(&base).start();
        assert_eq!(ask(proxy.address, "GET", "/photos/k", b"").text(), "ok", "{refusal}");
        let heads = upstream.heads();
        assert!(heads[0].contains("Credential=STS.issued1/"), "{heads:?}");
        assert!(heads[1].contains("Credential=STS.issued2/"), "{heads:?}");
    }
}

#[test]
fn the_published_refusal_of_a_clock_years_ago_is_passed_on_and_the_clock_is_kept() {
    let (status, body) = sample(OSS, "clock-skew");
    // The Date of that response was 1970, and the time in its body is years in the past: neither is
    // plausible.
    for date in ["", "Date: Thu, 01 Jan 1970 12:52:35 GMT\r\n"] {
        let upstream = refusing_once(status, date, body.clone());
        let proxy = proxy(upstream.address).start();
        let answer = ask(proxy.address, "GET", "/photos/k", b"");
        assert_eq!((answer.status, answer.header("x-proxy-note")), (403, None));
        assert!(answer.text().contains("RequestTimeTooSkewed"));
        assert_eq!(ask(proxy.address, "GET", "/photos/k", b"").text(), "ok");
        let dates: Vec<_> = upstream
            .heads()
            .iter()
            .map(|head| line_of(head, "x-oss-date").map(|date| date[..4].to_owned()))
            .collect();
        assert_eq!(dates[0], dates[1], "our own year");
    }
}

#[test]
fn a_refusal_of_a_clock_that_makes_sense_is_signed_anew_at_the_time_that_it_tells() {
    let (status, body) = sample(OSS, "clock-skew");
    let theirs = SystemEnv.now() + std::time::Duration::from_secs(7_200);
    let body = body.replace("2019-03-30T13:18:53.000Z", &iso_extended(theirs));
    let upstream = refusing_once(status, "", body.clone());
    let proxied = proxy(upstream.address).start();
    assert_eq!(ask(proxied.address, "GET", "/photos/k", b"").text(), "ok");
    let heads = upstream.heads();
    let signed = line_of(&heads[1], "x-oss-date").and_then(parse_iso_basic).expect("a date");
    assert!(signed.unix_s().abs_diff(theirs.unix_s()) < 5, "{heads:?}");

    // A consumed body is not sent again. The client gets a note, and the next request is signed
    // correctly.
    let upstream = refusing_once(status, "", body.clone());
    let proxied = proxy(upstream.address).start();
    let answer = ask(proxied.address, "PUT", "/photos/k", b"v");
    assert_eq!((answer.status, answer.header("x-proxy-note")), (403, Some("clock-corrected")));

    // A cached response does not contain the current time.
    let upstream = refusing_once(status, "Age: 1\r\n", body);
    let proxied = proxy(upstream.address).start();
    assert_eq!(ask(proxied.address, "GET", "/photos/k", b"").status, 403);
}

#[test]
fn an_oss_whose_clock_is_two_hours_ahead_is_served_after_one_refusal() {
    let oss = oss();
    oss.faults.next(1_000, oss_signing_proxy::emulator::InjectedFault::Skew { seconds: 7_200 });
    let proxy = proxy(oss.address).start();
    for _ in 0..20 {
        let status = ask(proxy.address, "HEAD", "/photos/k", b"").status;
        assert_eq!(status, 404, "each core is refused once, and asks again");
    }
    let metrics = ask(proxy.admin, "GET", "/metrics", b"").text();
    let offset = metrics
        .lines()
        .find(|line| line.starts_with("oss_proxy_clock_offset_seconds") && line.contains("oss-cn-hangzhou"));
    assert!(!metrics.contains("photos"), "no label names a bucket: {metrics}");
    assert!(offset.is_some_and(|line| line.contains(" 7199") || line.contains(" 720")), "{metrics}");
}

#[test]
fn explain_and_check_tell_the_published_errors_of_sts_without_their_message() {
    for id in [
        "no-permission-root",
        "ak-not-found",
        "ak-disabled",
        "throttled",
        "signature-mismatch",
        "server-error",
    ] {
        let (status, body) = sample(STS, &format!("ram_role_arn/{id}"));
        let answer = http(status, &body);
        let sts = Script::answering(answer.leak());
        let file = tempfile::NamedTempFile::new().expect("a file");
        let text = format!(
            "[upstream]\nregion = \"cn-hangzhou\"\n[credentials.default]\ntype = \"assume_role\"\nsource = \"base\"\n\
             role_arn = \"acs:ram::1:role/r\"\nsts_endpoint = \"http://{}\"\n[credentials.base]\ntype = \"static\"\n\
             access_key_id = \"{ID}\"\naccess_key_secret = \"{SECRET}\"",
            sts.address
        );
        fs::write(&file, text).expect("written");
        let error: Value = serde_json::from_str(&body).expect("json");
        let told = |key: &str| error[key].as_str().expect("text");
        for command in ["explain", "check"] {
            let (code, out, errors) = run(&[command, "--config", file.path().to_str().expect("a path")], &[]);
            let all = format!("{out}{errors}");
            assert_eq!(code, Some(77), "{id}: {all}");
            for words in [told("Code"), told("RequestId"), &sts.address.to_string(), "\"default\""] {
                assert!(all.contains(words), "{id}: {words}: {all}");
            }
            assert!(!all.contains(told("Message")) && !all.contains(SECRET), "{id}: {all}");
        }
    }
}
