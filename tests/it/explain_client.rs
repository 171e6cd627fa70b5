//! `explain --server-error` with the errors of the proxy for its callers, and `explain` for requests for
//! keys.

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

/// A listener for keys, with a caller that has this setting.
fn keys_for(setting: &str) -> String {
    format!(
        "[[listen]]\naddress = \"127.0.0.1:8770\"\nidentify = [\"key\"]\n\
         [[listen]]\naddress = \"0.0.0.0:8772\"\nserve = \"credentials\"\nidentify = [\"token\"]\n\
         domains = [\"keys.example.test\"]\nunsafe_plain = true\n\
         [hand_out]\nmaster = [\"env:MASTER\"]\n\
         [[caller]]\nname = \"team-a\"\nallow = \"read\"\ntoken = \"env:A_TOKEN\"\n{setting}\n"
    )
}

/// Explains a request for keys, with a configuration of these sections.
fn explain_keys(sections: &str, request: &[&str]) -> (Option<i32>, String) {
    let config = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(&config, sections).expect("written");
    let path = config.path().to_str().expect("a path");
    let secrets = [
        ("MASTER", "PlantedMasterOf40LettersAndDigits0123456"),
        ("A_TOKEN", "TeamAPlantedTokenOf30Letters00"),
    ];
    let (code, out, errors) =
        ask(&[&["--config", path, "GET"], request].concat(), &[&KEY[..], &secrets].concat());
    let all = format!("{out}{errors}");
    for (_, planted) in secrets {
        assert!(!all.contains(planted), "{all}");
    }
    (code, all)
}

#[test]
fn a_request_for_keys_is_explained_with_its_caller_and_what_it_gets() {
    let bearer = "Authorization: Bearer TeamAPlantedTokenOf30Letters00";
    let keys = keys_for("");
    for host in ["127.0.0.1", "localhost", "keys.example.test"] {
        let url = format!("http://{host}:8772/credentials");
        let (code, out) = explain_keys(&keys, &[&url, "-H", bearer]);
        assert_eq!(code, Some(0), "{out}");
        all_in(
            &out,
            &[
                "0.0.0.0:8772 (plain HTTP, for keys)",
                "caller      team-a",
                "would be handed out, valid until 2",
            ],
        );
    }
    let roles = "http://127.0.0.1:8772/latest/meta-data/ram/security-credentials/";
    let (code, out) = explain_keys(&keys, &[roles, "-H", bearer]);
    assert_eq!(code, Some(0), "{out}");
    all_in(&out, &["role        team-a"]);
    let url = "http://127.0.0.1:8772/credentials";
    let late = keys_for("credentials_not_before = \"2999-01-01T00:00:00Z\"");
    let rows: [(&str, &[&str], &[&str]); 5] = [
        (&keys, &[url], &["refused     401 no-identity"]),
        (&keys, &[url, "-H", "Authorization: Bearer wrong"], &["refused     401 no-identity"]),
        (&keys, &["http://127.0.0.1:8772/other", "-H", bearer], &["refused     404 unknown-path"]),
        (&keys, &["http://127.0.0.1:8772/credentials", "-H", "Host: evil.example"], &["refused     421"]),
        (&late, &[url, "-H", bearer], &["caller      team-a", "only after 2999-01-01T00:00:00Z"]),
    ];
    for (sections, request, words) in rows {
        let (code, out) = explain_keys(sections, request);
        assert_eq!(code, Some(1), "{request:?}: {out}");
        all_in(&out, words);
        assert!(!out.contains("would be handed out"), "{out}");
    }
    // A path alone is for the listener of objects.
    assert!(explain_keys(&keys, &["/credentials/k"]).1.contains("127.0.0.1:8770 (plain HTTP)"));
}

#[test]
fn keys_that_cannot_be_passed_on_are_explained_with_their_source() {
    let pass_on = "[[listen]]\naddress = \"127.0.0.1:8772\"\nserve = \"credentials\"\n\
                   [hand_out]\ncredentials = \"default\"\n[credentials.default]\ntype = \"env\"\n";
    let (code, out) = explain_keys(pass_on, &["http://127.0.0.1:8772/credentials"]);
    assert_eq!(code, Some(1), "{out}");
    all_in(&out, &["source \"default\"", "refused     503 credentials-unavailable", "not handed-out keys"]);
}
