//! The parts of a request for its record in the audit log.

use std::sync::Arc;

use http::HeaderMap;

use super::error::ProxyError;
use super::state::{AcceptingListener, WorkerCore};
use crate::address::LocatedObject;
use crate::caller::beginning_of_key_id;
use crate::credentials::Credentials;
use crate::policy::{CallerRights, PermissionDecision, PermissionResource, RequestShape, RequiredPermission};
use crate::telemetry::{
    AccessLogEvent, AuditDecision, AuditSubject, AuditTrail, AuditedPermission, AuditedResource,
    AuditedSigner, AuditedStatement,
};

/// Begins the audit of a request, if there is an audit log.
pub(super) fn begin(
    core: &WorkerCore,
    listener: &AcceptingListener,
    headers: &HeaderMap,
    access: &mut AccessLogEvent,
) {
    let Some(log) = &core.state().audit else { return };
    let user = listener.peer.unix.map(|peer| format!("uid:{}", peer.uid));
    let subject = AuditSubject {
        client: listener.client.map(|address| address.to_string()).or(user),
        trace_id: trace_id(headers),
        configuration: core.state().number,
        ..AuditSubject::default()
    };
    access.audit = Some(Box::new(AuditTrail::new(log, access.id.digits(), subject)));
}

/// Records that the request is allowed. If requests depend on the audit log, waits for it.
///
/// # Errors
/// [`ProxyError::Audit`], if the log cannot be written.
pub(super) async fn allow(access: &mut AccessLogEvent) -> Result<(), ProxyError> {
    if let Some(audit) = &mut access.audit {
        Box::pin(audit.decide(AuditDecision::Allow)).await?;
    }
    Ok(())
}

/// Records that the request is rejected. Returns the error for the client: another one if requests
/// depend on the audit log, and it cannot be written.
pub(super) async fn deny(refusal: ProxyError, access: &mut AccessLogEvent) -> ProxyError {
    if let Some(audit) = &mut access.audit {
        let decision = AuditDecision::Deny(refusal.code().as_str());
        if let Err(error) = Box::pin(audit.decide(decision)).await {
            return error.into();
        }
    }
    refusal
}

/// Records the object that a request names.
pub(super) fn record_object(subject: &mut AuditSubject, object: &LocatedObject) {
    subject.operation = Some(object.operation.name());
    subject.bucket = object.bucket.as_ref().map(|bucket| bucket.as_str().to_owned());
    let key = object.key.as_bytes();
    subject.key = (!key.is_empty()).then(|| String::from_utf8_lossy(key).into_owned());
}

/// Records the permissions that a request requires, with the statements of `rights` that decide.
pub(super) fn record_shape(
    subject: &mut AuditSubject,
    shape: &RequestShape<'_>,
    rights: Option<&CallerRights>,
) {
    subject.prefix = shape.facts.prefix.map(str::to_owned);
    let permission = |required: &RequiredPermission<'_>| AuditedPermission {
        action: required.action,
        resource: resource(&required.resource),
        statement: rights.and_then(|rights| {
            let (effect, position) = match rights.decide(required, &shape.facts) {
                PermissionDecision::Allowed(position) => ("Allow", position),
                PermissionDecision::Denied(position) => ("Deny", position),
                PermissionDecision::Missing => return None,
            };
            let (document, statement) = (position.document + 1, position.statement + 1);
            Some(AuditedStatement { effect, document, statement })
        }),
    };
    subject.permissions = shape.permissions.iter().map(permission).collect();
}

/// Records the credentials that sign the request.
pub(super) fn record_signer(subject: &mut AuditSubject, credentials: &Credentials) {
    subject.signer = Some(AuditedSigner {
        provider: Arc::clone(&credentials.provider),
        key_id: beginning_of_key_id(&credentials.id),
    });
}

fn resource(resource: &PermissionResource<'_>) -> AuditedResource {
    let (container, key, is_tree) = match resource {
        PermissionResource::Service => ("*".to_owned(), None, false),
        PermissionResource::Pool(name) if name.is_empty() => ("resourcepool/*".to_owned(), None, false),
        PermissionResource::Pool(name) => (format!("resourcepool/{name}"), None, false),
        PermissionResource::Bucket(bucket) => (bucket.to_string(), None, false),
        PermissionResource::Object(bucket, key) => (format!("{bucket}/"), Some(key.to_string()), false),
        PermissionResource::Tree(bucket, prefix) => (format!("{bucket}/"), Some(prefix.to_string()), true),
    };
    AuditedResource { container, key, is_tree }
}

/// Returns the id of the trace in `traceparent` (W3C Trace Context, 3.2.2), if it is valid.
fn trace_id(headers: &HeaderMap) -> Option<String> {
    let text = headers.get("traceparent")?.to_str().ok()?;
    let id = text.split('-').nth(1)?;
    let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    let is_valid = id.len() == 32 && id.bytes().all(is_hex) && id.bytes().any(|byte| byte != b'0');
    is_valid.then(|| id.to_owned())
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue};

    use super::trace_id;

    #[test]
    fn a_trace_is_named_by_a_valid_header_alone() {
        let id = "4bf92f3577b34da6a3ce929d0e0e4736";
        for (value, expected) in [
            (format!("00-{id}-00f067aa0ba902b7-01"), Some(id)),
            (format!("00-{}-00f067aa0ba902b7-01", "0".repeat(32)), None),
            (format!("00-{}-00f067aa0ba902b7-01", id.to_uppercase()), None),
            ("00-4bf9-00f067aa0ba902b7-01".to_owned(), None),
            ("4bf92f3577b34da6a3ce929d0e0e4736".to_owned(), None),
        ] {
            let value = HeaderValue::try_from(value).expect("a value");
            let headers: HeaderMap =
                [(http::HeaderName::from_static("traceparent"), value)].into_iter().collect();
            assert_eq!(trace_id(&headers).as_deref(), expected);
        }
        assert_eq!(trace_id(&HeaderMap::new()), None);
    }
}
