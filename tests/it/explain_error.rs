//! `explain --server-error`: real error responses of the emulated OSS, and the first difference
//! between its text and the proxy's.

use std::fs;
use std::io::Write as _;
use std::net::TcpListener;
use std::process::Stdio;

use oss_signing_proxy::app::SystemEnv;
use oss_signing_proxy::emulator::InjectedFault;
use oss_signing_proxy::internals::time::http_date;
use oss_signing_proxy::time::Clock as _;

use crate::explain::{STS, all_in, ask, refused, through};
use crate::support::{Client, ID, KEY, STS_ID, oss, program, proxy};

/// Compares an error document with a request.
fn compare(
    document: &[u8],
    arguments: &[&str],
    environment: &[(&str, &str)],
) -> (Option<i32>, String, String) {
    let file = tempfile::NamedTempFile::new().expect("a file");
    fs::write(&file, document).expect("written");
    let path = file.path().to_str().expect("a path");
    ask(&[&["--server-error", path][..], arguments].concat(), environment)
}

#[test]
fn a_wrong_secret_is_named_when_nothing_differs() {
    for version in ["v4", "v1"] {
        let oss = oss();
        let wrong = format!("type = \"static\"\naccess_key_id = \"{ID}\"\naccess_key_secret = \"mistyped\"");
        let proxy =
            proxy(oss.address).upstream(&format!("signature = \"{version}\"")).credentials(&wrong).start();
        let answer = through(&proxy, "GET", "/photos/a%20b?acl", "x-oss-meta-a: b\r\n");
        let arguments = ["GET", "/photos/a%20b?acl", "-H", "x-oss-meta-a: b", "--signature", version];
        let (code, out, errors) = compare(&answer.body, &arguments, &KEY);
        assert_eq!(code, Some(0), "{errors}");
        all_in(&out, &["Nothing differs", "the secret is wrong for this access key id"]);
        let other = [("OSS_ACCESS_KEY_ID", "LTAIanotherkey"), KEY[1]];
        let (_, out, _) = compare(&answer.body, &arguments, &other);
        all_in(&out, &["access key id LTAI…eyid, but LTAI…rkey signs here"]);
    }
}

#[test]
fn the_first_byte_that_differs_is_named_with_its_usual_cause() {
    let sent = "x-oss-meta-a: b\r\ncontent-type: text/plain\r\n";
    let target = "/photos/a%2520b?list-type=2&prefix=x";
    let with = ["-H", "x-oss-meta-a: b", "-H", "content-type: text/plain"];
    let rows: [(&[&str], &str, &str); 9] = [
        (&["GET", target, with[0], with[1], with[2], with[3]], "Nothing differs", "Nothing differs"),
        (&["HEAD", target, with[0], with[1], with[2], with[3]], "the method differs", "the method differs"),
        (&["GET", target, with[0], with[1]], "content-type: ", "content-type: "),
        (
            &["GET", target, with[2], with[3]],
            "header x-oss-meta-a is not in",
            "header x-oss-meta-a is not in",
        ),
        (
            &["GET", target, "-H", "x-oss-meta-a: c", with[2], with[3]],
            "header x-oss-meta-a differs",
            "header x-oss-meta-a differs",
        ),
        (
            &["GET", target, with[0], with[1], with[2], with[3], "-H", "x-oss-meta-b: c"],
            "header x-oss-meta-b did not arrive",
            "header x-oss-meta-b did not arrive",
        ),
        (
            &["GET", "/photos/a%20b?list-type=2&prefix=x", with[0], with[1], with[2], with[3]],
            "path encoding",
            "path encoding",
        ),
        (
            &["GET", "/files/a%2520b?list-type=2&prefix=x", with[0], with[1], with[2], with[3]],
            "bucket differs",
            "bucket differs",
        ),
        (
            &["GET", "/photos/a%2520b?list-type=2&prefix=y&acl", with[0], with[1], with[2], with[3]],
            "the parameter prefix",
            "the parameter acl",
        ),
    ];
    for version in ["v4", "v1"] {
        let (_oss, proxy) = refused(version, false);
        let answer = through(&proxy, "GET", target, sent);
        for (arguments, v4, v1) in rows {
            let (code, out, errors) = compare(&answer.body, arguments, &KEY);
            let words = if version == "v4" { v4 } else { v1 };
            assert!(code == Some(0) && out.contains(words), "{version} {arguments:?}: {out}{errors}");
        }
        let (_, out, _) =
            compare(&answer.body, &["GET", target, with[0], "x-oss-meta-a: B", with[2], with[3]], &KEY);
        all_in(&out, &["    server  x-oss-meta-a:⟨b⟩\n    ours    x-oss-meta-a:⟨B⟩\n"]);
        let elsewhere = ["GET", target, with[0], with[1], with[2], with[3], "--region", "cn-shanghai"];
        let (_, out, errors) = compare(&answer.body, &elsewhere, &KEY);
        assert_eq!(out.contains("usual cause: the region"), version == "v4", "{out}{errors}");
    }
}

