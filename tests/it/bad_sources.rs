//! Misconfigured and failing credential providers. Each error names the provider, the endpoint, the
//! code, the request id and the fix. No error repeats a sent or received value.

use std::fs;
use std::net::TcpListener;

use oss_signing_proxy::emulator::issuer::CredentialIssuer;
use oss_signing_proxy::internals::time::http_date;

use crate::support::{ID, SECRET, Script, oss, run};

const PLANTED: &str = "planted-in-the-body";

/// Runs `check --credentials` with `mine` as the credentials. Returns everything that it prints.
fn check(lines: &str) -> (Option<i32>, String) {
    let file = tempfile::NamedTempFile::new().expect("a file");
    let text = format!(
        "[upstream]\nregion = \"cn-hangzhou\"\ncredentials = \"mine\"\n[credentials.mine]\n{lines}\n[credentials.base]\n\
         type = \"static\"\naccess_key_id = \"{ID}\"\naccess_key_secret = \"{SECRET}\""
    );
    fs::write(&file, text).expect("written");
    let path = file.path().to_str().expect("a path");
    let environment =
        [("HOME", "/nowhere"), ("ALIBABA_CLOUD_ECS_METADATA_DISABLED", "false"), ("PATH", "/usr/bin:/bin")];
    let (code, out, errors) = run(&["check", "--credentials", "--config", path], &environment);
    (code, format!("{out}{errors}"))
}

fn told(lines: &str, words: &[&str]) {
    let (code, text) = check(lines);
    assert_eq!(code, Some(77), "{lines}: {text}");
    for word in [&["\"mine\""], words].concat() {
        assert!(text.contains(word), "{word}: {text}");
    }
    for secret in [SECRET, PLANTED] {
        assert!(!text.contains(secret), "{secret}: {text}");
    }
}

fn role(endpoint: &str, arn: &str) -> String {
    format!("type = \"assume_role\"\nsource = \"base\"\nrole_arn = \"{arn}\"\nsts_endpoint = \"{endpoint}\"")
}

fn pod(endpoint: &str, file: &std::path::Path) -> String {
    format!(
        "type = \"oidc\"\nrole_arn = \"acs:ram::1:role/r\"\noidc_provider_arn = \"acs:ram::1:oidc-provider/p\"\n\
         token_file = {file:?}\nsts_endpoint = \"{endpoint}\""
    )
}

/// Returns a URL at which nothing listens.
fn nowhere() -> String {
    let free = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
    format!("http://{free}")
}

#[test]
fn a_file_that_is_missing_is_named_with_what_to_do() {
    for kind in ["file", "profile", "ini", "ossutil"] {
        told(&format!("type = \"{kind}\"\npath = \"/nowhere/key\""), &["/nowhere/key", "No such file"]);
    }
    told(&pod(&nowhere(), "/nowhere/token".as_ref()), &["/nowhere/token", "check that it is mounted"]);
    told("type = \"process\"\ncommand = [\"/nowhere/tool\"]", &["/nowhere/tool", "set its path"]);
    let lines =
        format!("type = \"uri\"\nurl = \"{}/\"\nauthorization_file = \"/nowhere/authorization\"", nowhere());
    told(&lines, &["/nowhere/authorization", "cannot be read"]);
}

#[test]
fn json_that_is_wrong_is_told_by_its_place_and_never_repeated() {
    let directory = tempfile::tempdir().expect("a directory");
    let broken = directory.path().join("broken.json");
    fs::write(&broken, format!("{{\"AccessKeyId\": \"{PLANTED}")).expect("written");
    for (kind, words) in [("file", "JSON"), ("profile", "line 1, column 36); correct it")] {
        told(&format!("type = \"{kind}\"\npath = {broken:?}"), &["broken.json", words]);
    }
    let printed = format!("type = \"process\"\ncommand = [\"/bin/cat\", {broken:?}]");
    told(&printed, &["/bin/cat", "not JSON credentials"]);
    let answer =
        format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{PLANTED}", PLANTED.len());
    let service = Script::answering(answer.leak());
    let at = format!("http://{}", service.address);
    told(&format!("type = \"uri\"\nurl = \"{at}/keys?{PLANTED}\""), &[&at, "200", "not JSON credentials"]);
    told(&format!("type = \"ecs\"\nrole_name = \"r\"\nendpoint = \"{at}\""), &[&at, "not JSON credentials"]);
    told(&role(&at, "acs:ram::1:role/r"), &[&at, "200", "check whether another server responds"]);
}

#[test]
fn a_role_that_may_not_be_assumed_is_told_with_code_and_request_id() {
    let oss = oss();
    let sts = CredentialIssuer::spawn(([127, 0, 0, 1], 0).into(), oss.service.clone()).expect("an STS");
    let at = format!("http://{}", sts.address);
    told(
        &role(&at, "acs:ram::1:role/unknown"),
        &[&at, "403 NoPermission", "request id STS-REQUEST-1", "trust policy"],
    );
    sts.instance("app", Some(true));
    told(
        &format!("type = \"ecs\"\nrole_name = \"other\"\nendpoint = \"{at}\""),
        &[&at, "has no role \"other\"", "correct role_name"],
    );
}

