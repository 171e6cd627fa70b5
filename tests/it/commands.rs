//! The program as its users start it: exit codes, what it prints, what it logs, how it stops.

use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::{Client, ID, SECRET, Script, TOKEN, ask, oss};

/// The program with an empty environment.
fn program(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_oss-signing-proxy"));
    command.args(arguments).env_clear().stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn run(arguments: &[&str], environment: &[(&str, &str)]) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } =
        program(arguments).envs(environment.iter().copied()).output().expect("it runs");
    (
        status.code(),
        String::from_utf8_lossy(&stdout).into_owned(),
        String::from_utf8_lossy(&stderr).into_owned(),
    )
}

const KEY: [(&str, &str); 2] = [("OSS_ACCESS_KEY_ID", ID), ("OSS_ACCESS_KEY_SECRET", SECRET)];

/// `serve` as a process. It is killed with this.
struct Served {
    child: Child,
    address: SocketAddr,
    log: BufReader<std::process::ChildStderr>,
    seen: String,
}

impl Served {
    /// Starts it on free ports before `upstream`, with the log in JSON.
    fn start(upstream: SocketAddr, arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        let mut file = tempfile::NamedTempFile::new().expect("a file");
        let text = format!(
            "[upstream]\nregion = \"cn-hangzhou\"\nendpoint = \"http://oss-cn-hangzhou.aliyuncs.com\"\nconnect = \"{upstream}\"\n"
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
        let address = loop {
            let start = seen.len();
            assert!(log.read_line(&mut seen).expect("a line") > 0, "it ended: {seen}");
            let line: Value = serde_json::from_str(&seen[start..]).expect("json");
            if line["msg"] == "listening" {
                break line["address"].as_str().and_then(|text| text.parse().ok()).expect("an address");
            }
        };
        Self { child, address, log, seen }
    }

    fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        let sent = Command::new("kill").args([&format!("-{name}"), &id]).status().expect("kill");
        assert!(sent.success());
    }

