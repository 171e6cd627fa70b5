//! `allow` of callers, and the ceiling on what the files of a directory may grant.

use std::path::Path;

use super::caller_schema::CEILING;
use super::diagnostics::ConfigReport;
use super::error::ConfigErrorKind;
use super::layer::SettingLayer;
use super::origin::{SpannedValue, ValueOrigin};
use super::section::{ConfigDocument, ConfigFile};
use crate::caller::CallerAccess;

/// The values of `allow`.
pub(super) const ALLOW: [(&str, CallerAccess); 2] =
    [("everything", CallerAccess::Everything), ("read", CallerAccess::Read)];

/// The highest access that the files of a directory may grant.
#[derive(Clone, Debug)]
pub(super) struct AccessCeiling {
    pub(super) access: CallerAccess,
    /// The origin, for errors.
    at: ValueOrigin,
}

impl AccessCeiling {
    /// Reads the ceiling from the text of its file. Returns `None` after it has reported an error.
    pub(super) fn read(path: &Path, text: &str, report: &mut ConfigReport) -> Option<Self> {
        const LAYERS: &[SettingLayer] = &[];
        let document = ConfigDocument::new(Some(ConfigFile { path, text }), LAYERS);
        let before = report.count();
        let table = document.parse(report);
        if report.count() > before {
            return None;
        }
        let root = document.top(table.get_ref());
        root.check(&CEILING, report);
        if !root.has("allow") {
            let problem = ConfigErrorKind::Missing("write allow = \"read\" or allow = \"everything\"");
            report.error(&root.at("allow"), problem);
        }
        let allow = root.parsed("allow", access, report)?;
        Some(Self { access: allow.value, at: allow.at })
    }

    /// Reports an access above the ceiling.
    pub(super) fn check(&self, given: &SpannedValue<CallerAccess>, report: &mut ConfigReport) {
        // guard: access-ceiling
        if given.value > self.access {
            let [allowed, max] = [given.value, self.access].map(CallerAccess::as_str);
            report.error(&given.at, ConfigErrorKind::AboveCeiling(allowed, max, self.at.to_string()));
        }
    }
}

fn access(text: &str) -> Result<CallerAccess, ConfigErrorKind> {
    match ALLOW.iter().find(|(word, _)| *word == text) {
        Some((_, access)) => Ok(*access),
        None => Err(ConfigErrorKind::Word(text.to_owned(), "everything, read".to_owned())),
    }
}
