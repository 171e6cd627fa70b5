//! Each form of the file, and each way in which it can be invalid.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use tempfile::TempDir;

use super::CredentialFile;
use crate::credentials::Credentials;

/// Writes a file that only its owner can read.
fn write(path: &Path, text: &str) {
    fs::write(path, text).expect("written");
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).expect("a mode");
}

/// Reads `text` as the file of a strict provider.
fn json(text: &str) -> Result<Credentials, String> {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("key.json");
    write(&path, text);
    read(&path)
}

fn read(path: &Path) -> Result<Credentials, String> {
    CredentialFile::new(path.to_owned(), true).read().map_err(|error| error.to_string())
}

fn shown(credentials: &Credentials) -> (&str, &str, Option<&str>, Option<String>) {
    let Credentials { id, secret, token, expires, .. } = credentials;
    (
        id,
        secret.expose(),
        token.as_ref().map(crate::secret::Secret::expose),
        expires.map(crate::time::Timestamp::rfc3339),
    )
}

#[test]
fn json_has_either_spelling_and_needs_no_token() {
    let whole = ("STS.a", "s", Some("t"), Some("2026-01-31T12:00:00Z".to_owned()));
    let rows = [
        (r#"{"AccessKeyId": "LTAIa", "AccessKeySecret": "s"}"#, ("LTAIa", "s", None, None)),
        (
            r#"{"access_key_id": "LTAIa", "access_key_secret": "s", "security_token": null}"#,
            ("LTAIa", "s", None, None),
        ),
        (
            r#"{"access_key_id": "LTAIa", "access_key_secret": "s", "security_token": ""}"#,
            ("LTAIa", "s", None, None),
        ),
        (
            r#"{"Code": "Success", "AccessKeyId": "STS.a", "AccessKeySecret": "s", "SecurityToken": "t", "Expiration": "2026-01-31T12:00:00Z"}"#,
            whole.clone(),
        ),
        (
            r#"{"access_key_id": "STS.a", "AccessKeySecret": "s", "security_token": "t", "expiration": "2026-01-31T13:00:00.5+01:00"}"#,
            whole,
        ),
    ];
    for (text, expected) in rows {
        let read = json(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(shown(&read), expected);
    }
}

#[test]
fn what_is_wrong_is_told_without_the_secret() {
    let rows = [
        ("", "is not valid JSON (line 1, column 0)"),
        (r#"{"AccessKeyId": "LTAIa", "AccessKeySecret": "planted"#, "is not valid JSON (line 1, column"),
        (r#"["planted"]"#, "is not a JSON object"),
        (r#"{"AccessKeySecret": "planted"}"#, "access_key_id is missing"),
        (r#"{"AccessKeyId": "LTAIa", "AccessKeySecret": 5}"#, "AccessKeySecret is missing or not a string"),
        (
            r#"{"AccessKeyId": "LTAIa", "access_key_id": "LTAIb", "AccessKeySecret": "planted"}"#,
            "different values",
        ),
        (
            r#"{"AccessKeyId": "LTAIa", "AccessKeySecret": "planted", "Expiration": "tomorrow"}"#,
            "invalid expiration",
        ),
        (r#"{"AccessKeyId": "STS.a", "AccessKeySecret": "planted"}"#, "no security token"),
        (r#"{"AccessKeyId": "LTAIa", "AccessKeySecret": "planted\n"}"#, "line break"),
    ];
    for (text, words) in rows {
        let error = json(text).expect_err(text);
        assert!(
            error.contains(words) && error.contains("key.json") && !error.contains("planted"),
            "{text}: {error}"
        );
    }
    let large = format!("{{\"x\": \"{}\"}}", "x".repeat(70_000));
    assert!(json(&large).expect_err("large").contains("more than 64 KiB"));
    assert!(read(Path::new("/nowhere/key.json")).expect_err("missing").contains("No such file"));
}

/// A directory as Kubernetes mounts a Secret: the names are links through `..data` to the current
/// version.
struct Mounted(TempDir);

impl Mounted {
    fn new(values: &[(&str, &str)]) -> Self {
        let mounted = Self(tempfile::tempdir().expect("a directory"));
        mounted.swap("first", values);
        for name in ["access_key_id", "access_key_secret", "security_token", "expiration"] {
            symlink(format!("..data/{name}"), mounted.0.path().join(name)).expect("a link");
        }
        mounted
    }

    fn swap(&self, state: &str, values: &[(&str, &str)]) {
        let path = self.0.path();
        fs::create_dir(path.join(state)).expect("a directory");
        for (name, value) in values {
            write(&path.join(state).join(name), value);
        }
        symlink(state, path.join("..next")).expect("a link");
        fs::rename(path.join("..next"), path.join("..data")).expect("swapped");
    }
}

#[test]
fn a_directory_has_a_file_for_each_value_and_its_swap_is_seen() {
    let mounted = Mounted::new(&[("access_key_id", "LTAIa\n"), ("access_key_secret", "s\r\n")]);
    let file = CredentialFile::new(mounted.0.path().to_owned(), true);
    assert_eq!(shown(&file.read().expect("credentials")), ("LTAIa", "s", None, None));
    let before = file.state();
    assert_eq!(file.state(), before);
    mounted.swap(
        "second",
        &[
            ("access_key_id", "STS.b"),
            ("access_key_secret", "s2"),
            ("security_token", "t\n"),
            ("expiration", "2026-01-31T12:00:00Z"),
        ],
    );
    assert_ne!(file.state(), before);
    let expected = ("STS.b", "s2", Some("t"), Some("2026-01-31T12:00:00Z".to_owned()));
    assert_eq!(shown(&file.read().expect("credentials")), expected);
}

#[test]
fn a_directory_without_a_pair_is_unusable() {
    let mounted = Mounted::new(&[("access_key_id", "LTAIa")]);
    assert!(read(mounted.0.path()).expect_err("half").contains("access_key_secret: No such file"));
    let mounted = Mounted::new(&[("access_key_id", "LTAIa\n\n"), ("access_key_secret", "s")]);
    assert!(read(mounted.0.path()).expect_err("odd").contains("line break"));
}

#[test]
fn what_others_can_read_is_refused_if_that_is_asked_for() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("key.json");
    write(&path, r#"{"AccessKeyId": "LTAIa", "AccessKeySecret": "s"}"#);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).expect("a mode");
    assert!(read(&path).expect_err("exposed").contains("strict_file_modes"));
    assert!(CredentialFile::new(path, false).read().is_ok());
}