    /// Waits for the end. The exit code, and the whole log.
    fn end(mut self) -> (Option<i32>, String) {
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

#[test]
fn the_demo_shows_what_the_proxy_is_for() {
    let (code, out, err) = run(&["demo", "--exit"], &[]);
    assert_eq!((code, err.as_str()), (Some(0), ""), "{out}");
    assert_eq!(out.matches(" ok\n").count(), 4, "{out}");
    assert!(!out.contains('\x1b'), "no colours where nobody looks: {out:?}");
}

#[test]
fn the_demo_finds_other_ports_when_the_usual_are_taken() {
    // Whoever has them: this test, or a neighbour.
    let taken: Vec<_> =
        [8770, 8771, 8780].map(|port| TcpListener::bind(("127.0.0.1", port))).into_iter().collect();
    let (code, out, err) = run(&["demo", "--exit"], &[]);
    assert_eq!(code, Some(0), "{out}{err}");
    drop(taken);
}

#[test]
fn environment_credentials_and_a_region_are_enough() {
    let (code, out, err) = run(&["check", "--region", "cn-hangzhou"], &[]);
    assert_eq!(code, Some(0), "{out}{err}");
    let free =
        TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address").to_string();
    let mut child = program(&["--region", "cn-hangzhou", "--listen", &free, "--admin-listen", "off"])
        .envs(KEY)
        .spawn()
        .expect("it starts");
    let deadline = Instant::now() + Duration::from_secs(10);
    while std::net::TcpStream::connect(&free).is_err() {
        assert!(Instant::now() < deadline, "it does not listen");
        std::thread::sleep(Duration::from_millis(5));
    }
    child.kill().expect("killed");
    child.wait().expect("an end");
}

#[test]
fn a_wrong_access_key_in_the_environment_ends_the_start_with_78() {
    let rows: [(&[(&str, &str)], &str); 7] = [
        (&[("OSS_ACCESS_KEY_ID", "LTAIx")], "OSS_ACCESS_KEY_SECRET is not"),
        (&[("ALIBABA_CLOUD_ACCESS_KEY_SECRET", "s")], "ALIBABA_CLOUD_ACCESS_KEY_ID is not"),
        (&[("OSS_ACCESS_KEY_ID", "LTAIx"), ("OSS_ACCESS_KEY_SECRET", "LTAIx")], "the same"),
        (&[("OSS_ACCESS_KEY_ID", "LTAIx"), ("OSS_ACCESS_KEY_SECRET", "ab****yz")], "****"),
        (&[("OSS_ACCESS_KEY_ID", "LTAIx"), ("OSS_ACCESS_KEY_SECRET", "ab\n")], "line break"),
        (&[("OSS_ACCESS_KEY_ID", "STS.x"), ("OSS_ACCESS_KEY_SECRET", "s3cret")], "no security token"),
        (
            &[
                ("OSS_ACCESS_KEY_ID", "LTAIx"),
                ("OSS_ACCESS_KEY_SECRET", "s3cret"),
                ("OSS_STS_ROLE_ARN", "acs:ram::1:role/r"),
            ],
            "AssumeRole",
        ),
    ];
    for (environment, expected) in rows {
        let (code, _, err) = run(
            &["--region", "cn-hangzhou", "--listen", "127.0.0.1:0", "--admin-listen", "off"],
            environment,
        );
        assert_eq!(code, Some(78), "{err}");
        assert!(err.contains(expected), "{err}");
        assert!(!err.contains("s3cret") && !err.contains("ab**"), "{err}");
        let (code, _, err) = run(&["check", "--region", "cn-hangzhou"], environment);
        assert_eq!(code, Some(78), "check says what serve says: {err}");
        assert!(err.contains(expected), "{err}");
    }
}

#[test]
fn every_mistake_of_a_configuration_is_told_at_once_with_78() {
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    let text = "[[listen]]\naddress = \"0.0.0.0:8770\"\n[upstream]\nregoin = \"cn-hangzhou\"\naddressing = \"cname\"\n";
    std::io::Write::write_all(&mut file, text.as_bytes()).expect("written");
    let path = file.path().to_str().expect("a path");
    let (code, _, err) = run(&["check", "--config", path], &[]);
    assert_eq!(code, Some(78));
    for expected in [":2:", "unsafe_open", ":4:", "regoin", "region", "bucket"] {
        assert!(err.contains(expected), "{expected}: {err}");
    }
    let (code, _, err) = run(&["serve", "--config", path], &KEY);
    assert_eq!(code, Some(78), "{err}");
    let text = "[upstream]\nregion = \"cn-hangzhou\"\n[credentials.a]\ntype = \"static\"\naccess_key_id = \"LTAIx\"\n\
                access_key_secret = \"LTAIx\"\n[credentials.b]\ntype = \"static\"\naccess_key_id = \"STS.x\"\naccess_key_secret = \"s\"\n";
    std::fs::write(file.path(), text).expect("written");
    let (code, _, err) = run(&["check", "--config", path], &[]);
    assert_eq!(code, Some(78));
    for expected in [":3: credentials.a", "the same", ":7: credentials.b", "no security token"] {
        assert!(err.contains(expected), "{expected}: {err}");
    }
    let (code, _, err) = run(&["check", "--config", "/nowhere/proxy.toml"], &[]);
    assert_eq!(code, Some(78));
    assert!(err.contains("/nowhere/proxy.toml"), "{err}");
}

#[test]
fn a_wrong_command_line_is_a_usage_error() {
    assert_eq!(run(&["--no-such-flag"], &[]).0, Some(2));
    assert_eq!(run(&["no-such-command"], &[]).0, Some(2));
    let (code, out, _) = run(&["--help"], &[]);
    assert_eq!(code, Some(0));
    assert!(out.contains("demo") && out.contains("--region"), "{out}");
    assert_eq!(run(&["version"], &[]).1.trim(), concat!("oss-signing-proxy ", env!("CARGO_PKG_VERSION")));
}

#[test]
fn a_port_in_use_is_named_with_the_remedy() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    let (code, _, err) =
        run(&["--region", "cn-hangzhou", "--listen", &address, "--admin-listen", "off"], &KEY);
    assert_eq!(code, Some(1));
    assert!(err.contains(&address) && err.contains("already in use") && err.contains("--listen"), "{err}");
}

#[test]
fn each_request_is_one_event_and_a_drain_exits_with_0() {
    let oss = oss();
    let served = Served::start(oss.address, &[], &KEY);
    ask(served.address, "PUT", "/photos/k", b"12345");
    ask(served.address, "GET", "/photos/k", b"");
    ask(served.address, "GET", "/photos/%zz", b"");
    served.signal("TERM");
    let (code, log) = served.end();
    assert_eq!(code, Some(0), "{log}");
    let events: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).expect("json")).collect();
    let requests: Vec<&Value> = events.iter().filter(|event| event["msg"] == "request").collect();
    assert_eq!(requests.len(), 3, "{log}");
    let put = requests[0];
    for (field, expected) in [
        ("op", "PutObject"),
        ("bucket", "photos"),
        ("caller", "open"),
        ("creds", "chain/env/OSS"),
        ("end", "whole"),
    ] {
        assert_eq!(put[field], expected, "{field}: {put}");
    }
    assert_eq!((put["status"].as_u64(), put["in"].as_u64()), (Some(200), Some(5)), "{put}");
    assert!(
        put["oss_request_id"].is_string() && put["req_id"].is_string() && put["dur_ms"].is_number(),
        "{put}"
    );
    assert_eq!((requests[1]["out"].as_u64(), requests[1]["op"].as_str()), (Some(5), Some("GetObject")));
    assert_eq!(
        (requests[2]["status"].as_u64(), requests[2]["refused"].as_str()),
        (Some(400), Some("bad-request"))
    );
    assert_eq!(events.last().map(|event| event["requests"].as_u64()), Some(Some(3)), "{log}");
}

