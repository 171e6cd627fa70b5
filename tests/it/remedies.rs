//! Messages for unavailable credentials: the provider, the endpoint, the code, the request id, and
//! a remedy; never a body, and never a secret.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};

use http::StatusCode;
use oss_signing_proxy::app::SystemEnv;
use oss_signing_proxy::emulator::issuer::CredentialIssuer;
use oss_signing_proxy::time::{Clock as _, Timestamp};

use crate::support::{Client, ID, KEY, SECRET, Script, Served, ask, eventually, oss, run};

const ROLE: &str = "acs:ram::1234567890123456:role/logs";

/// Runs `check` with these lines in `[credentials.default]`, next to a key pair that may assume
/// roles.
fn told(directory: &Path, lines: &str) -> (Option<i32>, String) {
    let path = directory.join("proxy.toml");
    let text = format!(
        "[upstream]\nregion = \"cn-hangzhou\"\n[credentials.default]\n{lines}\n[credentials.base]\ntype = \"static\"\n\
         access_key_id = \"{ID}\"\naccess_key_secret = \"{SECRET}\"\n"
    );
    fs::write(&path, text).expect("written");
    let on = ("ALIBABA_CLOUD_ECS_METADATA_DISABLED", "false");
    let (code, out, errors) = run(&["check", "--config", path.to_str().expect("a path")], &[on]);
    for planted in [SECRET, "planted"] {
        assert!(!out.contains(planted) && !errors.contains(planted), "{errors}");
    }
    (code, errors)
}

fn expect(directory: &Path, lines: &str, words: &[&str]) {
    let (code, errors) = told(directory, lines);
    assert_eq!(code, Some(77), "{lines}: {errors}");
    for words in [&["credentials \"default\": "], words].concat() {
        assert!(errors.contains(words), "{words}: {errors}");
    }
}

fn role(at: impl std::fmt::Display) -> String {
    format!(
        "type = \"assume_role\"\nsource = \"base\"\nrole_arn = \"{ROLE}\"\nsts_endpoint = \"http://{at}\""
    )
}

#[test]
fn a_file_that_is_missing_or_wrong_is_named_with_what_it_wants() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("key");
    let path = file.to_str().expect("a path");
    for kind in ["file", "profile", "ini", "ossutil"] {
        let lines = format!("type = \"{kind}\"\npath = {file:?}");
        expect(directory.path(), &lines, &[path, "No such file", "check that it exists"]);
    }
    fs::write(&file, "{\"AccessKeyId\": \"planted\", ").expect("written");
    for (kind, words) in [
        ("file", "is not valid JSON (line 1, column 27); expected an object with AccessKeyId"),
        ("profile", "line 1"),
        ("ini", "line 1 is invalid; expected a [section], key = value"),
        ("ossutil", "line 1 is invalid; expected a [section], option = value"),
    ] {
        expect(directory.path(), &format!("type = \"{kind}\"\npath = {file:?}"), &[path, words]);
    }
    let token = format!(
        "type = \"oidc\"\nrole_arn = \"{ROLE}\"\noidc_provider_arn = \"acs:ram::1:oidc-provider/p\"\ntoken_file = {:?}",
        directory.path().join("token")
    );
    expect(
        directory.path(),
        &token,
        &["cannot read the OIDC token in ", "/token: No such file", "check that it is mounted"],
    );
}

#[test]
fn what_sts_refuses_is_told_with_code_request_id_and_remedy() {
    let directory = tempfile::tempdir().expect("a directory");
    let oss = oss();
    let sts = CredentialIssuer::spawn(([127, 0, 0, 1], 0).into(), oss.service.clone()).expect("an STS");
    let at = format!("STS at http://{} returned ", sts.address);
    let id = "request id STS-REQUEST-1";
    let role = role(sts.address);
    expect(directory.path(), &role, &[&at, "403 NoPermission", id, "trust policy"]);
    let other = role.replace("source = \"base\"", "source = \"wrong\"");
    let wrong = format!(
        "{other}\n[credentials.wrong]\ntype = \"static\"\naccess_key_id = \"{ID}\"\naccess_key_secret = \"planted-wrong\""
    );
    expect(directory.path(), &wrong, &[&at, "SignatureDoesNotMatch", id, "replace both"]);

    let file = directory.path().join("token");
    fs::write(&file, "planted-token-that-has-ended").expect("written");
    let pod = format!(
        "type = \"oidc\"\nrole_arn = \"{ROLE}\"\noidc_provider_arn = \"acs:ram::1:oidc-provider/p\"\ntoken_file = {file:?}\n\
         sts_endpoint = \"http://{}\"",
        sts.address
    );
    let ended = "the token in token_file has expired; check that it is renewed";
    expect(directory.path(), &pod, &[&at, "AuthenticationFail.OIDCToken.Expired", id, ended]);
    assert_eq!(
        sts.calls().iter().filter(|call| call.action == "AssumeRoleWithOIDC").count(),
        2,
        "read once more"
    );

    sts.fail(1, StatusCode::TOO_MANY_REQUESTS, "Throttling.User");
    expect(directory.path(), &role, &[&at, "429 Throttling.User", "STS throttles this account"]);
}

