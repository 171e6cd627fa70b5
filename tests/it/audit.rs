//! The audit log of the running proxy: what it records of requests, and what depends on it.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use serde_json::Value;

use crate::support::{Answer, Client, KEY, Script, Served, ask, eventually, oss, run};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nx-oss-request-id: 665F0000\r\n\r\nok";
const TOKEN: &str = "0123456789abcdef0123456789abcdef01234567";
const ADMIN_TOKEN: &str = "f123456789abcdef0123456789abcdef01234567";

/// A proxy with an audit log, and two callers: one of `data/a/`, and one that may do everything.
struct AuditedProxy {
    proxy: Served,
    path: PathBuf,
    directory: tempfile::TempDir,
}

impl AuditedProxy {
    /// Starts it with more settings of `[audit]`.
    fn start(upstream: SocketAddr, more: &str) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("audit.jsonl");
        let sections = format!(
            "[[listen]]\naddress = \"127.0.0.1:0\"\nidentify = [\"token\", \"key\"]\n\
             [admin]\naddress = \"127.0.0.1:0\"\n\
             [[caller]]\nname = \"team-a\"\ntoken = \"env:TOKEN\"\nallow = [{{ group = [\"read\", \"list\", \"write\", \
             \"delete\"], bucket = \"files\", prefix = \"a/\" }}]\n\
             [[caller]]\nname = \"admin\"\ntoken = \"env:ADMIN_TOKEN\"\nallow = \"everything\"\n\
             [audit]\n{more}\n"
        );
        let sections = sections.replace("PATH", path.to_str().expect("a path"));
        let config = directory.path().join("proxy.toml");
        fs::write(&config, Served::text(upstream, &sections)).expect("written");
        let variables: Vec<(&str, &str)> =
            KEY.into_iter().chain([("TOKEN", TOKEN), ("ADMIN_TOKEN", ADMIN_TOKEN)]).collect();
        Self { proxy: Served::of_file(&config, &variables), path, directory }
    }

    fn to_file(upstream: SocketAddr) -> Self {
        Self::start(upstream, "sink = \"file:PATH\"")
    }

    fn send(&self, token: &str, line: &str, headers: &str, body: &[u8]) -> Answer {
        let (method, target) = line.split_once(' ').expect("a method and a target");
        let headers = format!("Authorization: Bearer {token}\r\n{headers}");
        let mut client = Client::connect(self.proxy.address);
        client.ask(method, target, &self.proxy.address.to_string(), &headers, body)
    }

    /// Returns the records of an event.
    fn records(&self, event: &str) -> Vec<Value> {
        records(&self.path).into_iter().filter(|record| record["event"] == event).collect()
    }
}

fn records(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).expect("a file");
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

fn id_of(answer: &Answer) -> String {
    answer.header("x-proxy-request-id").expect("an id").to_owned()
}

