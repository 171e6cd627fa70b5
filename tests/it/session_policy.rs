//! `session_policy` of callers: the call to STS has the rights of the caller, and the session that it
//! returns signs for the caller.

use std::collections::BTreeMap;

use oss_signing_proxy::emulator::issuer::CredentialIssuer;

use crate::support::script::line_of;
use crate::support::{Client, ID, KEY, Proxy, SECRET, Script, Served, ask, eventually, oss, proxy, run};

const ROLE: &str = "acs:ram::1234567890123456:role/teams";
const ALLOWED: &str = "allow = [{ group = [\"write\"], bucket = \"photos\", prefix = \"a/\" }]";
/// The document of [`ALLOWED`].
const ALLOWED_DOCUMENT: &str = r#"{"Version":"1","Statement":[{"Effect":"Allow","Action":["oss:PutObject","oss:SealAppendObject","oss:RestoreObject","oss:CleanRestoredObject","oss:PutObjectTagging","oss:DeleteObjectTagging","oss:AbortMultipartUpload","oss:PostProcessTask","oss:DeleteObject"],"Resource":"acs:oss:*:*:photos/a/*"}]}"#;

fn caller(name: &str, lines: &str) -> String {
    format!("[[caller]]\nname = \"{name}\"\ntoken = \"{}\"\n{lines}\n", name.repeat(6))
}

/// Returns credentials of a role.
fn credentials(sts: &CredentialIssuer) -> String {
    format!(
        "type = \"assume_role\"\nsource = \"base\"\nrole_arn = \"{ROLE}\"\nsts_endpoint = \"http://{}\"\n\
         [credentials.base]\ntype = \"static\"\naccess_key_id = \"{ID}\"\naccess_key_secret = \"{SECRET}\"\n",
        sts.address
    )
}

/// Sends a request with the token of a caller, which is its name repeated.
fn status(proxy: &Proxy, caller: &str, method: &str, target: &str) -> u16 {
    let line = format!("Authorization: Bearer {}\r\n", caller.repeat(6));
    let own = proxy.address.to_string();
    Client::connect(proxy.address).ask(method, target, &own, &line, b"").status
}

