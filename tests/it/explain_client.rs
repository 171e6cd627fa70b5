//! `explain --server-error` with the errors of the proxy for its callers.

use oss_signing_proxy::internals::sign::SignatureVersion;

use crate::callers::{Asked, CALLERS};
use crate::explain::{all_in, ask};
use crate::support::{Answer, Client, KEY, Proxy, Script, proxy};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

fn start() -> Proxy {
    proxy(Script::answering(OK).address).listen("identify = [\"key\"]").sections(CALLERS).start()
}

/// Explains an error document of the proxy for this request.
fn explain(document: &[u8], request: &[&str]) -> (Option<i32>, String) {
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(&file, document).expect("written");
    let path = file.path().to_str().expect("a path");
    let (code, out, errors) = ask(&[&["--server-error", path][..], request].concat(), &KEY);
    (code, format!("{out}{errors}"))
}

#[test]
fn a_secret_of_a_client_that_differs_is_named_when_nothing_else_does() {
    let proxy = start();
    for version in [SignatureVersion::V4, SignatureVersion::V1] {
        let headers = &[("x-oss-meta-a", "b"), ("content-type", "text/plain")];
        let query = "list-type=2&x-oss-process=a%2Fb";
        let asked = Asked { version, secret: "wrong", headers, query, ..Asked::new("GET", "a%20b") };
        let answer = asked.send(&proxy, b"");
        let target = format!("/photos/a%20b?{query}");
        let request = ["GET", &target, "-H", "x-oss-meta-a: b", "-H", "content-type: text/plain"];
        let (code, out) = explain(&answer.body, &request);
        assert_eq!(code, Some(0), "{version:?}: {out}");
        all_in(&out, &["by team-a-1, made at 20", "Nothing differs", "another secret for team-a-1"]);
    }
}

#[test]
fn what_changed_between_client_and_proxy_is_named() {
    let proxy = start();
    for version in [SignatureVersion::V4, SignatureVersion::V1] {
        let headers = &[("x-oss-meta-a", "b"), ("content-type", "text/plain")];
        let asked = Asked { version, secret: "wrong", headers, query: "acl", ..Asked::new("GET", "k") };
        let answer = asked.send(&proxy, b"");
        let with = ["-H", "x-oss-meta-a: b", "-H", "content-type: text/plain"];
        let rows: [(&[&str], &str); 6] = [
            (&["PUT", "/photos/k?acl", with[0], with[1], with[2], with[3]], "the method differs"),
            (&["GET", "/files/k?acl", with[0], with[1], with[2], with[3]], "the bucket differs"),
            (&["GET", "/photos/k2?acl", with[0], with[1], with[2], with[3]], "the path differs"),
            (&["GET", "/photos/k", with[0], with[1], with[2], with[3]], "the parameter acl"),
            (&["GET", "/photos/k?acl", with[2], with[3]], "the header x-oss-meta-a is not in this request"),
            (&["GET", "/photos/k?acl", with[0], with[1]], "content-type: "),
        ];
        for (request, words) in rows {
            let (code, out) = explain(&answer.body, request);
            assert!(code == Some(0) && out.contains(words), "{version:?} {request:?}: {out}");
        }
    }
}

#[test]
fn a_presigned_url_is_compared_with_its_parameters() {
    let proxy = start();
    let url = "x-oss-signature-version=OSS4-HMAC-SHA256\
               &x-oss-credential=team-a-1%2F20991231%2Fcn-shanghai%2Foss%2Faliyun_v4_request\
               &x-oss-date=20991231T000000Z&x-oss-expires=600&x-oss-signature=";
    let now = oss_signing_proxy::internals::time::iso_basic(
        <oss_signing_proxy::app::SystemEnv as oss_signing_proxy::time::Clock>::now(
            &oss_signing_proxy::app::SystemEnv,
        ),
    );
    let url = url.replace("20991231T000000Z", &now).replace("20991231", &now[..8]);
    let target = format!("/photos/k?{url}{}", "0".repeat(64));
    let host = proxy.address.to_string();
    let answer = Client::connect(proxy.address).ask("GET", &target, &host, "", b"");
    assert_eq!(answer.refused(), Some("bad-signature"), "{}", answer.text());
    let (code, out) = explain(&answer.body, &["GET", &target]);
    assert_eq!(code, Some(0), "{out}");
    all_in(&out, &["Nothing differs", "another secret for team-a-1"]);
    let (_, out) = explain(&answer.body, &["GET", &target.replace("x-oss-expires=600", "x-oss-expires=60")]);
    all_in(&out, &["the parameter x-oss-expires"]);
}

#[test]
fn each_rejection_of_a_client_is_explained() {
    let proxy = start();
    let get = || Asked::new("GET", "k");
    let unsigned = |headers: &str| {
        Client::connect(proxy.address).ask("GET", "/photos/k", &proxy.address.to_string(), headers, b"")
    };
    let rows: [(Answer, &str); 7] = [
        (unsigned(""), "the request is not signed"),
        (unsigned("Authorization: OSS a:b\r\n"), "The proxy accepts signatures V4 and V1"),
        (Asked { id: "nobody", ..get() }.send(&proxy, b""), "the access key id nobody is of no caller"),
        (Asked { id: "LTAI5tReal", ..get() }.send(&proxy, b""), "is one of Alibaba Cloud"),
        (Asked { ahead_s: -7_300, ..get() }.send(&proxy, b""), "2 h behind that of the proxy"),
        (
            Asked { version: SignatureVersion::V1, query: "foo=1", ..get() }.send(&proxy, b""),
            "does not cover the parameter foo; sign with V4 instead; an intermediary",
        ),
        (
            Client::connect(proxy.address).ask(
                "GET",
                "/photos/k?OSSAccessKeyId=team-a-1&Expires=1000000000&Signature=AAAAAAAAAAAAAAAAAAAAAAAAAAA%3D",
                &proxy.address.to_string(),
                "",
                b"",
            ),
            "Request has expired. It ended at 2001-09-09T01:46:40.000Z",
        ),
    ];
    for (answer, words) in rows {
        let (code, out) = explain(&answer.body, &["GET", "/photos/k"]);
        assert!(code == Some(0) && out.contains(words), "{words}: {code:?} {out}");
        all_in(&out, &["a proxy like this one rejected the request"]);
    }
}
