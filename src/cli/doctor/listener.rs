//! Checks the certificate of a listener with TLS.

use super::super::exit::CommandExit;
use super::fault::FaultKind;
use super::report::{Finding, ReportSection};
use crate::admin::ListenerCertificate;
use crate::app::system_env::SystemEnv;
use crate::server::TlsFiles;
use crate::time::Clock as _;

/// Loads the TLS files, and checks when the certificate expires.
pub(super) fn examine(listener: String, files: &TlsFiles) -> ReportSection {
    let expiry = |expires| {
        let certificate = ListenerCertificate { listener: listener.clone(), expires };
        match certificate.warning(SystemEnv.now()) {
            Some(warning) => {
                Finding::warn("certificate", FaultKind::CertificateExpiry, warning, "renew the certificate")
            }
            None => Finding::ok("certificate", format!("the certificate expires {}", expires.rfc3339())),
        }
    };
    let finding = match files.load() {
        Ok(tls) => {
            tls.expires().map_or_else(|| Finding::ok("certificate", "the certificate is usable"), expiry)
        }
        Err(error) => {
            let remedy = "correct the files of `tls`; `check` reports the same errors";
            Finding::fail("certificate", FaultKind::TlsFiles, CommandExit::Config, error.to_string(), remedy)
        }
    };
    ReportSection { name: "listener".to_owned(), about: listener.clone(), findings: vec![finding] }
}