#[test]
fn each_request_has_its_decision_and_each_allowed_one_its_end() {
    let upstream = Script::answering(OK);
    let audited = AuditedProxy::to_file(upstream.address);
    let trace = "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\n";
    let allowed = audited.send(TOKEN, "PUT /files/a/x", trace, b"body");
    let denied = audited.send(TOKEN, "PUT /files/b/x", "x-oss-copy-source: /files/a/x\r\n", b"");
    let unknown = audited.send("another-token-of-40-characters-000000000", "GET /files/a/x", "", b"");
    let signed = Client::connect(audited.proxy.address).ask(
        "GET",
        "/files/a/x",
        &audited.proxy.address.to_string(),
        "Date: Tue, 01 Dec 2026 00:00:00 GMT\r\nAuthorization: OSS somebody-elses-key:AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n",
        b"",
    );
    let odd = audited.send(TOKEN, "GET /files/a/x?future=1", "", b"");
    let statuses = [&allowed, &denied, &unknown, &signed, &odd].map(|answer| answer.status);
    assert_eq!(statuses, [200, 403, 401, 403, 400]);
    eventually("the end is recorded", || audited.records("completion").len() == 1);
    let decisions = audited.records("decision");
    let ids: Vec<&str> = decisions.iter().filter_map(|record| record["id"].as_str()).collect();
    assert_eq!(ids, [&allowed, &denied, &unknown, &signed, &odd].map(id_of));

    let put = &decisions[0];
    let expected = serde_json::json!({
        "decision": "allow", "caller": "team-a", "proof": "bearer", "client": "127.0.0.1",
        "operation": "PutObject", "bucket": "files", "key": "a/x",
        "signer": { "provider": "default/env/OSS", "key_id": "LTAItest…" },
        "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736", "configuration": 1,
        "permissions": [{
            "action": "oss:PutObject", "resource": "acs:oss:*:*:files/a/x",
            "statement": { "effect": "Allow", "document": 1, "statement": 1 },
        }],
    });
    for (name, value) in expected.as_object().expect("an object") {
        assert_eq!(&put[name], value, "{name}: {put}");
    }
    let copy = &decisions[1];
    assert_eq!((copy["decision"].as_str(), copy["reason"].as_str()), (Some("deny"), Some("denied")));
    let needs = copy["permissions"].as_array().expect("a list");
    let needs: Vec<(&str, bool)> = needs
        .iter()
        .map(|one| (one["resource"].as_str().expect("text"), one["statement"].is_object()))
        .collect();
    assert_eq!(needs, [("acs:oss:*:*:files/b/x", false), ("acs:oss:*:*:files/a/x", true)]);
    assert_eq!(decisions[2]["reason"], "no-identity");
    assert!(decisions[2].get("caller").is_none());
    // A claim is not an identity.
    assert_eq!(decisions[3]["unverified_key_id"], "somebody…");
    assert!(decisions[3].get("caller").is_none() && decisions[3].get("key_id").is_none());
    assert!(decisions[4]["not_understood"].as_str().is_some_and(|text| text.contains("future")));

    let end = &audited.records("completion")[0];
    assert_eq!(end["id"], id_of(&allowed));
    let fields = ["status", "end", "bytes_in", "bytes_out", "oss_request_id"].map(|name| end[name].clone());
    assert_eq!(Value::from(fields.to_vec()), serde_json::json!([200, "whole", 4, 2, "665F0000"]));
    let text = fs::read_to_string(&audited.path).expect("a file");
    assert!(!text.contains(TOKEN) && !text.contains(KEY[1].1), "{text}");
}

#[test]
fn the_permissions_of_a_caller_that_is_not_judged_are_recorded_too() {
    let upstream = Script::answering(OK);
    let audited = AuditedProxy::to_file(upstream.address);
    let body = b"<Delete><Object><Key>a/1</Key></Object><Object><Key>b/2</Key></Object></Delete>";
    assert_eq!(audited.send(ADMIN_TOKEN, "POST /files?delete", "", body).status, 200);
    // The body is sent as it came.
    assert_eq!(upstream.heads().len(), 1);
    assert!(upstream.heads()[0].contains(&format!("content-length: {}", body.len())));
    let decision = &audited.records("decision")[0];
    let keys: Vec<&str> = decision["permissions"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|one| one["resource"].as_str())
        .collect();
    assert_eq!(keys, ["acs:oss:*:*:files/a/1", "acs:oss:*:*:files/b/2"]);
    assert_eq!(audited.send(ADMIN_TOKEN, "GET /files/a?future=1", "", b"").status, 200);
    assert!(audited.records("decision")[1]["not_understood"].is_string());
}

