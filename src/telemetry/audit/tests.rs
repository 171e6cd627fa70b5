//! The audit log as a whole: what its destination receives, and when.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::{
    AuditCompletion, AuditDecision, AuditFailureMode, AuditFormat, AuditLog, AuditNotice, AuditSettings,
    AuditSinkAddress, AuditSubject, AuditTrail, AuditUnavailable, AuditedPermission, AuditedResource,
    AuditedStatement, CallerPolicyDigests, KeyVisibility,
};
use crate::time::{Clock, Timestamp};

struct FixedClock;

impl Clock for FixedClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_unix_s(1_796_000_000)
    }
}

fn log(sink: AuditSinkAddress, on_failure: AuditFailureMode, format: AuditFormat) -> Arc<AuditLog> {
    let settings = AuditSettings { sink, format, keys: KeyVisibility::Plain, on_failure };
    Arc::new(AuditLog::start(settings, Arc::new(FixedClock)).expect("a log"))
}

fn trail(log: &Arc<AuditLog>, permissions: usize) -> AuditTrail {
    let permission = |index| AuditedPermission {
        action: "oss:DeleteObject",
        resource: AuditedResource {
            container: "data/".to_owned(),
            key: Some(format!("a/{index}")),
            is_tree: false,
        },
        statement: Some(AuditedStatement { effect: "Allow", document: 1, statement: 2 }),
    };
    let subject = AuditSubject {
        client: Some("127.0.0.1".to_owned()),
        caller: Some("team-a".into()),
        proof: Some("signature"),
        operation: Some("DeleteMultipleObjects"),
        bucket: Some("data".to_owned()),
        permissions: (0..permissions).map(permission).collect(),
        configuration: 7,
        ..AuditSubject::default()
    };
    AuditTrail::new(log, *b"000000000000000000000ABC", subject)
}

const END: AuditCompletion<'_> = AuditCompletion {
    status: Some(204),
    end: "whole",
    error: None,
    bytes_in: 3,
    bytes_out: 0,
    duration_ms: 12,
    oss_request_id: Some("665F"),
    oss_ec: None,
};

fn records(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).expect("a file");
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

#[tokio::test]
async fn a_decision_is_in_the_file_before_the_request_goes_on() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("audit");
    let log = log(AuditSinkAddress::File(path.clone()), AuditFailureMode::Block, AuditFormat::Json);
    let mut trail = trail(&log, 1);
    trail.decide(AuditDecision::Allow).await.expect("written");
    let expected = serde_json::json!({
        "time": "2026-11-30T00:53:20Z", "event": "decision", "id": "000000000000000000000ABC",
        "decision": "allow", "caller": "team-a", "proof": "signature", "client": "127.0.0.1",
        "operation": "DeleteMultipleObjects", "bucket": "data", "configuration": 7,
        "permissions": [{
            "action": "oss:DeleteObject", "resource": "acs:oss:*:*:data/a/0",
            "statement": { "effect": "Allow", "document": 1, "statement": 2 },
        }],
    });
    assert_eq!(records(&path), [expected]);
    // A request has one decision.
    trail.decide(AuditDecision::Deny("denied")).await.expect("nothing to write");
    trail.complete(&END);
    log.close();
    let expected = serde_json::json!({
        "time": "2026-11-30T00:53:20Z", "event": "completion", "id": "000000000000000000000ABC",
        "status": 204, "end": "whole", "bytes_in": 3, "bytes_out": 0, "duration_ms": 12,
        "oss_request_id": "665F",
    });
    assert_eq!(records(&path)[1..], [expected]);
    assert_eq!((log.status().written, log.status().dropped), (2, 0));
}

#[tokio::test]
async fn a_rejected_request_has_no_end() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("audit");
    let log = log(AuditSinkAddress::File(path.clone()), AuditFailureMode::Drop, AuditFormat::Json);
    let mut trail = trail(&log, 0);
    trail.decide(AuditDecision::Deny("denied")).await.expect("never waits");
    trail.complete(&END);
    log.close();
    let [record] = &records(&path)[..] else { panic!("{:?}", records(&path)) };
    assert_eq!((record["decision"].as_str(), record["reason"].as_str()), (Some("deny"), Some("denied")));
}

