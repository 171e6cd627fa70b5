//! `[sealing]`: the masters that open the sealed secrets of callers.

use super::caller_schema::SEALING;
use super::credentials::{FileModePolicy, SecretResolver};
use super::diagnostics::ConfigReport;
use super::error::ConfigErrorKind;
use super::origin::{SpannedValue, ValueOrigin};
use super::section::ConfigSection;
use crate::credentials::SourceEnv;
use crate::sealing::{MasterKey, SealedPlace, SealingError};
use crate::secret::Secret;

/// Reads the master that a reference such as `env:NAME` names.
///
/// # Errors
/// The reason for display.
pub(crate) fn read_master(reference: &str, env: &dyn SourceEnv) -> Result<MasterKey, String> {
    let at = ValueOrigin::Flag("--seal-with".to_owned());
    let mut report = ConfigReport::default();
    let secrets = SecretResolver::new(env, FileModePolicy::Warn);
    let given = SpannedValue { value: reference.to_owned(), at };
    let master = secrets.referenced(&given, &mut report).and_then(|master| key(&given, &master, &mut report));
    master.ok_or_else(|| report.finish().errors.unwrap_or_default().to_string())
}

/// The masters of the file.
#[derive(Default)]
pub(super) struct SealingMasters {
    keys: Vec<MasterKey>,
    /// Whether all masters could be read. Otherwise an error has been reported.
    is_complete: bool,
}

impl SealingMasters {
    pub(super) fn read(
        root: &ConfigSection<'_>,
        secrets: &SecretResolver<'_>,
        report: &mut ConfigReport,
    ) -> Self {
        let section = root.child("sealing", report);
        section.check(&SEALING, report);
        let before = report.count();
        let mut keys = Vec::new();
        for given in section.texts("master", report) {
            let master = secrets.referenced(&given, report);
            keys.extend(master.and_then(|master| key(&given, &master, report)));
        }
        Self { keys, is_complete: report.count() == before }
    }

    /// Opens a sealed secret at its place. Returns `None` after an error has been reported.
    pub(super) fn open(
        &self,
        given: &SpannedValue<String>,
        place: SealedPlace<'_>,
        report: &mut ConfigReport,
    ) -> Option<Secret> {
        let problem = match place.open(&given.value, &self.keys) {
            Ok(secret) => return Some(secret),
            // The missing master may be the right one.
            Err(_) if !self.is_complete => return None,
            Err(_) if self.keys.is_empty() => ConfigErrorKind::NoMaster,
            Err(SealingError::Form) => ConfigErrorKind::SealForm,
            Err(_) => ConfigErrorKind::SealMismatch,
        };
        report.error(&given.at, problem);
        None
    }
}

fn key(given: &SpannedValue<String>, master: &Secret, report: &mut ConfigReport) -> Option<MasterKey> {
    let key = MasterKey::new(master);
    if key.is_err() {
        report.error(&given.at, ConfigErrorKind::ShortMaster);
    }
    key.ok()
}
