//! The context against which upstreams are validated.

use std::path::{Path, PathBuf};

use super::callers::CallerNames;
use super::credentials::SecretResolver;
use super::diagnostics::ConfigReport;
use super::error::ConfigErrorKind;
use super::section::ConfigSection;
use super::source_names::DescribedSource;
use crate::server::ListenSettings;

/// The parts of a configuration that the settings of an upstream may refer to, or must not
/// contradict.
pub(super) struct ValidationContext<'a> {
    pub(super) listeners: &'a [ListenSettings],
    /// The names of the callers.
    pub(super) caller_names: &'a CallerNames,
    /// The credentials that the file defines.
    pub(super) described: &'a [DescribedSource],
    pub(super) secrets: &'a SecretResolver<'a>,
}

impl ValidationContext<'_> {
    /// Reads the path of a certificate file, and reports a file that cannot be read.
    pub(super) fn ca_file(&self, section: &ConfigSection<'_>, report: &mut ConfigReport) -> Option<PathBuf> {
        let given = section.text("ca_file", report)?;
        if let Err(error) = self.secrets.env.check_readable(Path::new(&given.value)) {
            let problem = ConfigErrorKind::CaFile(given.value.clone(), error.to_string());
            report.error(&given.at, problem);
        }
        Some(PathBuf::from(given.value))
    }
}
