//! The content of the records of the audit log, independent of their format.

use std::sync::Arc;

use serde::{Serialize, Serializer};

use super::settings::KeyVisibility;
use crate::time::Timestamp;

/// The parts of a request that the audit log shows, as far as they are known.
#[derive(Debug, Default)]
pub(crate) struct AuditSubject {
    /// The address of the client, or the user at the other end of a Unix socket.
    pub(crate) client: Option<String>,
    /// The name of the caller.
    pub(crate) caller: Option<Arc<str>>,
    /// The way in which the client proved to be the caller.
    pub(crate) proof: Option<&'static str>,
    /// The access key id that a rejected client claims to have. It is not verified.
    pub(crate) claimed_key_id: Option<String>,
    /// The name of the operation.
    pub(crate) operation: Option<&'static str>,
    /// The bucket.
    pub(crate) bucket: Option<String>,
    /// The key of the object, in full.
    pub(crate) key: Option<String>,
    /// The prefix of a listing, in full.
    pub(crate) prefix: Option<String>,
    /// The permissions that the request requires.
    pub(crate) permissions: Vec<AuditedPermission>,
    /// The reason why the permissions are unknown.
    pub(crate) not_understood: Option<String>,
    /// The credentials that sign the request.
    pub(crate) signer: Option<AuditedSigner>,
    /// The access key that the response hands out.
    pub(crate) handed_out: Option<AuditedKey>,
    /// The id of the trace that the request belongs to.
    pub(crate) trace_id: Option<String>,
    /// The number of the configuration that decided.
    pub(crate) configuration: u64,
}

/// A permission that a request requires, and the statement that decided about it.
#[derive(Debug)]
pub(crate) struct AuditedPermission {
    /// The RAM action.
    pub(crate) action: &'static str,
    /// The resource.
    pub(crate) resource: AuditedResource,
    /// The deciding statement; `None` if no statement applies.
    pub(crate) statement: Option<AuditedStatement>,
}

/// A resource, with the part of it that is an object key apart.
#[derive(Debug)]
pub(crate) struct AuditedResource {
    /// The relative identifier up to the key: `*`, `BUCKET` or `BUCKET/`.
    pub(crate) container: String,
    /// The key, or the beginning of the keys, in full.
    pub(crate) key: Option<String>,
    /// Whether the resource is all objects whose keys begin with `key`.
    pub(crate) is_tree: bool,
}

/// The statement that decided about a permission.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct AuditedStatement {
    /// `Allow` or `Deny`.
    pub(crate) effect: &'static str,
    /// The position of the document among those of the caller, from 1.
    pub(crate) document: usize,
    /// The position of the statement in the document, from 1.
    pub(crate) statement: usize,
}

/// The credentials that sign a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct AuditedSigner {
    /// The credential provider.
    #[serde(serialize_with = "write_shared")]
    pub(crate) provider: Arc<str>,
    /// The beginning of the access key id.
    pub(crate) key_id: String,
}

/// The decision about a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AuditDecision {
    /// The request is sent to OSS, or answered.
    Allow,
    /// The request is rejected, with the code of the error.
    Deny(&'static str),
}

/// The end of an allowed request.
#[derive(Debug)]
pub(crate) struct AuditCompletion<'a> {
    /// The status of the response; `None` if the client disconnected before there was one.
    pub(crate) status: Option<u16>,
    /// The end of the response: `whole`, `client-left`, `upstream-broke` or `cut`.
    pub(crate) end: &'static str,
    /// The code of the error, if the proxy answered after all.
    pub(crate) error: Option<&'static str>,
    /// The number of request body bytes received.
    pub(crate) bytes_in: u64,
    /// The number of response body bytes sent.
    pub(crate) bytes_out: u64,
    /// The time from the head of the request to the end, in milliseconds.
    pub(crate) duration_ms: u64,
    /// The request id of OSS.
    pub(crate) oss_request_id: Option<&'a str>,
    /// The error number (`EC`) of OSS.
    pub(crate) oss_ec: Option<&'a str>,
}

/// An event other than a request.
#[derive(Debug)]
pub(crate) enum AuditNotice<'a> {
    /// A configuration was applied: its changes, and the digests of the documents of each caller.
    Configuration {
        /// The number of the configuration.
        number: u64,
        /// The changes, one sentence each.
        changes: &'a [String],
        /// The callers with the SHA-256 of each of their documents.
        policies: &'a [CallerPolicyDigests],
    },
    /// A configuration was rejected, for this reason.
    RejectedConfiguration(&'a str),
    /// An action of the admin listener.
    Admin(&'static str),
}

/// The digests of the documents of a caller.
#[derive(Debug, Serialize)]
pub(crate) struct CallerPolicyDigests {
    /// The name of the caller.
    #[serde(serialize_with = "write_shared")]
    pub(crate) caller: Arc<str>,
    /// The SHA-256 of each document, in hexadecimal digits.
    pub(crate) documents: Vec<String>,
}

/// The access key that was handed out.
#[derive(Debug)]
pub(crate) struct AuditedKey {
    /// The access key id.
    pub(crate) id: String,
    /// The end of its validity.
    pub(crate) expires: Timestamp,
}

impl AuditedResource {
    /// Returns the resource as a RAM document names it, with its key in the permitted form.
    pub(super) fn show(&self, keys: &KeyVisibility) -> String {
        let mut text = format!("acs:oss:*:*:{}", self.container);
        if let Some(key) = &self.key {
            text.push_str(keys.show(key).as_deref().unwrap_or("…"));
        }
        if self.is_tree {
            text.push('*');
        }
        text
    }
}

impl AuditDecision {
    /// Returns `allow` or `deny`.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny(_) => "deny",
        }
    }

    /// Returns the code of the error of a rejected request.
    pub(super) fn reason(self) -> Option<&'static str> {
        match self {
            Self::Allow => None,
            Self::Deny(reason) => Some(reason),
        }
    }
}

/// Writes a shared text.
fn write_shared<S: Serializer>(text: &Arc<str>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(text)
}