#[test]
fn an_oidc_token_that_has_ended_is_told_with_code_and_request_id() {
    let oss = oss();
    let sts = CredentialIssuer::spawn(([127, 0, 0, 1], 0).into(), oss.service.clone()).expect("an STS");
    sts.role("acs:ram::1:role/r", None);
    let file = tempfile::NamedTempFile::new().expect("a file");
    fs::write(&file, PLANTED).expect("written");
    let at = format!("http://{}", sts.address);
    told(
        &pod(&at, file.path()),
        &[
            &at,
            "400 AuthenticationFail.OIDCToken.Expired",
            "request id STS-REQUEST-1",
            "check that it is renewed",
        ],
    );
    assert_eq!(sts.calls().len(), 2, "read once more, as it may have been renewed");
}

#[test]
fn an_endpoint_that_cannot_be_reached_is_named_with_what_to_do() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    fs::write(&file, PLANTED).expect("written");
    let at = nowhere();
    told(&role(&at, "acs:ram::1:role/r"), &[&at, "cannot connect", "set sts_endpoint or sts_region"]);
    told(&pod(&at, file.path()), &[&at, "cannot connect", "set sts_endpoint or sts_region"]);
    told(
        &format!("type = \"ecs\"\nendpoint = \"{at}\""),
        &[&at, "cannot connect", "may not be an ECS instance"],
    );
    told(&format!("type = \"uri\"\nurl = \"{at}/{PLANTED}\""), &[&at, "cannot connect"]);
}

#[test]
fn a_clock_that_is_off_by_an_hour_is_corrected_or_told() {
    let oss = oss();
    let sts = CredentialIssuer::spawn(([127, 0, 0, 1], 0).into(), oss.service.clone()).expect("an STS");
    sts.role("acs:ram::1:role/r", None);
    sts.ahead(3_600);
    let (code, text) = check(&role(&format!("http://{}", sts.address), "acs:ram::1:role/r"));
    assert_eq!(code, Some(0), "{text}");

    // A service that rejects the clock at any time, with a Date of its clock and without.
    let now = oss_signing_proxy::time::Clock::now(&oss_signing_proxy::app::SystemEnv);
    let date = http_date(now + std::time::Duration::from_secs(3_600));
    let body =
        format!("{{\"RequestId\":\"R-1\",\"Code\":\"InvalidTimeStamp.Expired\",\"Message\":\"{PLANTED}\"}}");
    for (headers, words) in [
        (format!("Date: {date}\r\n"), "ahead of this host's"),
        (String::new(), "synchronise this host's clock"),
    ] {
        let length = body.len();
        let answer =
            format!("HTTP/1.1 400 X\r\n{headers}Content-Length: {length}\r\nConnection: close\r\n\r\n{body}");
        let sts = Script::answering(answer.leak());
        let at = format!("http://{}", sts.address);
        told(
            &role(&at, "acs:ram::1:role/r"),
            &[&at, "400 InvalidTimeStamp.Expired", "request id R-1", "synchronise this host's clock", words],
        );
    }
    // Credentials that have expired on arrival also point at the clock.
    let file = tempfile::NamedTempFile::new().expect("a file");
    let key = format!(
        "{{\"AccessKeyId\":\"STS.a\",\"AccessKeySecret\":\"{PLANTED}\",\"SecurityToken\":\"t\",\"Expiration\":\"2020-01-01T00:00:00Z\"}}"
    );
    fs::write(&file, key).expect("written");
    told(&format!("type = \"file\"\npath = {:?}", file.path()), &["expired"]);
}

#[test]
fn values_that_no_key_can_hold_are_rejected_from_every_file_of_a_tool_and_never_repeated() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("keys");
    let json = |id: &str, secret: &str| {
        let profile =
            serde_json::json!({"name": "a", "mode": "AK", "access_key_id": id, "access_key_secret": secret});
        serde_json::json!({"current": "a", "profiles": [profile]}).to_string()
    };
    let ini = |head: &str, id: &str, secret: &str| {
        format!("{head}\naccess_key_id = {id}\naccess_key_secret = {secret}\n")
    };
    for (id, secret, words) in [
        (format!("\"{ID}\""), PLANTED.to_owned(), "the access key id contains a quotation mark"),
        (ID.to_owned(), format!("\"{PLANTED}\""), "the access key secret contains a quotation mark"),
        (ID.to_owned(), format!("'{PLANTED}'"), "the access key secret contains a quotation mark"),
        (ID.to_owned(), format!("`{PLANTED}`"), "the access key secret contains a quotation mark"),
        (ID.to_owned(), format!("{PLANTED} x"), "white space, a line break or another invalid character"),
        (ID.to_owned(), format!("{PLANTED}\u{7}x"), "another invalid character"),
        (ID.to_owned(), format!("{PLANTED}\u{e9}"), "another invalid character"),
    ] {
        for (kind, text) in [
            ("profile", json(&id, &secret)),
            ("ini", ini("[default]\ntype = access_key", &id, &secret)),
            ("ossutil", ini("[default]", &id, &secret)),
            ("ossutil", ini("[Credentials]", &id, &secret)),
        ] {
            fs::write(&file, text).expect("written");
            told(&format!("type = \"{kind}\"\npath = {file:?}"), &[words]);
        }
    }
}
