//! The names of credential sources, and the references from one source to another.

use std::collections::{HashMap, HashSet};

use super::diagnostics::ConfigReport;
use super::error::ConfigErrorKind;
use super::section::ConfigSection;
use crate::credentials::ProviderSpec;

/// The name of the source that is used where none is configured. It is a chain unless the file
/// defines it.
pub(super) const DEFAULT: &str = "default";

/// A source of credentials that the file defines.
pub(super) struct DescribedSource {
    pub(super) name: String,
    /// `None` if the description is invalid, which has been reported.
    pub(super) spec: Option<ProviderSpec>,
}

/// Checks the references between sources: reports unknown sources, and sources that depend on
/// themselves.
pub(super) fn check_needs(
    described: &[DescribedSource],
    root: &ConfigSection<'_>,
    report: &mut ConfigReport,
) {
    let all = root.child("credentials", report);
    let names = described.iter().map(|source| source.name.as_str());
    let known: HashMap<&str, Option<&ProviderSpec>> =
        names.clone().zip(described.iter().map(|source| source.spec.as_ref())).collect();
    let needed = |name: &str| known.get(name).copied().flatten()?.needs();
    let circular = circular_names(names.clone(), needed);
    let all_names = listing(names.clone());
    for name in names {
        let Some(first) = needed(name) else { continue };
        let at_source = all.child(name, report).at("source");
        match known.get(first) {
            // The implied default has no source.
            None if first == DEFAULT => {}
            None => {
                let problem = ConfigErrorKind::UnknownCredentials(first.to_owned(), all_names.clone());
                report.error(&at_source, problem);
            }
            Some(Some(ProviderSpec::Anonymous)) => report.error(&at_source, ConfigErrorKind::NobodyAssumes),
            Some(_) if circular.contains(name) => {
                report.error(&at_source, ConfigErrorKind::Circle(name.to_owned()));
            }
            Some(_) => {}
        }
    }
}

/// Returns the names that depend on themselves, directly or through others. Each name needs at most
/// one other, and is visited once.
fn circular_names<'a>(
    names: impl Iterator<Item = &'a str>,
    needed: impl Fn(&str) -> Option<&'a str>,
) -> HashSet<&'a str> {
    // Each name with the number of the walk that visited it first.
    let mut met: HashMap<&str, usize> = HashMap::new();
    let mut circular = HashSet::new();
    for (walk, start) in names.enumerate() {
        let mut at = Some(start);
        while let Some(name) = at.filter(|name| !met.contains_key(name)) {
            met.insert(name, walk);
            at = needed(name);
        }
        // A walk that reaches one of its names again has found a cycle, which begins there.
        let mut back = at.filter(|name| met.get(name) == Some(&walk));
        while let Some(name) = back.filter(|name| circular.insert(*name)) {
            back = needed(name);
        }
    }
    circular
}

/// Formats names of credentials for an error, up to [`LISTED_MAX`]. The same list can be repeated
/// for thousands of routes.
pub(super) fn listing<'a>(names: impl Iterator<Item = &'a str> + Clone) -> String {
    let mut shown = names.clone().take(LISTED_MAX).collect::<Vec<_>>().join(", ");
    match names.count().saturating_sub(LISTED_MAX) {
        0 => {}
        more => shown.push_str(&format!(" and {more} more")),
    }
    shown
}

/// The maximum number of names in an error; a longer list is not helpful.
const LISTED_MAX: usize = 20;
