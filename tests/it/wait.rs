//! `wait`: waits until a proxy is ready, for scripts that start a dependent program and for probes.

use std::path::Path;
use std::process::{Child, Command};

use crate::support::{KEY, Script, Served, eventually, in_flight, oss, program, run};

/// Runs `wait` for the admin listener at this address.
fn wait(address: &str, timeout: &str) -> (Option<i32>, String, String) {
    run(&["wait", "--admin-listen", address, "--timeout", timeout], &[])
}

#[test]
fn a_proxy_that_is_ready_is_seen_at_one_look() {
    let oss = oss();
    let served = Served::start(oss.address, &[], &KEY);
    let ready = (Some(0), String::new(), String::new());
    assert_eq!(wait(&served.admin().to_string(), "0s"), ready);
    // With the file and variables of the proxy itself, and the default timeout.
    let environment = [("OSS_PROXY_ADMIN_LISTEN", &*served.admin().to_string())];
    assert_eq!(run(&["wait"], &environment), ready);
}

#[test]
fn what_is_not_ready_is_told_with_the_reason() {
    let oss = oss();
    let keyless = Served::start(oss.address, &[], &[("HOME", "/nowhere")]);
    let (_upstream, leaving, _client) = in_flight();
    leaving.signal("TERM");
    let somebody = Script::answering("HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nwelcome");
    for (address, reason) in [
        (keyless.admin().to_string(), "no credentials source is usable"),
        (leaving.admin().to_string(), "stopping"),
        (somebody.address.to_string(), "it responded 200 OK: welcome"),
        ("unix:/nowhere/admin".to_owned(), "connection failed"),
    ] {
        let mut last = String::new();
        eventually(reason, || {
            let (code, out, err) = wait(&address, "0s");
            last = err;
            // The signal needs a moment.
            code == Some(69) && out.is_empty() && last.contains(reason)
        });
    }
    let (code, _, err) = wait("unix:/nowhere/admin", "250ms");
    assert_eq!(code, Some(69), "{err}");
}

/// A proxy with its admin listener on a Unix socket. It is killed on drop.
struct OnUnix(Child);

impl OnUnix {
    fn start(socket: &Path) -> Self {
        let admin = format!("unix:{}", socket.display());
        let flags = ["--region", "cn-hangzhou", "--listen", "127.0.0.1:0", "--admin-listen", &admin];
        Self(program(&flags).envs(KEY).spawn().expect("it starts"))
    }
}

impl Drop for OnUnix {
    fn drop(&mut self) {
        // It may have exited already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn it_waits_for_a_proxy_that_comes_later() {
    let directory = tempfile::tempdir().expect("a directory");
    let socket = directory.path().join("admin");
    let admin = format!("unix:{}", socket.display());
    let mut waiting: Command = program(&["wait", "--admin-listen", &admin, "--timeout", "60s"]);
    let mut waiting = waiting.spawn().expect("it starts");
    // It has polled once by the time another `wait` has failed.
    assert_eq!(wait(&admin, "0s").0, Some(69));
    assert_eq!(waiting.try_wait().expect("a state"), None);
    let _proxy = OnUnix::start(&socket);
    assert_eq!(waiting.wait().expect("an end").code(), Some(0));
    assert_eq!(wait(&admin, "0s").0, Some(0));
}

#[test]
fn where_nobody_is_to_be_asked_it_is_the_configuration_that_is_wrong() {
    for (address, words) in [("off", "is off"), ("127.0.0.1:0", "port 0"), ("systemd:admin", "admin")] {
        let (code, _, err) = wait(address, "0s");
        assert_eq!(code, Some(78), "{err}");
        assert!(err.contains(words), "{err}");
    }
    assert_eq!(wait("127.0.0.1:1", "soon").0, Some(2));
}

#[test]
fn a_mistake_in_the_file_does_not_make_a_proxy_that_runs_on_unready() {
    let oss = oss();
    let file = tempfile::NamedTempFile::new().expect("a file");
    let served = Served::start(oss.address, &[], &KEY);
    let text = format!("[admin]\naddress = \"{}\"\n[limits]\nbodyy = 1\n", served.admin());
    std::fs::write(&file, text).expect("written");
    let path = file.path().to_str().expect("a path");
    assert_eq!(run(&["check", "--config", path], &KEY).0, Some(78));
    assert_eq!(run(&["wait", "--config", path, "--timeout", "0s"], &[]).0, Some(0));
    std::fs::write(&file, "[admin").expect("written");
    assert_eq!(run(&["wait", "--config", path, "--timeout", "0s"], &[]).0, Some(78));
}
