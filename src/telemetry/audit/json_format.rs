//! The records in the format of this proxy: one flat JSON object for each line.

use serde::Serialize;

use super::json_line::JsonLine;
use super::record::{
    AuditCompletion, AuditDecision, AuditNotice, AuditSubject, AuditedSigner, AuditedStatement,
    CallerPolicyDigests,
};
use super::settings::KeyVisibility;
use crate::time::Timestamp;

/// The id and the time of a record.
#[derive(Clone, Copy, Debug)]
pub(super) struct RecordStamp<'a> {
    pub(super) time: Timestamp,
    pub(super) id: &'a str,
}

/// A permission in a record.
#[derive(Debug, Serialize)]
pub(super) struct PermissionFields {
    action: &'static str,
    pub(super) resource: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    statement: Option<AuditedStatement>,
}

/// The number of a record among those of one event. The first one has all fields of the event.
#[derive(Clone, Copy, Debug)]
pub(super) struct RecordPart {
    /// The number, from 1.
    pub(super) number: usize,
    pub(super) count: usize,
}

/// Returns the permissions of a request, with their keys in the permitted form.
pub(super) fn permissions(subject: &AuditSubject, keys: &KeyVisibility) -> Vec<PermissionFields> {
    let fields = |permission: &super::AuditedPermission| PermissionFields {
        action: permission.action,
        resource: permission.resource.show(keys),
        statement: permission.statement,
    };
    subject.permissions.iter().map(fields).collect()
}

/// Divides items into parts of at most `limit` bytes by `length`. There is at least one part.
pub(super) fn parts<T>(items: &[T], limit: usize, length: impl Fn(&T) -> usize) -> Vec<&[T]> {
    let mut parts = Vec::new();
    let (mut start, mut bytes) = (0, 0);
    for (index, item) in items.iter().enumerate() {
        let more = length(item);
        if bytes + more > limit && index > start {
            parts.push(&items[start..index]);
            (start, bytes) = (index, 0);
        }
        bytes += more;
    }
    parts.push(&items[start..]);
    parts
}

/// Writes one record of a decision.
pub(super) fn decision(
    stamp: RecordStamp<'_>,
    decision: AuditDecision,
    subject: &AuditSubject,
    keys: &KeyVisibility,
    (permissions, part): (&[PermissionFields], RecordPart),
) -> Vec<u8> {
    let mut line = begin(stamp.time, "decision");
    line.field("id", stamp.id);
    line.field("decision", decision.as_str());
    line.field_if("reason", decision.reason());
    write_part(&mut line, part);
    if part.number == 1 {
        line.field_if("caller", subject.caller.as_deref());
        line.field_if("proof", subject.proof);
        line.field_if("unverified_key_id", subject.claimed_key_id.as_deref());
        line.field_if("client", subject.client.as_deref());
        line.field_if("operation", subject.operation);
        line.field_if("bucket", subject.bucket.as_deref());
        line.field_if("key", subject.key.as_deref().and_then(|key| keys.show(key)));
        line.field_if("prefix", subject.prefix.as_deref().and_then(|prefix| keys.show(prefix)));
        line.field_if("not_understood", subject.not_understood.as_deref());
        line.field_if("signer", subject.signer.as_ref());
        if let Some(key) = &subject.handed_out {
            line.field("key_id", &key.id);
            line.field("key_expires", &key.expires.rfc3339());
        }
        line.field_if("trace_id", subject.trace_id.as_deref());
        line.field("configuration", &subject.configuration);
    }
    if !permissions.is_empty() {
        line.field("permissions", permissions);
    }
    line.finish()
}

/// Writes the record of the end of a request.
pub(super) fn completion(
    stamp: RecordStamp<'_>,
    completion: &AuditCompletion<'_>,
    signer: Option<&AuditedSigner>,
) -> Vec<u8> {
    let mut line = begin(stamp.time, "completion");
    line.field("id", stamp.id);
    line.field_if("status", completion.status);
    line.field("end", completion.end);
    line.field_if("error", completion.error);
    line.field("bytes_in", &completion.bytes_in);
    line.field("bytes_out", &completion.bytes_out);
    line.field("duration_ms", &completion.duration_ms);
    line.field_if("oss_request_id", completion.oss_request_id);
    line.field_if("oss_ec", completion.oss_ec);
    line.field_if("signer", signer);
    line.finish()
}

/// Writes a record of an event other than a request.
pub(super) fn notice(
    time: Timestamp,
    notice: &AuditNotice<'_>,
    keys: &KeyVisibility,
    (policies, part): (&[CallerPolicyDigests], RecordPart),
) -> Vec<u8> {
    match notice {
        AuditNotice::Configuration { number, changes, .. } => {
            let mut line = begin(time, "configuration");
            line.field("configuration", number);
            line.field("keys", keys.as_str());
            write_part(&mut line, part);
            if part.number == 1 {
                line.field("changes", changes);
            }
            line.field("policies", policies);
            line.finish()
        }
        AuditNotice::RejectedConfiguration(error) => {
            let mut line = begin(time, "configuration");
            line.field("error", error);
            line.finish()
        }
        AuditNotice::Admin(action) => {
            let mut line = begin(time, "admin");
            line.field("action", action);
            line.finish()
        }
    }
}

fn begin(time: Timestamp, event: &'static str) -> JsonLine {
    let mut line = JsonLine::new();
    line.field("time", &time.rfc3339());
    line.field("event", event);
    line
}

fn write_part(line: &mut JsonLine, part: RecordPart) {
    if part.count > 1 {
        line.field("part", &part.number);
        line.field("parts", &part.count);
    }
}
