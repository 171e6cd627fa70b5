//! Credentials in a file or directory, rotated while requests are served.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::Command;

use crate::support::{ID, Proxy, SECRET, STS_ID, Served, TOKEN, ask, eventually, oss, proxy, run};

fn json(id: &str, secret: &str, token: Option<&str>, expiration: Option<&str>) -> String {
    let or_null = |text: Option<&str>| text.map_or_else(|| "null".to_owned(), |text| format!("\"{text}\""));
    format!(
        "{{\"AccessKeyId\": \"{id}\", \"AccessKeySecret\": \"{secret}\", \"SecurityToken\": {}, \"Expiration\": {}}}",
        or_null(token),
        or_null(expiration)
    )
}

/// Replaces a file atomically, as rotation tools should.
fn put(path: &Path, text: &str) {
    let next = path.with_extension("next");
    fs::write(&next, text).expect("written");
    fs::set_permissions(&next, fs::Permissions::from_mode(0o600)).expect("a mode");
    fs::rename(next, path).expect("in its place");
}

fn from(path: &Path) -> String {
    format!("type = \"file\"\npath = {path:?}")
}

fn status(proxy: &Proxy) -> u16 {
    ask(proxy.address, "GET", "/photos?list-type=2", b"").status
}

const FUTURE: Option<&str> = Some("2999-01-01T00:00:00Z");
const PAST: Option<&str> = Some("2001-01-01T00:00:00Z");

#[test]
fn a_renewed_file_signs_without_a_restart_and_no_request_fails() {
    let oss = oss();
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("key.json");
    put(&path, &json(ID, SECRET, None, None));
    let proxy = proxy(oss.address).credentials(&from(&path)).start();
    let signer = || {
        assert_eq!(status(&proxy), 200);
        let request = oss.recorder.last().expect("a request");
        request.headers["authorization"].to_str().expect("text").contains(STS_ID)
    };
    assert!(!signer());
    put(&path, &json(STS_ID, SECRET, Some(TOKEN), FUTURE));
    eventually("the new key signs", signer);

    // An invalid or removed file has no effect.
    put(&path, "{\"AccessKeyId\": \"LTAIx");
    std::thread::sleep(std::time::Duration::from_millis(1500));
    assert!(signer());
    fs::remove_file(&path).expect("removed");
    std::thread::sleep(std::time::Duration::from_millis(1500));
    assert!(signer());
    put(&path, &json(ID, SECRET, None, None));
    eventually("the old key signs again", || !signer());
}

#[test]
fn a_mounted_secret_may_come_after_the_start_and_be_swapped() {
    let oss = oss();
    let directory = tempfile::tempdir().expect("a directory");
    let mount = directory.path().join("oss");
    let proxy = proxy(oss.address).credentials(&from(&mount)).start();
    let answer = ask(proxy.address, "GET", "/photos/k", b"");
    assert_eq!((answer.status, answer.refused()), (503, Some("credentials-unavailable")));
    assert_eq!(ask(proxy.admin, "GET", "/readyz", b"").status, 503);

    let state = |name: &str, id: &str, token: Option<&str>| {
        let state = mount.join(name);
        fs::create_dir_all(&state).expect("a directory");
        fs::write(state.join("access_key_id"), format!("{id}\n")).expect("written");
        fs::write(state.join("access_key_secret"), SECRET).expect("written");
        if let Some(token) = token {
            fs::write(state.join("security_token"), token).expect("written");
        }
        symlink(name, mount.join("..next")).expect("a link");
        fs::rename(mount.join("..next"), mount.join("..data")).expect("swapped");
    };
    state("..first", ID, None);
    for name in ["access_key_id", "access_key_secret", "security_token"] {
        symlink(format!("..data/{name}"), mount.join(name)).expect("a link");
    }
    eventually("it is ready", || ask(proxy.admin, "GET", "/readyz", b"").status == 200);
    assert_eq!(status(&proxy), 200);
    state("..second", STS_ID, Some(TOKEN));
    eventually("the new state signs", || {
        assert_eq!(status(&proxy), 200);
        oss.recorder.last().expect("a request").headers.contains_key("x-oss-security-token")
    });
}

