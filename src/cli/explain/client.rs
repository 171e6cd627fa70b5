//! The client of a request to explain: this process, with a certificate from a file if one is given.

use std::path::{Path, PathBuf};

use rustix::process::{getegid, geteuid};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

use super::super::output::line;
use super::redact::printable;
use crate::caller::{ClientCertificate, ConnectionPeer, UnixPeer};
use crate::proxy::ListenerRules;
use crate::server::client_certificate;

/// A certificate file that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{path} has no certificate that can be read: {reason}; it must be a PEM file", path = .path.display())]
pub(super) struct InvalidClientCertificate {
    path: PathBuf,
    reason: String,
}

/// Returns the client as the listener knows it, and prints what matters to the listener.
///
/// # Errors
/// If the certificate cannot be read.
pub(super) fn peer(
    certificate: Option<&Path>,
    rules: &ListenerRules,
) -> Result<ConnectionPeer, InvalidClientCertificate> {
    let certificate = certificate.map(read).transpose()?;
    match &certificate {
        Some(certificate) => {
            line(format_args!("{:12}certificate {}", "client", names(certificate)));
            line(format_args!("{:12}its issuer and revocation lists are not checked", "note"));
        }
        None if rules.identify.certificate => {
            line(format_args!("{:12}without a certificate; give one with --client-certificate", "client"));
        }
        None => {}
    }
    let unix = rules.unnamed.then(|| UnixPeer { uid: geteuid().as_raw(), gid: getegid().as_raw() });
    if let Some(UnixPeer { uid, gid }) = unix.filter(|_| rules.identify.uid) {
        line(format_args!("{:12}uid {uid}, gid {gid} (as this command)", "client"));
    }
    Ok(ConnectionPeer { certificate, unix })
}

fn read(path: &Path) -> Result<ClientCertificate, InvalidClientCertificate> {
    let invalid = |reason: &dyn ToString| InvalidClientCertificate {
        path: path.to_owned(),
        reason: reason.to_string(),
    };
    let certificate = CertificateDer::from_pem_file(path).map_err(|error| invalid(&error))?;
    client_certificate(&certificate).ok_or_else(|| invalid(&"it is no X.509 certificate"))
}

/// Returns the names in a certificate, and what else decides about it.
fn names(certificate: &ClientCertificate) -> String {
    let ClientCertificate { dns_names, uris, subject, is_for_clients, not_after, .. } = certificate;
    let dns_names = dns_names.iter().map(|name| format!("dns {}", printable(name.as_bytes())));
    let uris = uris.iter().map(|uri| format!("uri {}", printable(uri.as_bytes())));
    let subject = subject.iter().map(|subject| format!("subject {subject}"));
    let usage = if *is_for_clients { None } else { Some("not for clients (clientAuth)".to_owned()) };
    let end = format!("until {}", not_after.rfc3339());
    let all: Vec<String> = dns_names.chain(uris).chain(subject).chain(usage).chain([end]).collect();
    all.join(", ")
}
