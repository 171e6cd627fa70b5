//! The role of an ECS instance, from a scripted metadata service.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::support::{Proxy, SECRET, STS_ID, Script, Served, TOKEN, ask, eventually, oss, proxy, run};

/// Starts a service whose response depends on the head of the request, and on whether the request
/// has the token.
fn service(answer: impl Fn(&str, bool) -> (u16, String) + Send + Sync + 'static) -> Script {
    Script::start(move |peer| {
        let Some(head) = peer.head() else { return };
        let with_token = head.to_ascii_lowercase().contains("x-aliyun-ecs-metadata-token: session-token\r\n");
        let (status, body) = answer(&head, with_token);
        peer.send(format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n\r\n{body}", body.len()));
    })
}

fn triple() -> String {
    format!(
        "{{\"Code\":\"Success\",\"AccessKeyId\":\"{STS_ID}\",\"AccessKeySecret\":\"{SECRET}\",\"SecurityToken\":\"{TOKEN}\",\
         \"LastUpdated\":\"2026-01-01T00:00:00Z\",\"Expiration\":\"2999-01-01T00:00:00Z\"}}"
    )
}

/// Enables the metadata service, which the tests of the program disable by default.
const ON: (&str, &str) = ("ALIBABA_CLOUD_ECS_METADATA_DISABLED", "false");
const ROLES: &str = "GET /latest/meta-data/ram/security-credentials/";

/// Answers like an instance that requires tokens: nothing without one.
fn hardened(head: &str, with_token: bool) -> (u16, String) {
    if head.starts_with("PUT /latest/api/token ") {
        (200, "session-token".to_owned())
    } else if !with_token {
        (401, "401 - Unauthorized".to_owned())
    } else if head.starts_with(&format!("{ROLES} ")) {
        (200, "app-role\n".to_owned())
    } else if head.starts_with(&format!("{ROLES}app-role ")) {
        (200, triple())
    } else {
        (404, "<html>404 - Not Found</html>".to_owned())
    }
}

fn lines(service: &Script, more: &str) -> String {
    format!("type = \"ecs\"\nendpoint = \"http://{}\"\n{more}", service.address)
}

fn put(proxy: &Proxy) -> u16 {
    ask(proxy.address, "PUT", "/photos/k", b"v").status
}

/// Returns the method and target of each request to the service.
fn asked(service: &Script) -> Vec<String> {
    let line = |head: &String| head.split(" HTTP/").next().unwrap_or_default().to_owned();
    service.heads().iter().map(line).collect()
}

#[test]
fn a_role_is_found_with_one_token_and_signs() {
    let oss = oss();
    let service = service(hardened);
    let proxy = proxy(oss.address).credentials(&lines(&service, "")).start();
    assert_eq!(put(&proxy), 200);
    assert_eq!(asked(&service), ["PUT /latest/api/token", ROLES, &format!("{ROLES}app-role")]);
    let first = service.heads().remove(0).to_ascii_lowercase();
    assert!(first.contains("x-aliyun-ecs-metadata-token-ttl-seconds: 21600\r\n"), "{first}");
}

#[test]
fn a_role_that_is_named_is_not_looked_for() {
    let oss = oss();
    let service = service(hardened);
    let proxy = proxy(oss.address).credentials(&lines(&service, "role_name = \"app-role\"")).start();
    assert_eq!(put(&proxy), 200);
    assert_eq!(asked(&service).len(), 2);
}

#[test]
fn version_1_is_spoken_only_where_there_are_no_tokens_and_it_may_be() {
    for status in [403, 404, 405, 500] {
        for allowed in [true, false] {
            let oss = oss();
            let service = service(move |head, _| match head {
                head if head.starts_with("PUT") => (status, String::new()),
                head => hardened(head, true),
            });
            let proxy =
                proxy(oss.address).credentials(&lines(&service, &format!("imds_v1 = {allowed}"))).start();
            let expected = if allowed && status != 500 { 200 } else { 503 };
            assert_eq!(put(&proxy), expected, "{status} {allowed}");
            let looked = asked(&service).iter().any(|line| line.starts_with("GET"));
            assert_eq!(looked, expected == 200, "{status} {allowed}: {:?}", asked(&service));
        }
    }
}

#[test]
fn a_token_that_is_refused_is_fetched_anew_once() {
    let oss = oss();
    let refusals = Arc::new(AtomicUsize::new(1));
    let left = Arc::clone(&refusals);
    let service = service(move |head, with_token| {
        let refuse = head.starts_with("GET")
            && left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok();
        if refuse { (401, String::new()) } else { hardened(head, with_token) }
    });
    let proxy = proxy(oss.address).credentials(&lines(&service, "")).start();
    assert_eq!(put(&proxy), 200);
    assert_eq!(asked(&service).iter().filter(|line| line.starts_with("PUT")).count(), 2);
}

#[test]
fn a_service_that_fails_is_asked_again() {
    let oss = oss();
    let failures = Arc::new(AtomicUsize::new(2));
    let left = Arc::clone(&failures);
    let service = service(move |head, with_token| {
        let fail =
            left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok();
        if fail { (503, String::new()) } else { hardened(head, with_token) }
    });
    let proxy = proxy(oss.address).credentials(&lines(&service, "")).start();
    eventually("it signs", || put(&proxy) == 200);
}

#[test]
fn what_is_wrong_with_an_instance_is_told() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    let path = file.path().to_str().expect("a path");
    let bare = |head: &str, with_token| match head {
        head if head.starts_with(&format!("{ROLES} ")) => (404, "<html>404</html>".to_owned()),
        head => hardened(head, with_token),
    };
    let failed = |head: &str, with_token| match head {
        head if head.starts_with(&format!("{ROLES}app-role ")) => {
            (200, triple().replace("Success", "Failed"))
        }
        head => hardened(head, with_token),
    };
    let garbage = |head: &str, with_token| match head {
        head if head.starts_with(&format!("{ROLES}app-role ")) => (200, format!("no json {SECRET}")),
        head => hardened(head, with_token),
    };
    for (service, more, words) in [
        (service(hardened), "role_name = \"wrong\"", "has no role \"wrong\""),
        (service(bare), "", "has no RAM role"),
        (service(failed), "", "Code is not Success"),
        (service(garbage), "", "not JSON credentials"),
    ] {
        let text =
            format!("[upstream]\nregion = \"cn-hangzhou\"\n[credentials.default]\n{}", lines(&service, more));
        std::fs::write(path, text).expect("written");
        let (code, _, errors) = run(&["check", "--config", path], &[ON]);
        assert!(code == Some(77) && errors.contains(words), "{words}: {code:?} {errors}");
        assert!(!errors.contains(SECRET) && !errors.contains("<html>"), "{errors}");
    }
    let (code, _, errors) = {
        let text = "[upstream]\nregion = \"cn-hangzhou\"\n[credentials.default]\ntype = \"ecs\"\nendpoint = \"http://10.0.0.1\"";
        std::fs::write(path, text).expect("written");
        run(&["check", "--config", path], &[ON])
    };
    assert!(code == Some(78) && errors.contains("unencrypted"), "{errors}");
}

#[test]
fn a_proxy_of_the_environment_is_never_asked_for_keys() {
    let (oss, elsewhere) = (oss(), Script::answering("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"));
    let service = service(hardened);
    let through = format!("http://{}", elsewhere.address);
    let names = ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"];
    let environment: Vec<_> = names.iter().map(|name| (*name, through.as_str())).chain([ON]).collect();
    let sections = format!("[credentials.default]\n{}", lines(&service, ""));
    let served = Served::start_with(oss.address, &sections, &[], &environment);
    assert_eq!(ask(served.address, "PUT", "/photos/k", b"v").status, 200);
    assert_eq!((service.heads().len(), elsewhere.heads().len()), (3, 0));
}
