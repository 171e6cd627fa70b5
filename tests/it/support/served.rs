//! The program as a process.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

use super::{Client, ID, SECRET, Script, ask, eventually};

/// Builds a command with a nearly empty environment: no metadata service and no home directory.
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

/// Builds a command as systemd would start it: with these sockets as descriptors 3 and 4, under
/// these names.
pub(crate) fn activated(names: &str, sockets: (OwnedFd, OwnedFd), arguments: &[&str]) -> Command {
    let take = "exec 3<&0 4<&1 0</dev/null 1>/dev/null; LISTEN_PID=$$ LISTEN_FDS=2 exec \"$@\"";
    let mut command = Command::new("sh");
    command.args(["-c", take, "sh", env!("CARGO_BIN_EXE_oss-signing-proxy"), "serve"]).args(arguments);
    command.env_clear().env("PATH", "/usr/bin:/bin").env("LISTEN_FDNAMES", names).envs(KEY);
    command.stdin(Stdio::from(sockets.0)).stdout(Stdio::from(sockets.1)).stderr(Stdio::piped());
    command
}

/// Runs the program to its end. Returns its exit code, standard output and standard error.
pub(crate) fn run(arguments: &[&str], environment: &[(&str, &str)]) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } =
        program(arguments).envs(environment.iter().copied()).output().expect("it runs");
    (
        status.code(),
        String::from_utf8_lossy(&stdout).into_owned(),
        String::from_utf8_lossy(&stderr).into_owned(),
    )
}

/// The variables of a key pair that the emulated OSS knows.
pub(crate) const KEY: [(&str, &str); 2] = [("OSS_ACCESS_KEY_ID", ID), ("OSS_ACCESS_KEY_SECRET", SECRET)];

/// `serve` as a process. It is killed on drop.
pub(crate) struct Served {
    pub(crate) child: Child,
    pub(crate) address: SocketAddr,
    admin: SocketAddr,
    log: BufReader<std::process::ChildStderr>,
    seen: String,
    /// The file that it was started with, if the file is temporary.
    pub(crate) config: Option<tempfile::NamedTempFile>,
}

impl Served {
    /// Starts it on free ports in front of `upstream`, with the log in JSON.
    pub(crate) fn start(upstream: SocketAddr, arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        Self::start_with(upstream, "", arguments, environment)
    }

    /// Starts it as [`Self::start`], with more sections.
    pub(crate) fn start_with(
        upstream: SocketAddr,
        sections: &str,
        arguments: &[&str],
        environment: &[(&str, &str)],
    ) -> Self {
        let config = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(config.path(), Self::text(upstream, sections)).expect("written");
        let usual = ["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"];
        let all: Vec<&str> = usual.iter().chain(arguments).copied().collect();
        let path = config.path().to_owned();
        Self::launch(&path, &all, environment, Some(config))
    }

    /// Starts it with a complete configuration file, which the test keeps.
    pub(crate) fn of_file(path: &Path, environment: &[(&str, &str)]) -> Self {
        Self::launch(path, &[], environment, None)
    }

    /// Starts it as [`Self::of_file`], with the sockets of systemd under these names.
    pub(crate) fn activated(path: &Path, names: &str, sockets: (OwnedFd, OwnedFd)) -> Self {
        let arguments = ["--config", path.to_str().expect("a path"), "--log-format", "json"];
        Self::watch(activated(names, sockets, &arguments), None)
    }

    fn launch(
        path: &Path,
        arguments: &[&str],
        environment: &[(&str, &str)],
        config: Option<tempfile::NamedTempFile>,
    ) -> Self {
        let usual = ["serve", "--config", path.to_str().expect("a path"), "--log-format", "json"];
        let all: Vec<&str> = usual.iter().chain(arguments).copied().collect();
        let mut command = program(&all);
        command.envs(environment.iter().copied());
        Self::watch(command, config)
    }

    /// Starts it with this command, and reads the addresses of its listeners.
    pub(crate) fn watch(mut command: Command, config: Option<tempfile::NamedTempFile>) -> Self {
        let mut child = command.spawn().expect("it starts");
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
        Self { child, address, admin, log, seen, config }
    }

    /// Returns the usual `[upstream]`, and more sections.
    pub(crate) fn text(upstream: SocketAddr, sections: &str) -> String {
        format!(
            "[upstream]\nregion = \"cn-hangzhou\"\nendpoint = \"http://oss-cn-hangzhou.aliyuncs.com\"\nconnect = \"{upstream}\"\n{sections}"
        )
    }

    /// Rewrites its configuration file with other sections.
    pub(crate) fn rewrite(&self, upstream: SocketAddr, sections: &str) {
        let config = self.config.as_ref().expect("its own file");
        std::fs::write(config.path(), Self::text(upstream, sections)).expect("written");
    }

    /// Reloads the configuration, and returns the response.
    pub(crate) fn reload(&self) -> (u16, String) {
        let answer = ask(self.admin, "POST", "/-/reload", b"");
        (answer.status, answer.text())
    }

    /// Returns the addresses of all listeners.
    pub(crate) fn listeners(&self) -> Vec<SocketAddr> {
        let lines = self.seen.lines().map(|line| serde_json::from_str::<Value>(line).expect("json"));
        let listening = lines.filter(|line| line["msg"] == "listening");
        listening.filter_map(|line| line["address"].as_str()?.parse().ok()).collect()
    }

    /// Returns the address of the admin listener.
    pub(crate) fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// Sends a signal of this name.
    pub(crate) fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        let sent = Command::new("kill").args([&format!("-{name}"), &id]).status().expect("kill");
        assert!(sent.success());
    }

    /// Waits for the end. Returns the exit code and the whole log.
    pub(crate) fn end(mut self) -> (Option<i32>, String) {
        self.log.read_to_string(&mut self.seen).expect("text");
        (self.child.wait().expect("an end").code(), self.seen.clone())
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // It may have exited already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts a proxy with a request in flight, which the upstream has received and never answers.
pub(crate) fn in_flight() -> (Script, Served, Client) {
    in_flight_with("")
}

/// Starts a proxy as [`in_flight`], with more sections.
pub(crate) fn in_flight_with(sections: &str) -> (Script, Served, Client) {
    let upstream = Script::start(|peer| {
        peer.head();
        peer.rest();
    });
    let served = Served::start_with(upstream.address, sections, &[], &KEY);
    let mut client = Client::connect(served.address);
    client.send(format!("GET /photos/k HTTP/1.1\r\nHost: {}\r\n\r\n", served.address));
    eventually("the request arrives", || !upstream.heads().is_empty());
    (upstream, served, client)
}
