//! Checks the configuration: reports its errors and its warnings.

use super::super::exit::CommandExit;
use super::fault::FaultKind;
use super::report::{Finding, ReportSection};
use crate::config::{ConfigErrors, ProxyConfig};

/// Reports the errors and the warnings of a configuration that was read.
pub(super) fn examine(config: Option<&ProxyConfig>, errors: Option<&ConfigErrors>) -> ReportSection {
    let warnings = config.into_iter().flat_map(|config| &config.warnings).map(|text| {
        Finding::warn("read", FaultKind::Caution, text.as_str(), "ignore this if it is intended")
    });
    let errors: Vec<_> =
        errors.into_iter().flat_map(ConfigErrors::iter).map(|error| wrong(error.to_string())).collect();
    let good = errors.is_empty().then(|| Finding::ok("read", "no errors"));
    section(good.into_iter().chain(warnings).chain(errors).collect())
}

/// Reports that the configuration cannot be read.
pub(super) fn unreadable(error: String) -> ReportSection {
    section(vec![wrong(error)])
}

fn section(findings: Vec<Finding>) -> ReportSection {
    ReportSection { name: "configuration".to_owned(), about: String::new(), findings }
}

fn wrong(text: String) -> Finding {
    let remedy = "correct it; `check` reports the same errors";
    Finding::fail("read", FaultKind::Configuration, CommandExit::Config, text, remedy)
}
