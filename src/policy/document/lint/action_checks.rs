//! Checks of the actions of a statement.

use super::super::action_pattern::ActionPattern;
use super::super::{ActionList, PolicyStatement, StatementEffect};
use super::document_warning::DocumentWarning;
use super::known_action::{KnownAction, ResourceKinds};
use super::resource_checks::{includes, kinds};
use crate::oss::Operation;

/// Adds the warnings about actions.
pub(super) fn check(statement: &PolicyStatement, warnings: &mut Vec<DocumentWarning>) {
    let is_allow = statement.effect == StatementEffect::Allow;
    let kinds = kinds(statement);
    // The grant of everything cannot be mistaken.
    let is_plain = statement.grants_everything();
    match &statement.actions {
        ActionList::Listed(patterns) => {
            for pattern in patterns {
                check_pattern(pattern, kinds, warnings);
                let included = dangerous(kinds, |name| pattern.matches(name));
                let has_wildcard = pattern.as_str().contains(['*', '?']);
                if is_allow && has_wildcard && !is_plain && !included.is_empty() {
                    let pattern = pattern.as_str().to_owned();
                    warnings.push(DocumentWarning::WideAction { pattern, included });
                }
            }
        }
        ActionList::AllBut(patterns) => {
            for pattern in patterns.iter().filter(|pattern| known(pattern).next().is_none()) {
                warnings.push(unknown(pattern));
            }
            let included = dangerous(kinds, |name| statement.acts(name));
            if is_allow && !included.is_empty() {
                warnings.push(DocumentWarning::OtherActions(included));
            }
        }
    }
}

/// Adds the warnings about a pattern that matches no action, or none on resources of these kinds.
fn check_pattern(pattern: &ActionPattern, kinds: ResourceKinds, warnings: &mut Vec<DocumentWarning>) {
    let mut matched = known(pattern).peekable();
    let Some(first) = matched.peek() else {
        warnings.push(unknown(pattern));
        return;
    };
    let first = first.kinds;
    if !matched.any(|action| action.kinds.meet(kinds)) {
        let text = pattern.as_str().to_owned();
        warnings.push(if first.meet(ResourceKinds::OBJECT) {
            DocumentWarning::OnObjects(text)
        } else if first.meet(ResourceKinds::BUCKET) {
            DocumentWarning::OnBucket(text)
        } else if first.meet(ResourceKinds::SERVICE) {
            DocumentWarning::OnService(text)
        } else {
            DocumentWarning::OnPool(text)
        });
    }
}

/// Returns the actions that a pattern matches.
pub(super) fn known(pattern: &ActionPattern) -> impl Iterator<Item = &'static KnownAction> {
    KnownAction::all().iter().filter(|action| pattern.matches(action.name))
}

/// Returns the warning about a pattern that matches no action.
fn unknown(pattern: &ActionPattern) -> DocumentWarning {
    let text = pattern.as_str();
    let Some(name) = text.strip_prefix("oss:") else {
        return DocumentWarning::OtherService(text.to_owned());
    };
    // The name of an operation is not always that of its action.
    let mut operations = Operation::ALL.iter();
    let operation = operations.find(|operation| operation.name().eq_ignore_ascii_case(name));
    let required = match operation {
        Some(operation) => operation.actions().iter().map(|action| action.action).collect(),
        None => nearest(text).into_iter().collect(),
    };
    DocumentWarning::UnknownAction { pattern: text.to_owned(), required }
}

/// Returns the known action whose name differs least, if it differs little.
fn nearest(text: &str) -> Option<&'static str> {
    let distance = |name: &str| strsim::damerau_levenshtein(&name.to_ascii_lowercase(), text);
    let nearest = KnownAction::all().iter().map(|action| action.name).min_by_key(|name| distance(name))?;
    (distance(nearest) <= TYPO_MAX).then_some(nearest)
}

/// Returns the dangerous actions on resources of these kinds. Those that give data away come first.
fn dangerous(kinds: ResourceKinds, is_included: impl Fn(&str) -> bool) -> Vec<&'static str> {
    let fits =
        |action: &&KnownAction| action.is_dangerous && action.kinds.meet(kinds) && is_included(action.name);
    let mut names: Vec<&str> = KnownAction::all().iter().filter(fits).map(|action| action.name).collect();
    names.sort_by_key(|name| WORST.iter().position(|worst| worst == name).unwrap_or(WORST.len()));
    names
}

/// Returns whether `other` denies all that `statement` allows, under any condition.
pub(super) fn is_shadowed(statement: &PolicyStatement, other: &PolicyStatement) -> bool {
    if other.effect == StatementEffect::Allow || !other.conditions.is_empty() {
        return false;
    }
    let kinds = kinds(statement);
    let mut allowed = KnownAction::all()
        .iter()
        .filter(|action| action.kinds.meet(kinds) && statement.acts(action.name))
        .peekable();
    allowed.peek().is_some()
        && allowed.all(|action| other.acts(action.name))
        && statement
            .resources
            .iter()
            .all(|resource| other.resources.iter().any(|wider| includes(wider, resource)))
}

/// The number of characters in which a mistyped name may differ.
const TYPO_MAX: usize = 3;

/// The actions through which data leaves a bucket, or is lost.
const WORST: [&str; 9] = [
    "oss:PutBucketPolicy",
    "oss:PutBucketAcl",
    "oss:PutObjectAcl",
    "oss:PutBucketReplication",
    "oss:PutBucketLogging",
    "oss:PutBucketInventory",
    "oss:PutBucketWebsite",
    "oss:PutBucketLifecycle",
    "oss:DeleteBucket",
];
