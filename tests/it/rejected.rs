//! Access keys that OSS rejects: the proxy refreshes the credentials, and retries the request if it
//! is still complete.

use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use http::StatusCode;
use oss_signing_proxy::emulator::issuer::CredentialIssuer;
use oss_signing_proxy::emulator::{EmulatorThread, InjectedFault};

use crate::support::{ID, Proxy, SECRET, Script, ask, oss, proxy};

const ROLE: &str = "acs:ram::1234567890123456:role/logs";

fn assuming(oss: &EmulatorThread) -> (CredentialIssuer, Proxy) {
    let sts = CredentialIssuer::spawn(([127, 0, 0, 1], 0).into(), oss.service.clone()).expect("an STS");
    sts.role(ROLE, None);
    let role = format!(
        "type = \"assume_role\"\nsource = \"base\"\nrole_arn = \"{ROLE}\"\nsts_endpoint = \"http://{}\"",
        sts.address
    );
    let base = format!(
        "[credentials.base]\ntype = \"static\"\naccess_key_id = \"{ID}\"\naccess_key_secret = \"{SECRET}\""
    );
    let proxy = proxy(oss.address).credentials(&role).sections(&base).start();
    (sts, proxy)
}

#[test]
fn a_request_without_a_body_is_signed_anew_with_another_key() {
    for fault in [InjectedFault::ExpiredToken, InjectedFault::UnknownKey] {
        let oss = oss();
        let (sts, proxy) = assuming(&oss);
        assert_eq!(ask(proxy.address, "PUT", "/photos/k", b"v").status, 200);
        for method in ["GET", "HEAD"] {
            if method == "HEAD" {
                // At most once every ten seconds.
                std::thread::sleep(Duration::from_secs(10));
            }
            let calls = sts.calls().len();
            oss.faults.next(1, fault.clone());
            let answer = ask(proxy.address, method, "/photos/k", b"");
            assert_eq!(answer.status, 200, "{fault:?} {method}");
            assert_eq!(sts.calls().len(), calls + 1, "{fault:?} {method}");
        }
    }
}

#[test]
fn a_body_that_is_gone_is_not_sent_again_but_the_next_request_has_the_new_key() {
    let oss = oss();
    let (sts, proxy) = assuming(&oss);
    oss.faults.next(1, InjectedFault::UnknownKey);
    let answer = ask(proxy.address, "PUT", "/photos/k", b"value");
    assert_eq!((answer.status, answer.header("x-proxy-note")), (403, Some("credentials-rejected")));
    assert!(String::from_utf8_lossy(&answer.body).contains("InvalidAccessKeyId"));
    assert_eq!(sts.calls().len(), 2);
    assert_eq!(ask(proxy.address, "PUT", "/photos/k", b"value").status, 200);
    let metrics = ask(proxy.admin, "GET", "/metrics", b"").text();
    let counted = "oss_proxy_credential_rejected_total{source=\"default\",code=\"InvalidAccessKeyId\"} 1\n";
    assert!(metrics.contains(counted), "{metrics}");
}

#[test]
fn what_has_nothing_to_do_with_the_key_asks_nobody() {
    let oss = oss();
    let (sts, proxy) = assuming(&oss);
    assert_eq!(ask(proxy.address, "PUT", "/photos/k", b"v").status, 200);
    let denied = InjectedFault::Status { status: 403, code: "AccessDenied".to_owned() };
    // A key with a verified signature has the right secret.
    for fault in [denied, InjectedFault::WrongSignature] {
        oss.faults.next(1, fault.clone());
        assert_eq!(ask(proxy.address, "GET", "/photos/k", b"").status, 403, "{fault:?}");
        assert_eq!(sts.calls().len(), 1, "{fault:?}");
    }
}

#[test]
fn a_key_that_nobody_can_replace_is_told_and_not_asked_for_again_and_again() {
    let oss = oss();
    let proxy = proxy(oss.address).start();
    oss.faults.next(20, InjectedFault::UnknownKey);
    let begun = std::time::Instant::now();
    for _ in 0..20 {
        let answer = ask(proxy.address, "GET", "/photos/k", b"");
        assert_eq!((answer.status, answer.header("x-proxy-note")), (403, None));
    }
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
    assert_eq!(oss.recorder.count(), 20);
}

#[test]
fn sts_that_fails_then_costs_no_more_than_the_request_would_have() {
    let oss = oss();
    let (sts, proxy) = assuming(&oss);
    assert_eq!(ask(proxy.address, "PUT", "/photos/k", b"v").status, 200);
    sts.fail(1, StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable");
    oss.faults.next(1, InjectedFault::UnknownKey);
    assert_eq!(ask(proxy.address, "GET", "/photos/k", b"").status, 403);
    assert_eq!(ask(proxy.address, "GET", "/photos/k", b"").status, 200, "what is there goes on being used");
}

#[test]
fn a_refusal_in_chunks_is_understood_too() {
    let directory = tempfile::tempdir().expect("a directory");
    let program = directory.path().join("command");
    let count = directory.path().join("count");
    let text = format!(
        "#!/bin/sh\necho x >> {count:?}\necho \"{{\\\"AccessKeyId\\\":\\\"LTAI$(wc -l < {count:?})\\\",\\\"AccessKeySecret\\\":\\\"s\\\"}}\"\n"
    );
    std::fs::write(&program, text).expect("written");
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o700)).expect("a mode");
    let upstream = Script::start(|peer| {
        while let Some(head) = peer.head() {
            let document = "<Error><Code>InvalidAccessKeyId</Code></Error>";
            peer.send(if head.contains("Credential=LTAI1/") {
                format!("HTTP/1.1 403 Forbidden\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{document}\r\n0\r\n\r\n", document.len())
            } else {
                "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".to_owned()
            });
        }
    });
    let proxy =
        proxy(upstream.address).credentials(&format!("type = \"process\"\ncommand = [{program:?}]")).start();
    assert_eq!(ask(proxy.address, "GET", "/photos/k", b"").text(), "ok");
    assert_eq!(upstream.heads().len(), 2);
}
