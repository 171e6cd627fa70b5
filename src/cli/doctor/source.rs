//! Checks a credential source after it was asked for credentials.

use super::super::exit::CommandExit;
use super::super::explain::SourceDescription;
use super::fault::FaultKind;
use super::report::{Finding, ReportSection};
use crate::app::BadSource;
use crate::app::build::SourceResults;
use crate::app::system_env::SystemEnv;
use crate::credentials::CredentialSource;
use crate::time::Clock as _;

/// Describes a source as `explain` does, and reports whether it provides credentials.
pub(super) fn examine(name: &str, source: &CredentialSource, asked: &SourceResults) -> ReportSection {
    let SourceDescription { summary, details } = SourceDescription::new(source);
    let about = |all: &[BadSource]| {
        let known = all.iter().find(|bad| bad.name == name);
        known.map(|bad| bad.failure.clone())
    };
    let finding = if let Some(failure) = about(&asked.bad) {
        let remedy = "correct this provider; if the message names several, start with the first";
        Finding::fail("credentials", FaultKind::SourceMisconfigured, CommandExit::Config, failure, remedy)
    } else if source.get(SystemEnv.now()).is_ok() {
        Finding::ok("credentials", summary)
    } else {
        let (fault, text) = match about(&asked.unavailable) {
            Some(failure) => (FaultKind::SourceUnavailable, failure),
            None => (FaultKind::NoCredentials, "no provider has credentials".to_owned()),
        };
        let remedy = "set OSS_ACCESS_KEY_ID and OSS_ACCESS_KEY_SECRET, or configure [credentials]; the list of providers shows why each was skipped";
        Finding::fail("credentials", fault, CommandExit::Credentials, text, remedy)
    };
    ReportSection {
        name: "source".to_owned(),
        about: format!("{name:?}"),
        findings: vec![finding.with(details)],
    }
}