#[test]
fn the_call_to_sts_has_the_rights_and_its_session_signs() {
    let oss = oss();
    let sts = CredentialIssuer::spawn(([127, 0, 0, 1], 0).into(), oss.service.clone()).expect("an STS");
    sts.role(ROLE, None);
    let limited = format!("{ALLOWED}\nsession_policy = true");
    let other = r#"policy = ['''{ "Version": "1",
        "Statement": [ { "Effect": "Allow", "Action": "oss:Put*", "Resource": "acs:oss:*:*:photos/a/x/*" } ] }''']
session_policy = true"#;
    let proxy = proxy(oss.address)
        .listen("identify = [\"token\"]")
        .credentials(&credentials(&sts))
        .sections(
            &[
                caller("team-a", &limited),
                caller("team-a2", &limited),
                caller("team-b", other),
                caller("plain", ALLOWED),
            ]
            .concat(),
        )
        .start();
    let signer = || {
        let request = oss.recorder.last().expect("a request");
        let text = request.headers["authorization"].to_str().expect("text").to_owned();
        let id = text.split("Credential=").nth(1).and_then(|rest| rest.split('/').next());
        id.expect("a signature of V4").to_owned()
    };
    let mut signers = BTreeMap::new();
    for name in ["team-a", "team-a2", "team-b", "plain"] {
        eventually("there are credentials", || status(&proxy, name, "PUT", "/photos/a/x/k") == 200);
        signers.insert(name, signer());
        // What the documents do not allow reaches neither OSS nor its policies.
        assert_eq!(status(&proxy, name, "PUT", "/photos/b/k"), 403);
    }
    assert_eq!(signers["team-a"], signers["team-a2"], "one session for one content");
    assert!(signers["team-b"] != signers["team-a"] && signers["plain"] != signers["team-a"], "{signers:?}");
    assert!(
        signers["plain"] != signers["team-b"] && signers["plain"].starts_with("STS.issued"),
        "{signers:?}"
    );
    let calls = sts.calls();
    let mut sent: Vec<Option<&str>> =
        calls.iter().map(|call| call.parameters.get("Policy").map(String::as_str)).collect();
    sent.sort_unstable();
    let of_other = r#"{"Version":"1","Statement":[{"Effect":"Allow","Action":"oss:Put*","Resource":"acs:oss:*:*:photos/a/x/*"}]}"#;
    assert_eq!(sent, [None, Some(of_other), Some(ALLOWED_DOCUMENT)]);
}

#[test]
fn a_session_is_kept_by_a_reload_until_its_policy_changes() {
    let oss = oss();
    let sts = CredentialIssuer::spawn(([127, 0, 0, 1], 0).into(), oss.service.clone()).expect("an STS");
    sts.role(ROLE, None);
    let sections = |caller: &str| format!("[credentials.default]\n{}{caller}", credentials(&sts));
    let open = |prefix: &str, more: &str| {
        let allowed = ALLOWED.replace("a/", prefix);
        sections(&format!(
            "[[caller]]\nname = \"team-a\"\nopen = true\n{allowed}\nsession_policy = true\n{more}"
        ))
    };
    let served = Served::start_with(oss.address, &open("a/", ""), &[], &KEY);
    eventually("there are credentials", || ask(served.address, "PUT", "/photos/a/k", b"").status == 200);
    let policies = || {
        let calls = sts.calls().into_iter();
        calls.filter_map(|call| call.parameters.get("Policy").cloned()).collect::<Vec<String>>()
    };
    assert_eq!(policies().len(), 1);
    served.rewrite(oss.address, &open("a/", "presign_max = \"1h\"\n"));
    assert_eq!(served.reload().0, 200);
    assert_eq!(policies().len(), 1, "the session is kept");
    served.rewrite(oss.address, &open("b/", ""));
    assert_eq!(served.reload().0, 200);
    let sent = policies();
    assert!(sent.len() == 2 && sent[1].contains("photos/b/*"), "{sent:?}");
    eventually("there are credentials", || ask(served.address, "PUT", "/photos/b/k", b"").status == 200);
}

#[test]
fn a_listing_without_a_prefix_has_an_empty_one_under_a_session_policy() {
    let upstream = Script::answering("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    let oss = oss();
    let sts = CredentialIssuer::spawn(([127, 0, 0, 1], 0).into(), oss.service.clone()).expect("an STS");
    sts.role(ROLE, None);
    let allowed = r#"policy = ['''{ "Version": "1", "Statement": [ { "Effect": "Allow", "Action": "oss:ListObjects", "Resource": "acs:oss:*:*:photos",
        "Condition": { "StringEquals": { "oss:Prefix": [""], "oss:Delimiter": "/" } } } ] }''']"#;
    let proxy = proxy(upstream.address)
        .listen("identify = [\"token\"]")
        .credentials(&credentials(&sts))
        .sections(&format!(
            "{}{}",
            caller("team-a", &format!("{allowed}\nsession_policy = true")),
            caller("plain", allowed)
        ))
        .start();
    for (name, target, expected) in [
        ("team-a", "/photos?delimiter=%2F", "/?delimiter=%2F&prefix= HTTP/1.1"),
        ("team-a", "/photos?prefix=&delimiter=%2F", "/?prefix=&delimiter=%2F HTTP/1.1"),
        ("plain", "/photos?delimiter=%2F", "/?delimiter=%2F HTTP/1.1"),
    ] {
        eventually("there are credentials", || status(&proxy, name, "GET", target) == 200);
        let head = upstream.heads().pop().expect("a head");
        assert!(head.lines().next().expect("a line").ends_with(expected), "{head}");
        assert!(line_of(&head, "authorization").is_some());
    }
}

#[test]
fn explain_shows_the_session_policy() {
    let oss = oss();
    let sts = CredentialIssuer::spawn(([127, 0, 0, 1], 0).into(), oss.service.clone()).expect("an STS");
    sts.role(ROLE, None);
    let file = tempfile::NamedTempFile::new().expect("a file");
    let text = format!(
        "[upstream]\nregion = \"cn-hangzhou\"\n[credentials.default]\n{}[[caller]]\nname = \"team-a\"\nopen = true\n{ALLOWED}\nsession_policy = true\n",
        credentials(&sts)
    );
    std::fs::write(&file, text).expect("written");
    let path = file.path().to_str().expect("a path");
    let (code, out, errors) = run(&["explain", "--config", path, "PUT", "/photos/a/k"], &[]);
    assert_eq!(code, Some(0), "{out}{errors}");
    let policy =
        sts.calls().iter().find_map(|call| call.parameters.get("Policy").cloned()).expect("a policy");
    let line = format!(
        "session     the rights are the policy of the session, {} of at most 2048 characters",
        policy.len()
    );
    assert!(out.lines().any(|one| one == line), "{out}");
    assert!(out.contains("source \"default@policy-"), "{out}");
}