/// A proxy with a request in flight, which the upstream has received and never answers.
fn in_flight() -> (Script, Served, Client) {
    let upstream = Script::start(|peer| {
        peer.head();
        peer.rest();
    });
    let served = Served::start(upstream.address, &[], &KEY);
    let mut client = Client::connect(served.address);
    client.send(format!("GET /photos/k HTTP/1.1\r\nHost: {}\r\n\r\n", served.address));
    while upstream.heads().is_empty() {
        std::thread::sleep(Duration::from_millis(5));
    }
    (upstream, served, client)
}

#[test]
fn a_client_that_leaves_is_an_event_too() {
    let (upstream, served, client) = in_flight();
    drop(client);
    upstream.rest();
    served.signal("TERM");
    let (_, log) = served.end();
    let event = log
        .lines()
        .find(|line| line.contains("\"msg\":\"request\""))
        .unwrap_or_else(|| panic!("no event: {log}"));
    let event: Value = serde_json::from_str(event).expect("json");
    assert_eq!(
        (event["end"].as_str(), event["op"].as_str()),
        (Some("client-left"), Some("GetObject")),
        "{event}"
    );
}

#[test]
fn a_second_signal_forces_the_end_with_1() {
    let (_upstream, served, _client) = in_flight();
    served.signal("TERM");
    std::thread::sleep(Duration::from_millis(100));
    served.signal("INT");
    let (code, log) = served.end();
    assert_eq!(code, Some(1), "{log}");
}

#[test]
fn an_upstream_that_is_down_never_ends_the_start_and_is_logged_once() {
    let free = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
    let served = Served::start(free, &[], &KEY);
    for _ in 0..5 {
        assert_eq!(ask(served.address, "GET", "/photos/k", b"").status, 502);
    }
    served.signal("TERM");
    let (code, log) = served.end();
    assert_eq!(code, Some(0));
    let told: Vec<&str> = log.lines().filter(|line| line.contains("cannot be reached")).collect();
    assert_eq!(told.len(), 1, "{log}");
    assert!(told[0].contains(&free.to_string()) && told[0].contains("refused"), "{}", told[0]);
}

