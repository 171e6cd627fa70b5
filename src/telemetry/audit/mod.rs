//! The audit log: one record for each decision, before the request is sent to OSS, and one for its
//! end. Unlike the access log it is never sampled, and requests can be made to depend on it.

mod audit_queue;
mod audit_trail;
mod json_format;
mod json_line;
mod ocsf_format;
mod record;
mod settings;
mod sink;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use tokio::time::timeout;

use crate::time::{Clock, Timestamp};
use audit_queue::AuditQueue;
pub(crate) use audit_queue::AuditStatus;
pub(crate) use audit_trail::AuditTrail;
use json_format::{PermissionFields, RecordPart, RecordStamp};
pub(crate) use record::{
    AuditCompletion, AuditDecision, AuditNotice, AuditSubject, AuditedKey, AuditedPermission,
    AuditedResource, AuditedSigner, AuditedStatement, CallerPolicyDigests,
};
pub(crate) use settings::{AuditFailureMode, AuditFormat, AuditSettings, AuditSinkAddress, KeyVisibility};
use sink::AuditSink;

/// The audit log of the process.
pub(crate) struct AuditLog {
    queue: Arc<AuditQueue>,
    settings: AuditSettings,
    clock: Arc<dyn Clock>,
    /// Set to open the file again.
    reopen: Arc<AtomicBool>,
}

/// The destination of the audit log did not receive a record in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the audit log cannot be written; see the proxy log")]
pub(crate) struct AuditUnavailable;

impl AuditLog {
    /// Opens the destination, and starts the thread that writes to it. May block.
    ///
    /// # Errors
    /// The error of the operating system.
    pub(crate) fn start(settings: AuditSettings, clock: Arc<dyn Clock>) -> io::Result<Self> {
        let reopen = Arc::new(AtomicBool::new(false));
        let sink = AuditSink::open(&settings, Arc::clone(&reopen))?;
        let queue = Arc::<AuditQueue>::default();
        let theirs = Arc::clone(&queue);
        let mode = settings.on_failure;
        std::thread::Builder::new().name("audit".to_owned()).spawn(move || theirs.write_all(sink, mode))?;
        Ok(Self { queue, settings, clock, reopen })
    }

    /// Opens the file again before the next record, after it was moved away.
    pub(crate) fn reopen(&self) {
        self.reopen.store(true, Relaxed);
    }

    /// Returns the numbers of records, and whether the destination fails.
    pub(crate) fn status(&self) -> AuditStatus {
        self.queue.status()
    }

    /// Returns whether requests are rejected because the destination fails.
    pub(crate) fn is_blocked(&self) -> bool {
        self.settings.on_failure == AuditFailureMode::Block && self.queue.status().is_failing
    }

    /// Writes the queued records, and ends the log. Blocks for a limited time.
    pub(crate) fn close(&self) {
        self.queue.close();
    }

    /// Records an event other than a request. Never waits.
    pub(crate) fn record_notice(&self, notice: &AuditNotice<'_>) {
        let policies = match notice {
            AuditNotice::Configuration { policies, .. } => *policies,
            AuditNotice::RejectedConfiguration(_) | AuditNotice::Admin(_) => &[],
        };
        let length = |one: &CallerPolicyDigests| one.caller.len() + DIGEST_LENGTH * one.documents.len();
        let now = self.now();
        let mut lines = Vec::new();
        for (policies, part) in numbered(policies, self.settings.sink.record_part(), length) {
            lines.extend(match self.settings.format {
                AuditFormat::Json => json_format::notice(now, notice, &self.settings.keys, (policies, part)),
                AuditFormat::Ocsf => ocsf_format::notice(now, notice, (policies, part)),
            });
        }
        self.queue.put_always(&lines);
    }

    /// Records a decision. With [`AuditFailureMode::Block`], waits until the destination has the
    /// record.
    ///
    /// # Errors
    /// [`AuditUnavailable`], if it does not have it in time.
    async fn record_decision(
        &self,
        id: &str,
        decision: AuditDecision,
        subject: &AuditSubject,
    ) -> Result<(), AuditUnavailable> {
        let lines = self.decision_lines(id, decision, subject);
        if self.settings.on_failure == AuditFailureMode::Drop {
            self.queue.put(&lines);
            return Ok(());
        }
        let Some(written) = self.queue.put_awaited(&lines) else {
            self.queue.drop_records(&lines);
            return Err(AuditUnavailable);
        };
        match timeout(BLOCK_TIMEOUT, written).await {
            Ok(Ok(())) => Ok(()),
            // guard: audit-before-upstream
            Ok(Err(_)) | Err(_) => Err(AuditUnavailable),
        }
    }

    fn decision_lines(&self, id: &str, decision: AuditDecision, subject: &AuditSubject) -> Vec<u8> {
        let AuditSettings { sink, format, keys, .. } = &self.settings;
        let stamp = RecordStamp { time: self.now(), id };
        let permissions = json_format::permissions(subject, keys);
        let length = |one: &PermissionFields| one.resource.len() + PERMISSION_LENGTH;
        let mut lines = Vec::new();
        for part in numbered(&permissions, sink.record_part(), length) {
            lines.extend(match format {
                AuditFormat::Json => json_format::decision(stamp, decision, subject, keys, part),
                AuditFormat::Ocsf => ocsf_format::decision(stamp, decision, subject, keys, part),
            });
        }
        lines
    }

    /// Records the end of an allowed request. Never waits. The number of such records is bounded by
    /// the number of decisions.
    fn record_completion(
        &self,
        id: &str,
        completion: &AuditCompletion<'_>,
        subject: &AuditSubject,
        signer: Option<&AuditedSigner>,
    ) {
        let stamp = RecordStamp { time: self.now(), id };
        let line = match self.settings.format {
            AuditFormat::Json => json_format::completion(stamp, completion, signer),
            AuditFormat::Ocsf => ocsf_format::completion(stamp, completion, subject, signer),
        };
        match self.settings.on_failure {
            AuditFailureMode::Block => self.queue.put_always(&line),
            AuditFailureMode::Drop => self.queue.put(&line),
        }
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }
}

/// Divides items into numbered records.
fn numbered<T>(
    items: &[T],
    limit: usize,
    length: impl Fn(&T) -> usize,
) -> impl Iterator<Item = (&[T], RecordPart)> {
    let parts = json_format::parts(items, limit, length);
    let count = parts.len();
    parts.into_iter().zip(1..).map(move |(part, number)| (part, RecordPart { number, count }))
}

/// The time that a request waits for its record.
const BLOCK_TIMEOUT: Duration = Duration::from_secs(5);
/// The length of a digest in a record, and that of a permission without its resource, in bytes.
const DIGEST_LENGTH: usize = 67;
const PERMISSION_LENGTH: usize = 120;

#[cfg(test)]
mod tests;
