//! The program as a process.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

use super::{Client, ID, SECRET, Script, eventually};

/// The program with an environment that has next to nothing: it asks no metadata service, and finds no home.
pub(crate) fn program(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_oss-signing-proxy"));
    command
        .args(arguments)
        .env_clear()
        .env("ALIBABA_CLOUD_ECS_METADATA_DISABLED", "true")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// Runs it to its end: exit code, output, errors.
pub(crate) fn run(arguments: &[&str], environment: &[(&str, &str)]) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } =
        program(arguments).envs(environment.iter().copied()).output().expect("it runs");
    (
        status.code(),
        String::from_utf8_lossy(&stdout).into_owned(),
        String::from_utf8_lossy(&stderr).into_owned(),
    )
}

/// A key pair in the environment that the embedded OSS knows.
pub(crate) const KEY: [(&str, &str); 2] = [("OSS_ACCESS_KEY_ID", ID), ("OSS_ACCESS_KEY_SECRET", SECRET)];

/// `serve` as a process. It is killed with this.
pub(crate) struct Served {
    pub(crate) child: Child,
    pub(crate) address: SocketAddr,
    admin: SocketAddr,
    log: BufReader<std::process::ChildStderr>,
    seen: String,
}

impl Served {
    /// Starts it on free ports before `upstream`, with the log in JSON.
    pub(crate) fn start(upstream: SocketAddr, arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        Self::start_with(upstream, "", arguments, environment)
    }

    /// The same with more sections.
    pub(crate) fn start_with(
        upstream: SocketAddr,
        sections: &str,
        arguments: &[&str],
        environment: &[(&str, &str)],
    ) -> Self {
        let mut file = tempfile::NamedTempFile::new().expect("a file");
        let text = format!(
            "[upstream]\nregion = \"cn-hangzhou\"\nendpoint = \"http://oss-cn-hangzhou.aliyuncs.com\"\nconnect = \"{upstream}\"\n{sections}"
        );
        std::io::Write::write_all(&mut file, text.as_bytes()).expect("written");
        let path = file.path().to_str().expect("a path");
        let usual = [
            "serve",
            "--config",
            path,
            "--listen",
            "127.0.0.1:0",
            "--admin-listen",
            "127.0.0.1:0",
            "--log-format",
            "json",
        ];
        let all: Vec<&str> = usual.iter().chain(arguments).copied().collect();
        let mut child = program(&all).envs(environment.iter().copied()).spawn().expect("it starts");
        let mut log = BufReader::new(child.stderr.take().expect("a log"));
        let mut seen = String::new();
        let mut told = |what: &str| loop {
            let start = seen.len();
            assert!(log.read_line(&mut seen).expect("a line") > 0, "it ended: {seen}");
            let line: Value = serde_json::from_str(&seen[start..]).expect("json");
            if line["msg"] == what {
                break line["address"].as_str().and_then(|text| text.parse().ok()).expect("an address");
            }
        };
        let (address, admin) = (told("listening"), told("admin listening"));
        Self { child, address, admin, log, seen }
    }

    /// Where health is asked.
    pub(crate) fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// Sends a signal of this name.
    pub(crate) fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        let sent = Command::new("kill").args([&format!("-{name}"), &id]).status().expect("kill");
        assert!(sent.success());
    }

    /// Waits for the end. The exit code, and the whole log.
    pub(crate) fn end(mut self) -> (Option<i32>, String) {
        self.log.read_to_string(&mut self.seen).expect("text");
        (self.child.wait().expect("an end").code(), self.seen.clone())
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A proxy with a request in flight, which the upstream has received and never answers.
pub(crate) fn in_flight() -> (Script, Served, Client) {
    let upstream = Script::start(|peer| {
        peer.head();
        peer.rest();
    });
    let served = Served::start(upstream.address, &[], &KEY);
    let mut client = Client::connect(served.address);
    client.send(format!("GET /photos/k HTTP/1.1\r\nHost: {}\r\n\r\n", served.address));
    eventually("the request arrives", || !upstream.heads().is_empty());
    (upstream, served, client)
}
