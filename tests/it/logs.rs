//! The content of the log, and what must never be in it.

use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::{Client, KEY, SECRET, Script, Served, TOKEN, ask, in_flight, oss};

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
        ("creds", "default/env/OSS"),
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

#[test]
fn a_client_that_leaves_is_an_event_too() {
    let (upstream, served, client) = in_flight();
    client.reset();
    upstream.rest();
    let begun = Instant::now();
    served.signal("TERM");
    let (code, log) = served.end();
    assert!(code == Some(0) && begun.elapsed() < Duration::from_secs(5), "nothing had to be cut: {log}");
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
fn an_upstream_that_is_down_never_ends_the_start_and_is_logged_once() {
    let free = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
    let served = Served::start(free, &[], &KEY);
    for _ in 0..5 {
        assert_eq!(ask(served.address, "GET", "/photos/k", b"").status, 502);
    }
    served.signal("TERM");
    let (code, log) = served.end();
    assert_eq!(code, Some(0));
    let told: Vec<&str> = log.lines().filter(|line| line.contains("upstream unreachable")).collect();
    assert_eq!(told.len(), 1, "{log}");
    for words in [&free.to_string(), "refused", "check `endpoint` and `connect`", "doctor"] {
        assert!(told[0].contains(words), "{words}: {}", told[0]);
    }
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
fn on_a_terminal_the_log_is_lines_for_a_person_unless_json_is_asked_for() {
    let oss = oss();
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(&file, Served::text(oss.address, "")).expect("written");
    for (format, is_json) in [("auto", false), ("text", false), ("json", true)] {
        // `script` gives it a terminal, and forwards what is written there.
        let line = format!(
            "echo $$; exec {} serve --config {} --listen 127.0.0.1:0 --admin-listen 127.0.0.1:0 --log-format {format}",
            env!("CARGO_BIN_EXE_oss-signing-proxy"),
            file.path().display()
        );
        let mut terminal = Command::new("script");
        terminal.args(["-qefc", &line, "/dev/null"]).env_clear().env("PATH", "/usr/bin:/bin").envs(KEY);
        let mut terminal =
            terminal.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().expect("script of util-linux");
        let lines = BufReader::new(terminal.stdout.take().expect("what is shown")).lines();
        let mut lines = lines.map(|line| line.expect("text").trim_end().to_owned());
        let id = lines.next().expect("the id of the process");
        let mut log = Vec::new();
        for line in lines {
            if line.contains("admin listening") {
                assert!(Command::new("kill").args(["-TERM", &id]).status().expect("kill").success());
            }
            log.push(line);
        }
        assert_eq!(terminal.wait().expect("an end").code(), Some(0), "{log:?}");
        let listening = log.iter().find(|line| line.contains("listening")).expect("it listens");
        let is_text = listening.contains("Z info  listening address=127.0.0.1:");
        assert_eq!(
            (is_text, serde_json::from_str::<Value>(listening).is_ok()),
            (!is_json, is_json),
            "{log:?}"
        );
    }
}
