//! `[sealing]`: the masters that open the sealed secrets of callers.

use super::credentials::SecretResolver;
use super::diagnostics::ConfigReport;
use super::error::ConfigErrorKind;
use super::origin::SpannedValue;
use super::section::ConfigSection;
use super::settings::SEALING;
use crate::sealing::{MasterKey, SealedPlace, SealingError};
use crate::secret::Secret;

/// The masters of the file.
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
            let Some(master) = secrets.referenced(&given, report) else { continue };
            match MasterKey::new(&master) {
                Ok(key) => keys.push(key),
                Err(_) => report.error(&given.at, ConfigErrorKind::ShortMaster),
            }
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