#[test]
fn a_token_that_is_missing_or_another_is_named_and_never_shown() {
    for version in ["v4", "v1"] {
        let (_oss, proxy) = refused(version, true);
        let redacted = through(&proxy, "GET", "/photos/k", "");
        let arguments = ["GET", "/photos/k"];
        let (_, out, errors) = compare(&redacted.body, &arguments, &STS);
        assert!(out.contains("Nothing differs") && out.contains("another refresh"), "{out}{errors}");
        let (_, out, _) = compare(&redacted.body, &arguments, &KEY);
        all_in(&out, &["a security token arrived, but the credentials here have none"]);
        // As OSS would send it without a proxy on the way.
        let shown = redacted.text().replace("[removed]", "another-token");
        let (_, out, errors) = compare(shown.as_bytes(), &arguments, &STS);
        assert!(out.contains("the security token differs"), "{out}{errors}");

        let (_oss, plain) = refused(version, false);
        let bare = through(&plain, "GET", "/photos/k", "");
        let (_, out, _) = compare(&bare.body, &arguments, &STS);
        all_in(&out, &["the security token did not arrive"]);
    }
}

#[test]
fn what_is_no_refusal_of_a_signature_cannot_be_compared() {
    let oss = oss();
    oss.faults.always(InjectedFault::Status { status: 503, code: "SlowDown".to_owned() });
    let missing = Client::connect(oss.address).ask("GET", "/photos/k", "localhost", "", b"");
    let rows: [(&[u8], &str); 4] = [
        (&missing.body, "SlowDown and has no StringToSign"),
        (b"<html>502</html>", "is <html>, not the <Error>"),
        (b"\x00\xff", "not valid XML"),
        (b"", "empty"),
    ];
    for (document, words) in rows {
        let (code, out, errors) = compare(document, &["GET", "/photos/k"], &KEY);
        assert!(
            code == Some(1) && errors.contains(words) && out.is_empty(),
            "{words}: {code:?} {out}{errors}"
        );
    }
    let (code, _, errors) = ask(&["--server-error", "/nowhere/e.xml", "GET", "/photos/k"], &KEY);
    assert!(code == Some(1) && errors.contains("/nowhere/e.xml"), "{errors}");
    assert_eq!(ask(&["--server-error", "-"], &KEY).0, Some(2), "a request is needed");
}

#[test]
fn what_oss_refuses_before_it_looks_at_the_signature_is_told_by_itself() {
    let oss = oss();
    let ask = |method: &str, host: &str, id: &str, date: &str| {
        let headers = format!("Authorization: OSS {id}:c2lnbmVk\r\nDate: {date}\r\n");
        Client::connect(oss.address).ask(method, "/photos/k", host, &headers, b"")
    };
    let now = http_date(SystemEnv.now());
    let told = |document: &[u8], words: &str| {
        let (code, out, errors) = compare(document, &["GET", "/photos/k"], &KEY);
        assert!(code == Some(0) && out.contains(words), "{words}: {code:?} {out}{errors}");
    };
    let late = ask("GET", "localhost", ID, "Mon, 23 Nov 2020 10:00:00 GMT");
    told(&late.body, "usual cause: clock skew: the signer's clock was");
    told(&late.body, "days behind that of OSS");
    told(&ask("GET", "localhost", STS_ID, &now).body, "the security token is missing");
    told(&ask("GET", "localhost", "LTAInobody", &now).body, "OSS does not know it");
    let elsewhere = ask("GET", "photos.oss-cn-beijing.aliyuncs.com", ID, &now);
    told(&elsewhere.body, "belongs to oss-cn-hangzhou.aliyuncs.com; set `region` to \"cn-hangzhou\"");
    let head = ask("HEAD", "localhost", "LTAInobody", &now);
    told(head.header("x-oss-err").expect("the error").as_bytes(), "OSS does not know it");
    let proxy = proxy(oss.address).start();
    let refused = Client::connect(proxy.address).ask("GET", "/photos/k", "nobody.test", "", b"");
    told(&refused.body, "a proxy like this one, not from OSS: unknown host \"nobody.test\"");
    told(&refused.body, "explain the request without --server-error");
    let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port");
    let cut_off = self::proxy(free).start();
    let unreachable = crate::support::ask(cut_off.address, "GET", "/photos/k", b"");
    told(&unreachable.body, "a proxy like this one, not from OSS: ");
    told(&unreachable.body, "cannot connect to");
    told(&unreachable.body, "run doctor");
    let bare = Client::connect(oss.address).ask("GET", "/photos/k", "localhost", "", b"");
    told(&bare.body, "the request was unsigned");
}

#[test]
fn the_error_may_come_through_standard_input() {
    let (_oss, proxy) = refused("v4", false);
    let answer = through(&proxy, "GET", "/photos/k", "");
    let mut child =
        program(&["explain", "--server-error", "-", "GET", "/photos/k", "--region", "cn-hangzhou"])
            .envs(KEY)
            .stdin(Stdio::piped())
            .spawn()
            .expect("it starts");
    child.stdin.take().expect("input").write_all(&answer.body).expect("written");
    let output = child.wait_with_output().expect("an end");
    assert!(String::from_utf8_lossy(&output.stdout).contains("Nothing differs"), "{output:?}");
}
