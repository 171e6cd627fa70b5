//! The records as events of OCSF 1.4.0: class API Activity (6003), profiles `cloud` and
//! `security_control`. Fields without a place in OCSF are in `unmapped`.

use serde_json::{Map, Value, json};

use super::json_format::{PermissionFields, RecordPart, RecordStamp};
use super::record::{
    AuditCompletion, AuditDecision, AuditNotice, AuditSubject, AuditedSigner, CallerPolicyDigests,
};
use super::settings::KeyVisibility;
use crate::time::Timestamp;

/// The kind of an API activity.
#[derive(Clone, Copy)]
enum ApiActivity {
    Create = 1,
    Read = 2,
    Update = 3,
    Delete = 4,
    Other = 99,
}

impl ApiActivity {
    /// Returns the kind of an operation of OSS, which begins with a verb.
    fn of_operation(name: &str) -> Self {
        let begins = |verbs: &[&str]| verbs.iter().any(|verb| name.starts_with(verb));
        if begins(&["Get", "List", "Head", "Describe", "Select", "DoMetaQuery"]) {
            Self::Read
        } else if begins(&["Delete", "Abort", "Clean"]) {
            Self::Delete
        } else if begins(&[
            "PutObject",
            "PutBucket",
            "Append",
            "Copy",
            "Create",
            "Initiate",
            "Upload",
            "Post",
        ]) {
            Self::Create
        } else {
            Self::Update
        }
    }
}

/// Returns one event for a decision.
pub(super) fn decision(
    stamp: RecordStamp<'_>,
    decision: AuditDecision,
    subject: &AuditSubject,
    keys: &KeyVisibility,
    (permissions, part): (&[PermissionFields], RecordPart),
) -> Vec<u8> {
    let operation = subject.operation.unwrap_or("Unknown");
    let activity = subject.operation.map_or(ApiActivity::Other, ApiActivity::of_operation);
    let is_allowed = decision == AuditDecision::Allow;
    let mut event = base(stamp.time, activity, "decision");
    event.insert("metadata".to_owned(), metadata(Some(stamp.id), "decision"));
    event.insert("status_id".to_owned(), json!(if is_allowed { 1 } else { 2 }));
    event.insert("action_id".to_owned(), json!(if is_allowed { 1 } else { 2 }));
    event.insert("disposition_id".to_owned(), json!(if is_allowed { 1 } else { 2 }));
    if let Some(reason) = decision.reason() {
        event.insert("status_code".to_owned(), json!(reason));
    }
    event.insert("actor".to_owned(), actor(subject.caller.as_deref()));
    event.insert("api".to_owned(), api(operation, stamp.id, None));
    event.insert("src_endpoint".to_owned(), source(subject.client.as_deref()));
    let resources: Vec<Value> = permissions.iter().map(|one| json!({ "name": one.resource })).collect();
    event.insert("resources".to_owned(), Value::Array(resources));
    let mut unmapped = Map::new();
    let fields = [
        ("proof", json!(subject.proof)),
        ("unverified_key_id", json!(subject.claimed_key_id)),
        ("bucket", json!(subject.bucket)),
        ("key", json!(subject.key.as_deref().and_then(|key| keys.show(key)))),
        ("prefix", json!(subject.prefix.as_deref().and_then(|prefix| keys.show(prefix)))),
        ("not_understood", json!(subject.not_understood)),
        ("signer", json!(subject.signer)),
        ("key_id", json!(subject.handed_out.as_ref().map(|key| &key.id))),
        ("key_expires", json!(subject.handed_out.as_ref().map(|key| key.expires.rfc3339()))),
        ("trace_id", json!(subject.trace_id)),
        ("configuration", json!(subject.configuration)),
        ("permissions", json!(permissions)),
        ("part", json!(part.number)),
        ("parts", json!(part.count)),
    ];
    unmapped.extend(
        fields
            .into_iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(name, value)| (name.to_owned(), value)),
    );
    event.insert("unmapped".to_owned(), Value::Object(unmapped));
    line(event)
}

