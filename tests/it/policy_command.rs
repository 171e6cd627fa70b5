//! `policy check` and `policy test`, and the body of a request for `explain`.

use std::fs;
use std::path::Path;

use tempfile::TempDir;

use crate::support::{KEY, run};

const CONFIG: &str = "[upstream]
region = \"cn-hangzhou\"
[[caller]]
name = \"team-a\"
open = true
allow = [{ group = [\"read\", \"list\", \"delete\"], bucket = \"team-data\", prefix = \"a/\" }]
policy = [\"file:POLICY\"]
[[caller]]
name = \"admin\"
allow = \"everything\"
token = \"0123456789abcdef0123456789abcdef01234567\"
";
const POLICY: &str = r#"{ "Version": "1", "Statement": [
    { "Effect": "Allow", "Action": "oss:PutObject", "Resource": "acs:oss:*:*:team-data/a/*" },
    { "Effect": "Deny", "Action": ["oss:PutObject", "oss:GetObject"], "Resource": "acs:oss:*:*:team-data/a/secret/*" } ] }"#;

/// A configuration with a document.
struct Files {
    folder: TempDir,
}

impl Files {
    fn new(policy: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("team-a.json");
        fs::write(&path, policy).expect("written");
        let text = CONFIG.replace("POLICY", path.to_str().expect("a path"));
        fs::write(folder.path().join("proxy.toml"), text).expect("written");
        Self { folder }
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    /// Runs `policy test` for a caller. Returns the exit code and the output.
    fn test(&self, caller: &str, arguments: &[&str]) -> (Option<i32>, String) {
        let config = self.path("proxy.toml");
        let all = [&["policy", "test", "--config", &config, "--caller", caller], arguments].concat();
        let (code, out, errors) = run(&all, &[]);
        (code, out + &errors)
    }
}

#[track_caller]
fn has_lines(out: &str, lines: &[&str]) {
    for line in lines {
        assert!(out.lines().any(|one| one == *line), "{line}\n{out}");
    }
}

#[test]
fn the_statement_that_allows_or_the_missing_permission_is_printed() {
    let files = Files::new(POLICY);
    let document = format!("file:{}", files.path("team-a.json"));
    let (code, out) =
        files.test("team-a", &["PUT", "/team-data/a/x", "-H", "x-oss-copy-source: /team-data/a/y"]);
    assert_eq!(code, Some(0), "{out}");
    let written =
        format!("requires    oss:PutObject on acs:oss:*:*:team-data/a/x: allowed by {document}, statement 1");
    has_lines(
        &out,
        &[
            "operation   CopyObject",
            &written,
            "requires    oss:GetObject on acs:oss:*:*:team-data/a/y: allowed by allow, statement 1",
            "result      allowed",
        ],
    );
    let (code, out) = files.test("team-a", &["PUT", "/team-data/b/x"]);
    assert_eq!(code, Some(1), "{out}");
    has_lines(
        &out,
        &[
            "requires    oss:PutObject on acs:oss:*:*:team-data/b/x: missing",
            "result      403 denied: no policy of the caller allows oss:PutObject on acs:oss:*:*:team-data/b/x",
        ],
    );
    let (code, out) = files.test("team-a", &["GET", "/team-data/a/secret/k"]);
    assert_eq!(code, Some(1), "{out}");
    let denied = format!(
        "requires    oss:GetObject on acs:oss:*:*:team-data/a/secret/k: denied by {document}, statement 2"
    );
    has_lines(&out, &[&denied]);
    let (code, out) = files.test("admin", &["PUT", "/other?policy"]);
    assert_eq!(code, Some(0), "{out}");
    has_lines(&out, &["result      allowed, as everything, by allow, statement 1"]);
}

#[test]
fn what_is_not_understood_has_another_exit_code_than_a_denial() {
    let files = Files::new(POLICY);
    let (code, out) = files.test("team-a", &["GET", "/team-data/a/x?futureThing"]);
    assert_eq!(code, Some(2), "{out}");
    assert!(out.contains("not-understood") && out.contains("futureThing"), "{out}");
    let (code, out) = files.test("nobody", &["GET", "/team-data/a/x"]);
    assert_eq!(code, Some(2), "{out}");
    assert!(out.contains("no caller has the name \"nobody\""), "{out}");
    assert_eq!(files.test("team-a", &["GET"]).0, Some(2));
    fs::write(files.path("team-a.json"), "{}").expect("written");
    assert_eq!(files.test("team-a", &["GET", "/team-data/a/x"]).0, Some(78));
}

#[test]
fn each_key_of_a_body_is_judged() {
    let files = Files::new(POLICY);
    let body = |keys: &[&str]| {
        let keys: String = keys.iter().map(|key| format!("<Object><Key>{key}</Key></Object>")).collect();
        let path = files.path("body.xml");
        fs::write(&path, format!("<Delete>{keys}</Delete>")).expect("written");
        path
    };
    let path = body(&["a/1", "a/2"]);
    let (code, out) = files.test("team-a", &["POST", "/team-data?delete", "--body", &path]);
    assert_eq!(code, Some(0), "{out}");
    body(&["a/1", "b/2"]);
    let (code, out) = files.test("team-a", &["POST", "/team-data?delete", "--body", &path]);
    assert_eq!(code, Some(1), "{out}");
    has_lines(
        &out,
        &[
            "requires    oss:DeleteObject on acs:oss:*:*:team-data/a/1: allowed by allow, statement 1",
            "requires    oss:DeleteObject on acs:oss:*:*:team-data/b/2: missing",
        ],
    );
    let wrong = ["POST", "/team-data?delete", "--body", &path, "-H", "Content-MD5: AAAA"];
    let (code, out) = files.test("team-a", &wrong);
    assert_eq!(code, Some(2), "{out}");
    assert!(out.contains("Content-MD5 is not that of the body"), "{out}");
    let absent = files.path("absent");
    let (code, out) = files.test("team-a", &["POST", "/team-data?delete", "--body", &absent]);
    assert_eq!(code, Some(2), "{out}");
    // `explain` decides by the same body.
    let config = files.path("proxy.toml");
    let explain = |path: &str| {
        let arguments = ["explain", "--config", &config, "POST", "/team-data?delete", "--body", path];
        run(&arguments, &KEY)
    };
    let (code, out, errors) = explain(&path);
    assert_eq!(code, Some(1), "{out}{errors}");
    assert!(out.contains("oss:DeleteObject on acs:oss:*:*:team-data/b/2"), "{out}");
    body(&["a/1"]);
    let (code, out, errors) = explain(&path);
    assert_eq!(code, Some(0), "{out}{errors}");
    let length =
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Delete><Object><Key>a/1</Key></Object></Delete>".len();
    assert!(out.contains(&format!("content-length: {length}")), "{out}");
}

#[test]
fn documents_are_checked_by_file_and_by_caller() {
    let wide = r#"{ "Version": "1", "Statement": [
        { "Effect": "Allow", "Action": "oss:GetObject", "Resource": "acs:oss:*:*:team-data/a/*" },
        { "Effect": "Allow", "Action": "oss:Put*", "Resource": "acs:oss:*:1234567890123456:team-data" } ] }"#;
    let files = Files::new(wide);
    let path = files.path("team-a.json");
    let warning = "statement 2: the action oss:put* includes oss:PutBucketPolicy, oss:PutBucketAcl";
    let account = ["--account", "1234567890123456"];
    let (code, out, errors) = run(&[&["policy", "check", &path], &account[..]].concat(), &[]);
    assert_eq!((code, errors.as_str()), (Some(1), ""), "{out}");
    assert!(out.starts_with(&format!("{path}: {warning}")) && out.lines().count() == 1, "{out}");
    assert_eq!(run(&["policy", "check", &path], &[]).0, Some(78), "an account that is not named");
    fs::write(&path, wide.replace("1234567890123456", "*")).expect("written");
    let config = files.path("proxy.toml");
    let (code, out, errors) = run(&["policy", "check", "--config", &config], &[]);
    assert_eq!(code, Some(1), "{out}{errors}");
    assert!(out.contains(&format!("{config}:3 (caller team-a): file:{path}: {warning}")), "{out}");
    assert_eq!(out.lines().count(), 1, "{out}");
    fs::write(&path, POLICY).expect("written");
    for arguments in
        [["policy", "check", &path, "--log-level", "info"], ["policy", "check", "--config", &config, &path]]
    {
        let (code, out, errors) = run(&arguments, &[]);
        assert_eq!((code, out.as_str(), errors.as_str()), (Some(0), "", ""));
    }
    let absent = Path::new(&path).with_file_name("absent.json").display().to_string();
    assert_eq!(run(&["policy", "check", &absent], &[]).0, Some(78));
    assert_eq!(run(&["policy", "check"], &[]).0, Some(2));
}