#[test]
fn a_key_that_is_handed_out_is_recorded_by_its_id() {
    let directory = tempfile::tempdir().expect("a directory");
    let (path, config) = (directory.path().join("audit"), directory.path().join("proxy.toml"));
    let sections = format!(
        "[[listen]]\naddress = \"127.0.0.1:0\"\nserve = \"credentials\"\nidentify = [\"token\"]\n\
         [admin]\naddress = \"127.0.0.1:0\"\n[hand_out]\nmaster = [\"env:ADMIN_TOKEN\"]\n\
         [[caller]]\nname = \"team-a\"\ntoken = \"env:TOKEN\"\nallow = \"read\"\n[audit]\nsink = \"file:{}\"\n",
        path.display()
    );
    fs::write(&config, Served::text(([127, 0, 0, 1], 1).into(), &sections)).expect("written");
    let variables: Vec<(&str, &str)> =
        KEY.into_iter().chain([("TOKEN", TOKEN), ("ADMIN_TOKEN", ADMIN_TOKEN)]).collect();
    let proxy = Served::of_file(&config, &variables);
    let host = proxy.address.to_string();
    let authorization = format!("Authorization: Bearer {TOKEN}\r\n");
    let answer = Client::connect(proxy.address).ask("GET", "/credentials", &host, &authorization, b"");
    assert_eq!(answer.status, 200, "{}", answer.text());
    let key: Value = serde_json::from_str(&answer.text()).expect("JSON");
    assert_eq!(Client::connect(proxy.address).ask("GET", "/credentials", &host, "", b"").status, 401);
    let all = records(&path);
    let decisions: Vec<&Value> = all.iter().filter(|record| record["event"] == "decision").collect();
    let fields = ["decision", "operation", "caller", "proof", "key_id", "key_expires"];
    let fields = fields.map(|name| decisions[0][name].clone());
    let expected =
        serde_json::json!(
            ["allow", "HandOutKey", "team-a", "bearer", key["AccessKeyId"], key["Expiration"],]
        );
    assert_eq!(Value::from(fields.to_vec()), expected);
    assert_eq!((&decisions[1]["decision"], &decisions[1]["key_id"]), (&Value::from("deny"), &Value::Null));
    let text = fs::read_to_string(&path).expect("a file");
    for secret in ["AccessKeySecret", "SecurityToken"] {
        assert!(!text.contains(key[secret].as_str().expect("text")), "{secret}");
    }
}

#[test]
fn suggested_documents_allow_what_was_done_and_nothing_else() {
    let upstream = Script::answering(OK);
    let audited = AuditedProxy::to_file(upstream.address);
    let batch = b"<Delete><Object><Key>b/2/x</Key></Object><Object><Key>b/2/y</Key></Object></Delete>";
    let done = [
        ("PUT /files/a/1/x", "", &b"x"[..]),
        ("GET /files/a/1/y?versionId=1", "", b""),
        ("PUT /files/a/2/z", "x-oss-copy-source: /photos/c/x\r\nx-oss-tagging: k=v\r\n", b""),
        ("GET /files?prefix=a%2F1%2F", "", b""),
        ("POST /files?delete", "", batch),
    ];
    for (line, headers, body) in done {
        assert_eq!(audited.send(ADMIN_TOKEN, line, headers, body).status, 200, "{line}");
    }
    // What is denied is not suggested, and what cannot be described is only counted.
    assert_eq!(audited.send(TOKEN, "GET /files/b/x", "", b"").status, 403);
    assert_eq!(audited.send(ADMIN_TOKEN, "GET /files/a?future=1", "", b"").status, 200);
    let log = audited.path.to_str().expect("a path").to_owned();
    let suggest = |more: &[&str]| {
        let arguments: Vec<&str> = ["audit", "suggest", &log].iter().chain(more).copied().collect();
        let (code, out, error) = run(&arguments, &KEY);
        assert_eq!((code, error.as_str()), (Some(0), ""));
        out
    };
    let all = suggest(&[]);
    assert!(all.contains("# admin: 6 requests\n# not included: 1 requests"), "{all}");
    assert!(all.contains("# the role that signs, for all of them: 6 requests\n"), "{all}");
    assert!(!all.contains("# team-a"), "{all}");
    let config = audited.directory.path().join("proxy.toml");
    let document = suggest(&["--caller", "admin"]);
    let limited = fs::read_to_string(&config).expect("a file");
    let limited = limited.replace("allow = \"everything\"", &format!("policy = ['''{document}''']"));
    fs::write(&config, limited).expect("written");
    assert_eq!(audited.proxy.reload().0, 200, "{document}");
    for (line, headers, body) in done {
        assert_eq!(audited.send(ADMIN_TOKEN, line, headers, body).status, 200, "{line}");
    }
    for line in [
        "PUT /files/b/2/x",
        "GET /files/a/1/y",
        "GET /files?prefix=a%2F",
        "GET /photos/d/x",
        "DELETE /files/a/1/x",
        "PUT /files/a/1/x?acl",
    ] {
        assert_eq!(audited.send(ADMIN_TOKEN, line, "", b"").status, 403, "{line}");
    }
    // The statements of the other caller allowed nothing.
    let config = config.to_str().expect("a path");
    let variables = [KEY[0], KEY[1], ("TOKEN", TOKEN), ("ADMIN_TOKEN", ADMIN_TOKEN)];
    let (code, out, _) = run(&["audit", "suggest", &log, "--config", config], &variables);
    let unused: Vec<&str> =
        out.lines().skip_while(|line| !line.starts_with("# statements")).skip(1).collect();
    assert_eq!(code, Some(0));
    assert!(unused.iter().all(|line| line.starts_with("# team-a: ")) && unused.len() == 2, "{unused:?}");
}