/// Returns the event for the end of a request.
pub(super) fn completion(
    stamp: RecordStamp<'_>,
    completion: &AuditCompletion<'_>,
    subject: &AuditSubject,
    signer: Option<&AuditedSigner>,
) -> Vec<u8> {
    let operation = subject.operation.unwrap_or("Unknown");
    let activity = subject.operation.map_or(ApiActivity::Other, ApiActivity::of_operation);
    let is_success = completion.end == "whole" && completion.status.is_some_and(|status| status < 400);
    let mut event = base(stamp.time, activity, "completion");
    event.insert("metadata".to_owned(), metadata(Some(stamp.id), "completion"));
    event.insert("status_id".to_owned(), json!(if is_success { 1 } else { 2 }));
    event.insert("action_id".to_owned(), json!(1));
    event.insert("disposition_id".to_owned(), json!(1));
    event.insert("duration".to_owned(), json!(completion.duration_ms));
    event.insert("actor".to_owned(), actor(subject.caller.as_deref()));
    event.insert("api".to_owned(), api(operation, stamp.id, completion.status));
    event.insert("src_endpoint".to_owned(), source(subject.client.as_deref()));
    event.insert(
        "unmapped".to_owned(),
        json!({
            "end": completion.end,
            "error": completion.error,
            "bytes_in": completion.bytes_in,
            "bytes_out": completion.bytes_out,
            "oss_request_id": completion.oss_request_id,
            "oss_ec": completion.oss_ec,
            "signer": signer,
        }),
    );
    line(event)
}

/// Returns an event other than a request.
pub(super) fn notice(
    time: Timestamp,
    notice: &AuditNotice<'_>,
    (policies, part): (&[CallerPolicyDigests], RecordPart),
) -> Vec<u8> {
    let (operation, is_success, unmapped) = match notice {
        AuditNotice::Configuration { number, changes, .. } => (
            "ApplyConfiguration",
            true,
            json!({
                "configuration": number,
                "changes": changes,
                "policies": policies,
                "part": part.number,
                "parts": part.count,
            }),
        ),
        AuditNotice::RejectedConfiguration(error) => ("ApplyConfiguration", false, json!({ "error": error })),
        AuditNotice::Admin(action) => (*action, true, json!({})),
    };
    let mut event = base(time, ApiActivity::Update, "notice");
    event.insert("metadata".to_owned(), metadata(None, "notice"));
    event.insert("status_id".to_owned(), json!(if is_success { 1 } else { 2 }));
    event.insert("actor".to_owned(), json!({ "app_name": PRODUCT }));
    event.insert("api".to_owned(), json!({ "operation": operation, "service": { "name": PRODUCT } }));
    event.insert("src_endpoint".to_owned(), json!({ "svc_name": PRODUCT }));
    event.insert("unmapped".to_owned(), unmapped);
    line(event)
}

/// Returns the fields that each event has.
fn base(time: Timestamp, activity: ApiActivity, message: &str) -> Map<String, Value> {
    let activity = activity as u64;
    let mut event = Map::new();
    let fields = [
        ("time", json!(time.unix_s() * 1000)),
        ("category_uid", json!(CATEGORY)),
        ("class_uid", json!(CLASS)),
        ("activity_id", json!(activity)),
        ("type_uid", json!(CLASS * 100 + activity)),
        ("severity_id", json!(SEVERITY_INFORMATIONAL)),
        ("message", json!(message)),
        ("cloud", json!({ "provider": "Alibaba Cloud" })),
    ];
    event.extend(fields.map(|(name, value)| (name.to_owned(), value)));
    event
}

fn metadata(id: Option<&str>, code: &str) -> Value {
    let mut metadata = json!({
        "version": OCSF_VERSION,
        "profiles": ["cloud", "security_control"],
        "product": { "name": PRODUCT, "vendor_name": PRODUCT, "version": env!("CARGO_PKG_VERSION") },
        "event_code": code,
    });
    if let Some(id) = id {
        metadata["correlation_uid"] = json!(id);
    }
    metadata
}

fn actor(caller: Option<&str>) -> Value {
    json!({ "user": { "name": caller.unwrap_or("unknown") } })
}

fn api(operation: &str, id: &str, status: Option<u16>) -> Value {
    let mut api = json!({ "operation": operation, "service": { "name": "oss" }, "request": { "uid": id } });
    if let Some(status) = status {
        api["response"] = json!({ "code": status });
    }
    api
}

/// Returns the endpoint of the client, which has an address or a Unix user.
fn source(client: Option<&str>) -> Value {
    match client {
        Some(client) if client.parse::<std::net::IpAddr>().is_ok() => json!({ "ip": client }),
        client => json!({ "name": client.unwrap_or("unknown") }),
    }
}

fn line(event: Map<String, Value>) -> Vec<u8> {
    let mut line = Value::Object(event).to_string().into_bytes();
    line.push(b'\n');
    line
}

const PRODUCT: &str = env!("CARGO_PKG_NAME");
const OCSF_VERSION: &str = "1.4.0";
/// The category Application Activity.
const CATEGORY: u64 = 6;
/// The class API Activity.
const CLASS: u64 = 6003;
const SEVERITY_INFORMATIONAL: u64 = 1;
