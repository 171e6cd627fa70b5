//! The identity that a request has from its connection: the caller of the client certificate, or of
//! the user at the other end of a Unix socket.

use std::sync::Arc;

use super::connection_peer::ClientCertificate;
use super::directory::Caller;
use super::identity_context::IdentityContext;
use super::identity_error::{IdentityError, MalformedSignature};
use super::identity_proof::IdentityProof;
use crate::time::Timestamp;

/// Returns the caller of the connection, judged as of now. Returns `None` if there is none, or if the
/// listener does not accept such identities.
///
/// # Errors
/// [`IdentityError::ExpiredCertificate`], [`IdentityError::WithdrawnCertificate`], and
/// [`IdentityError::Malformed`] for the identities of several callers.
pub(super) fn find(context: IdentityContext<'_>) -> Result<Option<&Arc<Caller>>, IdentityError> {
    let IdentityContext { directory, kinds, peer, .. } = context;
    let certificate = peer.certificate.as_ref().filter(|_| kinds.certificate);
    if let Some(certificate) = certificate {
        check(certificate, context)?;
    }
    let unix = peer.unix.filter(|_| kinds.uid);
    // A certificate for servers, which other machines also have, identifies no client.
    // guard: client-usage
    let certificate = certificate.filter(|certificate| certificate.is_for_clients);
    let index = directory.peers();
    let of_certificate = certificate.into_iter().flat_map(|certificate| index.of_certificate(certificate));
    let mut named = of_certificate.chain(unix.into_iter().flat_map(|peer| index.of_unix(peer)));
    let first = named.next();
    // guard: one-caller-of-connection
    if named.any(|other| Some(other) != first) {
        return Err(SEVERAL_CALLERS.into());
    }
    Ok(first.and_then(|index| directory.callers().get(index)))
}

/// Returns the end of the proof of a caller of the connection, if it has one.
pub(super) fn expires(context: IdentityContext<'_>) -> Option<Timestamp> {
    let certificate = context.peer.certificate.as_ref().filter(|_| context.kinds.certificate);
    certificate.map(|certificate| certificate.not_after)
}

/// Returns the proof of a caller of the connection.
pub(super) fn proof(context: IdentityContext<'_>) -> IdentityProof {
    match &context.peer.certificate {
        Some(_) if context.kinds.certificate => IdentityProof::Certificate,
        Some(_) | None => IdentityProof::UnixPeer,
    }
}

/// Checks that a certificate is valid for this request, even if the connection is old.
fn check(certificate: &ClientCertificate, context: IdentityContext<'_>) -> Result<(), IdentityError> {
    let ClientCertificate { not_after, is_trusted, .. } = certificate;
    // guard: certificate-expiry
    if context.clock_now.unix_s() > not_after.unix_s() {
        return Err(IdentityError::ExpiredCertificate {
            expires: *not_after,
            server_time: context.clock_now,
        });
    }
    // guard: certificate-trust
    if !is_trusted {
        return Err(IdentityError::WithdrawnCertificate);
    }
    Ok(())
}

/// Returns the error for a connection that is of no caller, on a listener that accepts only such
/// identities.
pub(super) fn missing(context: IdentityContext<'_>) -> IdentityError {
    match &context.peer.certificate {
        Some(certificate) if context.kinds.certificate && !certificate.is_for_clients => {
            IdentityError::CertificateUsage
        }
        Some(_) | None => IdentityError::UnknownPeer,
    }
}

/// Checks that the presented identity of `other` is of the same caller as the connection. This is
/// checked before a signature is computed.
///
/// # Errors
/// [`IdentityError::Malformed`].
pub(super) fn check_same(connection: Option<&Arc<Caller>>, other: &Arc<Caller>) -> Result<(), IdentityError> {
    // guard: same-caller
    if connection.is_some_and(|caller| caller.index != other.index) {
        return Err(TWO_CALLERS.into());
    }
    Ok(())
}

const SEVERAL_CALLERS: MalformedSignature =
    MalformedSignature::argument("The client certificate or the user of the client is of several callers.");
const TWO_CALLERS: MalformedSignature =
    MalformedSignature::argument("The request is of another caller than its connection.");
