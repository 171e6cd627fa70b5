//! Mistakes in documents that are valid: statements that grant more than they seem to, or nothing.

mod action_checks;
mod document_warning;
mod known_action;
mod prefix_checks;
mod resource_checks;
#[cfg(test)]
mod tests;

pub(crate) use document_warning::DocumentWarning;

use super::{PolicyDocument, PolicyStatement, StatementEffect};
use action_checks::is_shadowed;

/// A mistake in a statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DocumentFinding {
    /// The position of the document, from 0.
    pub(crate) document: usize,
    /// The position of the statement, from 0.
    pub(crate) statement: usize,
    /// The mistake.
    pub(crate) warning: DocumentWarning,
}

/// Returns the mistakes in documents that apply together.
#[must_use]
pub(crate) fn find_mistakes(documents: &[PolicyDocument]) -> Vec<DocumentFinding> {
    let mut findings = Vec::new();
    for (document, one) in documents.iter().enumerate() {
        for (statement, checked) in one.statements.iter().enumerate() {
            let mut warnings = Vec::new();
            action_checks::check(checked, &mut warnings);
            resource_checks::check(checked, &mut warnings);
            prefix_checks::check(checked, &mut warnings);
            warnings.extend(shadow(checked, documents));
            let finding = |warning| DocumentFinding { document, statement, warning };
            findings.extend(warnings.into_iter().map(finding));
        }
    }
    findings
}

/// Returns a warning if a statement of the documents denies all that this one allows.
fn shadow(checked: &PolicyStatement, documents: &[PolicyDocument]) -> Option<DocumentWarning> {
    if checked.effect == StatementEffect::Deny {
        return None;
    }
    documents.iter().find_map(|document| {
        let index = document.statements.iter().position(|other| is_shadowed(checked, other))?;
        Some(DocumentWarning::Shadowed(format!("statement {} of {}", index + 1, document.name())))
    })
}