#[test]
fn the_record_is_on_the_disk_when_the_upstream_receives_the_request() {
    let path: &'static Mutex<Option<PathBuf>> = Box::leak(Box::default());
    let upstream = Script::start(move |peer| {
        while let Some(head) = peer.head() {
            let path = path.lock().expect("no panic").clone().expect("a path");
            let target = head.split(' ').nth(1).expect("a target").to_owned();
            let known = records(&path).iter().any(|record| {
                record["event"] == "decision"
                    && record["key"].as_str().is_some_and(|key| target.ends_with(key))
            });
            peer.body(&head);
            peer.send(if known { OK } else { "HTTP/1.1 500 No Record\r\nContent-Length: 0\r\n\r\n" });
        }
    });
    let audited = AuditedProxy::to_file(upstream.address);
    *path.lock().expect("no panic") = Some(audited.path.clone());
    for index in 0..20 {
        let answer = audited.send(TOKEN, &format!("PUT /files/a/{index}"), "", b"x");
        assert_eq!(answer.status, 200, "{index}");
    }
}

#[test]
fn each_stored_object_has_its_record_whenever_the_process_is_killed() {
    for stop_after in [1, 40, 150] {
        let oss = oss();
        let audited = AuditedProxy::to_file(oss.address);
        let address = audited.proxy.address;
        let clients: Vec<_> = (0..4)
            .map(|client| {
                std::thread::spawn(move || {
                    for index in 0.. {
                        let head = format!(
                            "PUT /files/a/{client}-{index} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {TOKEN}\r\nContent-Length: 1\r\n\r\nx"
                        );
                        let Ok(stream) = std::net::TcpStream::connect(address) else { return };
                        use std::io::{Read as _, Write as _};
                        let mut stream = stream;
                        let mut answer = [0; 12];
                        if stream.write_all(head.as_bytes()).is_err() || stream.read_exact(&mut answer).is_err() {
                            return;
                        }
                    }
                })
            })
            .collect();
        eventually("objects are stored", || oss.recorder.count() >= stop_after);
        audited.proxy.signal("KILL");
        clients.into_iter().for_each(|client| client.join().expect("no panic"));
        let text = fs::read_to_string(&audited.path).expect("a file");
        let stored = oss.recorder.requests();
        assert!(stored.len() >= stop_after);
        for request in stored {
            let key = request.target.rsplit('/').next().expect("a key").to_owned();
            assert!(text.contains(&format!("\"key\":\"a/{key}\"")), "{key} has no record");
        }
    }
}

