//! `doctor`: each common setup fault is identified, with the exit code of its cause. No secret is
//! printed.

mod network;
mod refused;

use std::net::SocketAddr;

use oss_signing_proxy::emulator::{EmulatorThread, InjectedFault};
use serde_json::Value;

use crate::support::{KEY, SECRET, STS_ID, Script, TOKEN, oss, run};

/// The output of `doctor`, in both forms.
struct Seen {
    code: i64,
    lines: String,
    document: Value,
}

impl Seen {
    /// Returns the fault that this check found; `ok` if none. The last one, if there are more.
    fn fault(&self, section: &str, check: &str) -> &str {
        self.finding(section, check)["fault"].as_str().expect("a fault")
    }

    fn finding(&self, section: &str, check: &str) -> &Value {
        let sections = self.document["sections"].as_array().expect("sections");
        let findings = sections
            .iter()
            .filter(|known| known["name"] == section)
            .flat_map(|section| section["findings"].as_array().expect("findings"));
        let mut found = findings.filter(|finding| finding["check"] == check);
        found.next_back().unwrap_or_else(|| panic!("no {check} in {section}: {}", self.lines))
    }

    /// Asserts the exit code, the fault of the check, and that the output has all `words` and a
    /// remedy.
    fn says(&self, code: i64, (check, fault): (&str, &str), words: &[&str]) {
        assert_eq!((self.code, self.fault("upstream", check)), (code, fault), "{}", self.lines);
        let finding = self.finding("upstream", check);
        assert!(finding["remedy"].is_string(), "no remedy: {}", self.lines);
        for word in words {
            assert!(self.lines.contains(word), "{word}: {}", self.lines);
        }
    }
}

/// Runs `doctor` with this configuration, and searches its output for secrets.
fn doctor(config: &str, arguments: &[&str], environment: &[(&str, &str)]) -> Seen {
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(&file, config).expect("written");
    let usual = ["doctor", "--config", file.path().to_str().expect("a path")];
    let (code, lines, errors) = run(&[&usual[..], arguments].concat(), environment);
    let (again, text, more) = run(&[&usual[..], arguments, &["--json"]].concat(), environment);
    assert_eq!((errors.as_str(), more.as_str(), code), ("", "", again), "{lines}{text}");
    for secret in [SECRET, "other-planted-secret", TOKEN, "planted%2Btoken", "Signature=", "Credential="] {
        assert!(!lines.contains(secret) && !text.contains(secret), "{secret}: {lines}{text}");
    }
    let document: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
    let code = i64::from(code.expect("an exit code"));
    assert_eq!(document["exit"], code, "{text}");
    let fails = lines.matches("\n  FAIL  ").count();
    assert_eq!(fails, text.matches("\"level\":\"fail\"").count(), "{lines}{text}");
    assert_eq!(code == 0, fails == 0, "{lines}");
    Seen { code, lines, document }
}

/// Returns an upstream at this address, which acts as OSS.
fn at(address: SocketAddr) -> String {
    format!(
        "[upstream]\nregion = \"cn-hangzhou\"\nendpoint = \"http://oss-cn-hangzhou.aliyuncs.com\"\nconnect = \"{address}\"\n"
    )
}

/// Runs `doctor` against an OSS with this fault, and with this environment.
fn with_fault(fault: InjectedFault, environment: &[(&str, &str)]) -> Seen {
    let oss = oss();
    oss.faults.always(fault);
    doctor(&at(oss.address), &["--bucket", "photos"], environment)
}

const STS: [(&str, &str); 3] =
    [("OSS_ACCESS_KEY_ID", STS_ID), ("OSS_ACCESS_KEY_SECRET", SECRET), ("OSS_SESSION_TOKEN", TOKEN)];

/// Starts an upstream that gives this error response to signed requests, and answers unsigned ones
/// like OSS. Its responses to HEAD have no body.
fn refusing(status: &'static str, document: &'static str) -> Script {
    Script::start(move |peer| {
        while let Some(head) = peer.head() {
            let signed = head.to_ascii_lowercase().contains("authorization");
            let (status, body) = if signed { (status, document) } else { ("403 Forbidden", "") };
            let length = body.len();
            let body = if head.starts_with("HEAD ") { "" } else { body };
            peer.send(format!(
                "HTTP/1.1 {status}\r\nx-oss-request-id: 5F00\r\nContent-Length: {length}\r\n\r\n{body}"
            ));
        }
    })
}

#[test]
fn what_works_is_told_step_by_step_and_ends_with_0() {
    let oss = oss();
    for environment in [&KEY[..], &STS[..]] {
        let seen = doctor(&at(oss.address), &["--bucket", "photos"], environment);
        assert_eq!(seen.code, 0, "{}", seen.lines);
        for (section, check) in [
            ("configuration", "read"),
            ("source", "credentials"),
            ("upstream", "dns"),
            ("upstream", "connect"),
            ("upstream", "answer"),
            ("upstream", "clock"),
            ("upstream", "signed"),
        ] {
            assert_eq!(seen.fault(section, check), "ok", "{}", seen.lines);
        }
        for words in [
            "HEAD of photos by ",
            "was accepted (200, request ",
            "env             SELECTED",
            "all checks passed",
        ] {
            assert!(seen.lines.contains(words), "{words}: {}", seen.lines);
        }
    }
    let seen = doctor(&at(oss.address), &[], &KEY);
    assert!(seen.code == 0 && seen.lines.contains("ListBuckets"), "{}", seen.lines);
    let v1 = doctor(&at(oss.address), &["--bucket", "photos", "--signature", "v1"], &KEY);
    assert_eq!(v1.code, 0, "{}", v1.lines);
}