#[test]
fn at_no_level_is_a_secret_in_the_log() {
    let oss = oss();
    let triple = [
        ("OSS_ACCESS_KEY_ID", "STS.testkeyid"),
        ("OSS_ACCESS_KEY_SECRET", SECRET),
        ("OSS_SESSION_TOKEN", TOKEN),
    ];
    for signature in ["v4", "v1"] {
        let served = Served::start(oss.address, &["--log-level", "trace", "--signature", signature], &triple);
        assert_eq!(ask(served.address, "PUT", "/photos/k", b"v").status, 200);
        ask(
            served.address,
            "GET",
            "/photos/k?x-oss-signature=planted-parameter&Signature=planted-parameter",
            b"",
        );
        let mut client = Client::connect(served.address);
        client.ask("GET", "/photos/k", "evil.example", "Authorization: OSS planted-header\r\n", b"");
        served.signal("TERM");
        let (_, log) = served.end();
        for planted in [SECRET, TOKEN, "planted-parameter", "planted-header", "OSS4-HMAC"] {
            assert!(!log.contains(planted), "{planted}: {log}");
        }
    }
}

#[test]
fn text_of_callers_cannot_forge_a_line_of_the_log() {
    let upstream =
        Script::answering("HTTP/1.1 200 OK\r\nx-oss-request-id: a\"b\\\r\nContent-Length: 0\r\n\r\n");
    let served = Served::start(upstream.address, &[], &KEY);
    ask(served.address, "GET", "/photos/a%0A%7B%22msg%22%3A%22forged%22%7D", b"");
    Client::connect(served.address).ask("GET", "/k", "evil.example", "Origin: \"x\r\n", b"");
    served.signal("TERM");
    let (_, log) = served.end();
    assert!(log.lines().all(|line| serde_json::from_str::<Value>(line).is_ok()), "{log}");
    assert!(log.contains("a\\\"b\\\\"), "the id of OSS is there, escaped: {log}");
}

#[test]
fn the_embedded_oss_runs_alone_and_misbehaves_on_request() {
    let mut child =
        program(&["emulate", "--listen", "127.0.0.1:0", "--bucket", "photos", "--fault", "status=503"])
            .spawn()
            .expect("it starts");
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("output")).read_line(&mut line).expect("a line");
    let address: SocketAddr = line
        .split_once("http://")
        .and_then(|(_, rest)| rest.split(',').next()?.parse().ok())
        .unwrap_or_else(|| panic!("no address in {line}"));
    assert_eq!(ask(address, "GET", "/photos/k", b"").status, 503);
    child.kill().expect("killed");
    child.wait().expect("an end");
    let (code, _, err) = run(&["emulate", "--listen", "0.0.0.0:0"], &[]);
    assert_eq!(code, Some(2), "{err}");
}

#[test]
fn large_bodies_stream_in_constant_memory() {
    const TOTAL: usize = 256 * 1024 * 1024;
    const PIECE: usize = 64 * 1024;
    let upstream = Script::start(|peer| {
        let head = peer.head().expect("a head");
        if head.starts_with("PUT") {
            for _ in 0..TOTAL / PIECE {
                peer.take(PIECE);
            }
            peer.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        } else {
            peer.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {TOTAL}\r\n\r\n"));
            for _ in 0..TOTAL / PIECE {
                peer.send([b'x'; PIECE]);
            }
        }
    });
    let served = Served::start(upstream.address, &[], &KEY);
    let mut client = Client::connect(served.address);
    client.send(format!(
        "PUT /photos/k HTTP/1.1\r\nHost: {}\r\nContent-Length: {TOTAL}\r\n\r\n",
        served.address
    ));
    for _ in 0..TOTAL / PIECE {
        client.send([b'x'; PIECE]);
    }
    assert_eq!(client.answer("PUT").map(|answer| answer.status), Some(200));
    let got = Client::connect(served.address).ask("GET", "/photos/k", &served.address.to_string(), "", b"");
    assert!(got.whole && got.body.len() == TOTAL);
    let peak = peak_kib(served.child.id());
    assert!(peak < 64 * 1024, "the proxy had {peak} KiB at once");
}

/// The most memory that a process has had at once.
fn peak_kib(id: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).expect("the status of the process");
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).expect("a peak");
    line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).expect("a number")
}