#[tokio::test]
async fn all_keys_of_a_batch_are_listed_in_numbered_records() {
    let directory = tempfile::tempdir().expect("a directory");
    for (sink, parts) in [("file", 5), ("syslog", 36)] {
        let path = directory.path().join(sink);
        let socket = (sink == "syslog").then(|| UnixDatagram::bind(&path).expect("a socket"));
        let address = match sink {
            "file" => AuditSinkAddress::File(path.clone()),
            _ => AuditSinkAddress::Syslog(path.clone()),
        };
        let log = log(address, AuditFailureMode::Drop, AuditFormat::Json);
        trail(&log, 1000).decide(AuditDecision::Allow).await.expect("never waits");
        let records: Vec<Value> = match socket {
            None => {
                log.close();
                records(&path)
            }
            Some(socket) => {
                let record = |_| {
                    let mut message = vec![0; 64 * 1024];
                    let length = socket.recv(&mut message).expect("a message");
                    assert!(length < 8192, "{length}");
                    let text = String::from_utf8(message[..length].to_vec()).expect("text");
                    let (head, record) = text.split_once(": ").expect("a head");
                    assert!(head.starts_with("<85>oss-signing-proxy["), "{head}");
                    serde_json::from_str(record).expect("JSON")
                };
                (0..parts).map(record).collect()
            }
        };
        assert_eq!(records.len(), parts, "{sink}");
        let mut keys = Vec::new();
        for (record, number) in records.iter().zip(1..) {
            assert_eq!((&record["part"], &record["parts"]), (&Value::from(number), &Value::from(parts)));
            assert_eq!(record["id"], "000000000000000000000ABC");
            assert_eq!(record["decision"], "allow");
            assert_eq!(record["caller"].is_string(), number == 1);
            let permissions = record["permissions"].as_array().expect("a list");
            keys.extend(permissions.iter().map(|one| one["resource"].as_str().expect("text").to_owned()));
        }
        let expected: Vec<String> = (0..1000).map(|index| format!("acs:oss:*:*:data/a/{index}")).collect();
        assert_eq!(keys, expected, "{sink}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_that_depends_on_a_destination_that_fails_is_rejected_in_time() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("socket");
    let log = log(AuditSinkAddress::Unix(path.clone()), AuditFailureMode::Block, AuditFormat::Json);
    let mut trail = trail(&log, 1);
    assert_eq!(trail.decide(AuditDecision::Allow).await, Err(AuditUnavailable));
    trail.complete(&END);
    // Once the server is there, it receives all that was recorded, in order.
    let listener = UnixListener::bind(&path).expect("a socket");
    let (stream, _) = listener.accept().expect("a connection");
    let mut lines = BufReader::new(stream).lines();
    for event in ["decision", "completion"] {
        let line = lines.next().expect("a line").expect("text");
        let record: Value = serde_json::from_str(&line).expect("JSON");
        assert_eq!(record["event"], event);
    }
    let deadline = Instant::now() + Duration::from_secs(10);
    while log.is_blocked() {
        assert!(Instant::now() < deadline, "{:?}", log.status());
        std::thread::yield_now();
    }
    assert_eq!(log.status().dropped, 0);
}

#[tokio::test]
async fn records_that_cannot_be_written_are_counted_and_delay_nobody() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("socket");
    let log = log(AuditSinkAddress::Unix(path), AuditFailureMode::Drop, AuditFormat::Json);
    trail(&log, 1).decide(AuditDecision::Allow).await.expect("never waits");
    log.close();
    let status = log.status();
    assert_eq!((status.written, status.dropped, status.is_failing), (0, 1, true));
    assert!(!log.is_blocked());
}

#[test]
fn a_configuration_is_recorded_with_all_documents() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("audit");
    let log = log(AuditSinkAddress::File(path.clone()), AuditFailureMode::Block, AuditFormat::Json);
    let digests = |index| CallerPolicyDigests {
        caller: format!("caller-{index}").into(),
        documents: vec!["0123456789abcdef".repeat(4)],
    };
    let policies: Vec<CallerPolicyDigests> = (0..1000).map(digests).collect();
    let changes = ["log.level changed".to_owned()];
    log.record_notice(&AuditNotice::Configuration { number: 2, changes: &changes, policies: &policies });
    log.record_notice(&AuditNotice::RejectedConfiguration("proxy.toml:1: no"));
    log.record_notice(&AuditNotice::Admin("quit"));
    log.close();
    let records = records(&path);
    let events: Vec<&str> = records.iter().filter_map(|record| record["event"].as_str()).collect();
    assert_eq!(events, ["configuration", "configuration", "configuration", "configuration", "admin"]);
    assert_eq!(records[0]["changes"][0], "log.level changed");
    let count: usize = records.iter().filter_map(|record| record["policies"].as_array()).map(Vec::len).sum();
    assert_eq!(count, 1000);
    assert_eq!(records[3]["error"], "proxy.toml:1: no");
}