#[test]
fn what_has_expired_never_signs() {
    let oss = oss();
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("key.json");
    put(&path, &json(STS_ID, SECRET, Some(TOKEN), PAST));
    let proxy = proxy(oss.address).credentials(&from(&path)).start();
    let answer = ask(proxy.address, "GET", "/photos/k", b"");
    assert_eq!((answer.status, answer.refused()), (503, Some("credentials-unavailable")));
    assert!(answer.text().contains("expired"), "{}", answer.text());
    assert_eq!(oss.recorder.count(), 0);
    put(&path, &json(STS_ID, SECRET, Some(TOKEN), FUTURE));
    eventually("the renewed key signs", || status(&proxy) == 200);
}

/// Writes the lines of a configuration with this provider into a file, and returns its path.
fn configured(directory: &Path, key: &Path, strict: bool) -> String {
    let path = directory.join("proxy.toml");
    let text = format!(
        "strict_file_modes = {strict}\n[upstream]\nregion = \"cn-hangzhou\"\n[credentials.default]\n{}\n",
        from(key)
    );
    fs::write(&path, text).expect("written");
    path.to_str().expect("a path").to_owned()
}

#[test]
fn a_url_does_not_outlive_the_credentials_unless_that_is_wanted() {
    let directory = tempfile::tempdir().expect("a directory");
    let key = directory.path().join("key.json");
    let config = configured(directory.path(), &key, false);
    let presign = |expires: &str, more: &[&str]| {
        let arguments = ["presign", "GET", "/photos/k", "--config", &config, "--expires", expires];
        run(&[&arguments[..], more].concat(), &[])
    };
    put(&key, &json(STS_ID, SECRET, Some(TOKEN), FUTURE));
    let (code, out, log) = presign("168h", &[]);
    assert!(code == Some(0) && log.is_empty() && out.contains("x-oss-security-token="), "{code:?} {log}");
    let soon = Command::new("date").args(["-u", "-d", "+1 hour", "+%Y-%m-%dT%H:%M:%SZ"]).output();
    let soon = String::from_utf8(soon.expect("date").stdout).expect("text");
    put(&key, &json(STS_ID, SECRET, Some(TOKEN), Some(soon.trim())));
    assert_eq!(presign("59m", &[]).0, Some(0));
    let (code, out, log) = presign("61m", &[]);
    assert!(code == Some(77) && out.is_empty() && log.contains(soon.trim()), "{code:?} {out} {log}");
    let (code, out, log) = presign("61m", &["--outlive-credentials"]);
    assert!(
        code == Some(0) && out.contains("x-oss-expires=3660") && log.contains(soon.trim()),
        "{code:?} {log}"
    );
    put(&key, &json(STS_ID, SECRET, Some(TOKEN), PAST));
    let (code, _, log) = presign("1m", &["--outlive-credentials"]);
    assert!(code == Some(77) && log.contains("returned credentials that expired"), "{code:?} {log}");
}

#[test]
fn check_tells_of_a_file_that_is_missing_or_exposed_and_serve_waits_for_it() {
    let oss = oss();
    let directory = tempfile::tempdir().expect("a directory");
    let key = directory.path().join("key.json");
    let config = configured(directory.path(), &key, true);
    let check = || run(&["check", "--config", &config], &[]);
    let (code, _, log) = check();
    assert!(code == Some(77) && log.contains("key.json: No such file"), "{code:?} {log}");
    put(&key, &json(ID, SECRET, None, None));
    assert_eq!(check().0, Some(0));
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).expect("a mode");
    let (code, _, log) = check();
    assert!(code == Some(77) && log.contains("strict_file_modes"), "{code:?} {log}");
    fs::remove_file(&key).expect("removed");

    let credentials = format!("[credentials.default]\n{}\n", from(&key));
    let served = Served::start_with(oss.address, &credentials, &[], &[]);
    assert_eq!(ask(served.address, "GET", "/photos?list-type=2", b"").status, 503);
    put(&key, &json(ID, SECRET, None, None));
    eventually("it serves", || ask(served.address, "GET", "/photos?list-type=2", b"").status == 200);
    // A new file with the same key.
    put(&key, &json(ID, SECRET, None, None));
    let read = "oss_proxy_credential_refresh_seconds_count{source=\"default\",result=\"ok\"} 2\n";
    eventually("it is read again", || ask(served.admin(), "GET", "/metrics", b"").text().contains(read));
    served.signal("TERM");
    let (code, log) = served.end();
    assert_eq!(code, Some(0), "{log}");
    assert_eq!(log.matches("No such file").count(), 1, "it is told once: {log}");
    assert_eq!(log.matches("credentials changed").count(), 1, "{log}");
    assert!(!log.contains(SECRET), "{log}");
}