/// Returns the method and target of each signed request.
fn signed(oss: &EmulatorThread) -> Vec<String> {
    let all = oss.recorder.requests();
    let signed = all.iter().filter(|request| request.headers.contains_key("authorization"));
    signed.map(|request| format!("{} {}", request.method, request.target)).collect()
}

#[test]
fn a_bucket_is_asked_for_by_one_signed_head_and_only_a_refusal_has_it_asked_why() {
    let oss = oss();
    for version in ["v4", "v1"] {
        oss.recorder.clear();
        // The command runs twice, once for each output format.
        let seen = doctor(&at(oss.address), &["--bucket", "photos", "--signature", version], &KEY);
        assert_eq!((seen.code, signed(&oss)), (0, vec!["HEAD /".to_owned(); 2]), "{}", seen.lines);
    }
    oss.recorder.clear();
    let seen = doctor(&at(oss.address), &["--bucket", "nothere"], &KEY);
    assert_eq!(seen.fault("upstream", "signed"), "no-such-bucket", "{}", seen.lines);
    assert_eq!(signed(&oss), ["HEAD /", "GET /?bucketInfo=", "HEAD /", "GET /?bucketInfo="]);

    // A gateway that rejects only HEAD does not prevent other requests.
    let gate = Script::start(|peer| {
        while let Some(head) = peer.head() {
            let status = if head.starts_with("HEAD ") { "405 Method Not Allowed" } else { "200 OK" };
            peer.send(format!("HTTP/1.1 {status}\r\nx-oss-request-id: 5F00\r\nContent-Length: 0\r\n\r\n"));
        }
    });
    let seen = doctor(&at(gate.address), &["--bucket", "photos"], &KEY);
    assert_eq!((seen.code, seen.fault("upstream", "signed")), (0, "head-refused"), "{}", seen.lines);
    assert!(seen.lines.contains("was rejected before (405, request 5F00)"), "{}", seen.lines);
}

#[test]
fn each_route_is_asked_with_its_own_key_and_nobody_signs_for_a_public_one() {
    let oss = oss();
    let routes = format!(
        "{}[[route]]\nmatch = {{ bucket = \"photos\" }}\ncredentials = \"other\"\n[[route]]\nmatch = {{ bucket = \"open\" }}\ncredentials = \"nobody\"\n\
         [credentials.other]\ntype = \"static\"\naccess_key_id = \"LTAIunknown0000\"\naccess_key_secret = \"other-planted-secret\"\n\
         [credentials.nobody]\ntype = \"anonymous\"\n",
        at(oss.address)
    );
    let seen = doctor(&routes, &["--bucket", "photos"], &KEY);
    assert_eq!(seen.code, 77, "{}", seen.lines);
    assert_eq!(seen.fault("upstream", "signed"), "ok", "{}", seen.lines);
    assert_eq!(seen.fault("route 1", "signed"), "unknown-key", "{}", seen.lines);
    assert!(seen.lines.contains("GetBucketInfo of photos by LTAI…0000"), "{}", seen.lines);
    assert_eq!(seen.fault("route 2", "signed"), "ok", "{}", seen.lines);
    assert!(seen.lines.contains("route 2  bucket open  http://oss-cn-hangzhou"), "{}", seen.lines);
}

#[test]
fn a_bucket_that_is_not_there_or_not_served_is_told() {
    let oss = oss();
    doctor(&at(oss.address), &["--bucket", "nothere"], &KEY).says(
        78,
        ("signed", "no-such-bucket"),
        &["NoSuchBucket"],
    );
    let pinned = format!("{}bucket = \"photos\"\n", at(oss.address));
    let seen = doctor(&pinned, &["--bucket", "files"], &KEY);
    assert_eq!((seen.code, seen.fault("bucket", "routing")), (78, "bucket-not-served"), "{}", seen.lines);
    assert_eq!(doctor(&pinned, &[], &KEY).finding("upstream", "signed")["level"], "ok");
    let denied = refusing("403 Forbidden", "<Error><Code>AccessDenied</Code></Error>");
    let seen = doctor(&at(denied.address), &[], &KEY);
    assert_eq!((seen.code, seen.fault("upstream", "signed")), (0, "not-allowed"), "{}", seen.lines);
    assert!(seen.lines.ends_with("no check failed, warnings: 2\n"), "{}", seen.lines);
}

#[test]
fn every_mistake_of_the_configuration_is_told_and_nothing_is_sent() {
    let oss = oss();
    let seen = doctor(&format!("{}regoin = \"x\"\nsignatur = \"v4\"\n", at(oss.address)), &[], &KEY);
    assert_eq!((seen.code, seen.fault("configuration", "read")), (78, "configuration"), "{}", seen.lines);
    assert!(seen.lines.contains("regoin") && seen.lines.contains("signatur"), "{}", seen.lines);
    assert_eq!(seen.fault("source", "credentials"), "ok", "{}", seen.lines);
    assert_eq!(oss.recorder.count(), 0);
    let (code, out, _) = run(&["doctor", "--config", "/nowhere/proxy.toml"], &KEY);
    assert!(code == Some(78) && out.contains("/nowhere/proxy.toml"), "{out}");
}