#[tokio::test]
async fn each_ocsf_event_is_valid_by_the_schema() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("audit");
    let log = log(AuditSinkAddress::File(path.clone()), AuditFailureMode::Block, AuditFormat::Ocsf);
    let operations =
        [Some("GetObject"), Some("PutObject"), Some("DeleteMultipleObjects"), Some("PutBucketAcl"), None];
    for operation in operations {
        for decision in [AuditDecision::Allow, AuditDecision::Deny("denied")] {
            let mut trail = trail(&log, 2);
            trail.subject.operation = operation;
            if operation.is_none() {
                trail.subject = AuditSubject { client: Some("uid:7".to_owned()), ..AuditSubject::default() };
            }
            trail.decide(decision).await.expect("written");
            trail.complete(&END);
        }
    }
    let policies = [CallerPolicyDigests { caller: "team-a".into(), documents: vec!["00".to_owned()] }];
    log.record_notice(&AuditNotice::Configuration { number: 1, changes: &[], policies: &policies });
    log.record_notice(&AuditNotice::RejectedConfiguration("no"));
    log.record_notice(&AuditNotice::Admin("quit"));
    log.close();
    let schema: Value =
        serde_json::from_str(include_str!("../../../tests/vectors/ocsf-api-activity.schema.json"))
            .expect("JSON");
    let mut schemas = boon::Schemas::new();
    let mut compiler = boon::Compiler::new();
    compiler.add_resource("ocsf.json", schema).expect("a schema");
    let index = compiler.compile("ocsf.json", &mut schemas).expect("a schema");
    let events = records(&path);
    for event in &events {
        if let Err(error) = schemas.validate(event, index) {
            panic!("{error}\n{event}");
        }
    }
    let types: Vec<(u64, u64)> = events
        .iter()
        .filter(|event| event["metadata"]["event_code"] == "decision")
        .filter_map(|event| Some((event["type_uid"].as_u64()?, event["disposition_id"].as_u64()?)))
        .collect();
    let expected =
        [600_302, 600_301, 600_304, 600_301, 600_399].into_iter().flat_map(|kind| [(kind, 1), (kind, 2)]);
    assert_eq!(types, expected.collect::<Vec<_>>());
    assert_eq!(events.len(), 10 + 5 + 3);
    assert_eq!(events[0]["src_endpoint"]["ip"], "127.0.0.1");
    assert_eq!(events[0]["metadata"]["correlation_uid"], "000000000000000000000ABC");
    assert_eq!(events[0]["resources"][1]["name"], "acs:oss:*:*:data/a/1");
    let mut broken = events[0].clone();
    broken["api"]["operation"] = Value::Null;
    assert!(schemas.validate(&broken, index).is_err());
}