#[test]
fn a_service_that_cannot_be_reached_is_named_with_what_to_look_at() {
    let directory = tempfile::tempdir().expect("a directory");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let at = listener.local_addr().expect("an address");
    drop(listener);
    let place = format!("cannot connect to http://{at}: Connection refused");
    for (lines, remedy) in [
        (role(at), "set sts_endpoint or sts_region"),
        (format!("type = \"ecs\"\nendpoint = \"http://{at}\""), "this host may not be an ECS instance"),
        (format!("type = \"uri\"\nurl = \"http://{at}/planted\""), "check that the service runs"),
    ] {
        expect(directory.path(), &lines, &[&place, remedy]);
    }
    // A service that accepts the connection and is silent, as behind a hop limit that is too low.
    let silent = Script::start(|peer| {
        peer.head();
        peer.rest();
    });
    let lines = format!("type = \"ecs\"\nendpoint = \"http://{}\"", silent.address);
    expect(directory.path(), &lines, &["no response from", "hop limit"]);
    assert!(silent.heads().iter().all(|head| head.starts_with("PUT ")), "no version 1 after a silence");
}

#[test]
fn a_clock_that_is_off_by_an_hour_is_told() {
    let directory = tempfile::tempdir().expect("a directory");
    let oss = oss();
    // The origin of this Date is unknown.
    let body = r#"{"RequestId": "R-1", "Code": "InvalidTimeStamp.Expired", "Message": "planted"}"#;
    let head = "HTTP/1.1 400 X\r\nDate: Tue, 14 Nov 2023 23:13:22 GMT\r\nAge: 5";
    let answer = format!("{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let cached = Script::answering(answer.leak());
    let words = ["returned 400 InvalidTimeStamp.Expired, request id R-1", "synchronise this host's clock"];
    expect(directory.path(), &role(cached.address), &words);

    // Credentials issued for an hour have expired by the local clock before they arrive.
    let answer = format!(
        r#"{{"AccessKeyId":"STS.x","AccessKeySecret":"planted","SecurityToken":"planted","Expiration":"{}"}}"#,
        Timestamp::from_unix_s(SystemEnv.now().unix_s() - 1).rfc3339()
    );
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", answer.len());
    let behind = Script::answering(format!("{head}{answer}").leak());
    let words = ["credential_uri returned credentials that expired at ", "check this host's clock"];
    expect(directory.path(), &format!("type = \"uri\"\nurl = \"http://{}\"", behind.address), &words);

    // Requests to STS carry its time, and the difference between the clocks is logged as a warning.
    let sts = CredentialIssuer::spawn(([127, 0, 0, 1], 0).into(), oss.service.clone()).expect("an STS");
    sts.role(ROLE, None);
    sts.ahead(3_600);
    let sections = format!(
        "[credentials.default]\n{}\n[credentials.base]\ntype = \"static\"\naccess_key_id = \"{ID}\"\naccess_key_secret = \"{SECRET}\"",
        role(sts.address)
    );
    let served = Served::start_with(oss.address, &sections, &[], &[]);
    assert_eq!(ask(served.address, "PUT", "/photos/k", b"v").status, 200);
    served.signal("TERM");
    let (_, log) = served.end();
    let warning = log
        .lines()
        .find(|line| line.contains("this service's clock is ahead of this host's"))
        .expect("a warning");
    assert!(
        warning.contains(&sts.address.to_string()) && warning.contains("synchronise this host's clock"),
        "{warning}"
    );
    assert_eq!(log.matches("this service's clock is ahead of this host's").count(), 1, "{log}");
}

#[test]
fn a_full_table_of_files_is_told_with_what_to_raise_and_passes() {
    let oss = oss();
    let file = tempfile::NamedTempFile::new().expect("a file");
    fs::write(&file, Served::text(oss.address, "[process]\ndumpable = true\n")).expect("written");
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -n 64; exec \"$@\"", "sh", env!("CARGO_BIN_EXE_oss-signing-proxy"), "serve"]);
    command.args(["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--log-format", "json"]);
    command.arg("--config").arg(file.path()).env_clear().env("PATH", "/usr/bin:/bin").envs(KEY);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let served = Served::watch(command, None);
    let clients: Vec<Client> = (0..100).map(|_| Client::connect(served.address)).collect();
    // The admin listener needs file descriptors as well.
    eventually("the table is full", || {
        let open = fs::read_dir(format!("/proc/{}/fd", served.child.id())).expect("its files").count();
        open >= 63
    });
    drop(clients);
    assert_eq!(ask(served.address, "PUT", "/photos/k", b"v").status, 200);
    served.signal("TERM");
    let (code, log) = served.end();
    assert_eq!(code, Some(0), "{log}");
    let told: Vec<&str> = log.lines().filter(|line| line.contains("cannot accept connections")).collect();
    assert!((1..=3).contains(&told.len()), "{log}");
    for words in ["Too many open files", "ulimit -n, LimitNOFILE=", "client_connections"] {
        assert!(told[0].contains(words), "{words}: {}", told[0]);
    }
}