#[test]
fn requests_are_rejected_while_the_log_they_depend_on_cannot_be_written() {
    let upstream = Script::answering(OK);
    let audited = AuditedProxy::start(upstream.address, "sink = \"unix:PATH\"");
    let answer = audited.send(TOKEN, "GET /files/a/x", "", b"");
    assert_eq!((answer.status, answer.refused()), (503, Some("audit-unavailable")), "{}", answer.text());
    assert!(upstream.heads().is_empty());
    let ready = ask(audited.proxy.admin(), "GET", "/readyz", b"");
    assert_eq!((ready.status, ready.text().trim()), (503, "the audit log cannot be written"));
    let metrics = ask(audited.proxy.admin(), "GET", "/metrics", b"").text();
    assert!(metrics.contains("oss_proxy_audit_failing 1\n"), "{metrics}");
    drop(audited);

    let audited = AuditedProxy::start(upstream.address, "sink = \"unix:PATH\"\non_failure = \"drop\"");
    assert_eq!(audited.send(TOKEN, "GET /files/a/x", "", b"").status, 200);
    eventually("the loss is counted", || {
        let metrics = ask(audited.proxy.admin(), "GET", "/metrics", b"").text();
        let line = metrics.lines().find_map(|line| {
            line.strip_prefix("oss_proxy_audit_records_total{result=\"dropped\"} ")?.parse::<u64>().ok()
        });
        line.is_some_and(|dropped| dropped >= 2)
    });
    assert_eq!(ask(audited.proxy.admin(), "GET", "/readyz", b"").status, 200);
}

#[test]
fn nothing_is_lost_when_the_file_is_rotated_the_configuration_reloaded_or_the_process_ends() {
    let upstream = Script::answering(OK);
    let audited = AuditedProxy::to_file(upstream.address);
    let ask = |index: usize| {
        let answer = audited.send(TOKEN, &format!("GET /files/a/{index}"), "", b"");
        assert_eq!(answer.status, 200);
    };
    ask(0);
    let moved = audited.directory.path().join("audit.1");
    fs::rename(&audited.path, &moved).expect("moved");
    audited.proxy.signal("USR1");
    eventually("the file is there again", || {
        ask(1);
        audited.path.exists()
    });
    let config = audited.directory.path().join("proxy.toml");
    let text = fs::read_to_string(&config).expect("a file").replace("prefix = \"a/\"", "prefix = \"a\"");
    fs::write(&config, &text).expect("written");
    assert_eq!(audited.proxy.reload().0, 200);
    fs::write(&config, text.replace("everything", "nothing-known")).expect("written");
    assert_eq!(audited.proxy.reload().0, 400);
    ask(2);
    let AuditedProxy { proxy, path, directory: _directory } = audited;
    proxy.signal("TERM");
    assert_eq!(proxy.end().0, Some(0));
    let all: Vec<Value> = records(&moved).into_iter().chain(records(&path)).collect();
    let count = |event: &str| all.iter().filter(|record| record["event"] == event).count();
    assert_eq!(count("decision"), count("completion"));
    assert_eq!(count("decision"), upstream.heads().len());
    let configurations: Vec<&Value> =
        all.iter().filter(|record| record["event"] == "configuration").collect();
    let numbers: Vec<Option<u64>> =
        configurations.iter().map(|record| record["configuration"].as_u64()).collect();
    assert!(numbers.starts_with(&[Some(1), Some(2)]) && numbers.contains(&None), "{numbers:?}");
    let digest = |record: &Value| record["policies"][0]["documents"][0].as_str().map(str::to_owned);
    assert!(digest(configurations[0]).is_some());
    assert_ne!(digest(configurations[0]), digest(configurations[1]));
    let actions = all.iter().filter(|record| record["event"] == "admin" && record["action"] == "reload");
    assert_eq!(actions.count(), 2);
    let last = all.iter().rfind(|record| record["event"] == "decision").expect("a decision");
    assert!(last["configuration"].as_u64().is_some_and(|number| number >= 2));
}
