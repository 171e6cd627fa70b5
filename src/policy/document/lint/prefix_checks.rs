//! Checks of the conditions on `oss:Prefix`.

use super::super::condition_key::KnownKey;
use super::super::condition_test::ConditionTest;
use super::super::{ActionList, PolicyStatement, StatementEffect};
use super::action_checks::known;
use super::document_warning::DocumentWarning;

/// Adds the warnings about conditions on the prefix of listings.
pub(super) fn check(statement: &PolicyStatement, warnings: &mut Vec<DocumentWarning>) {
    let of_key = |key: KnownKey| statement.conditions.iter().filter(move |test| test.is_about(&key));
    let is_allow = statement.effect == StatementEffect::Allow;
    // A negated test of a denial allows only the prefixes that it names.
    if of_key(KnownKey::Prefix).any(|test| test.is_negated() == is_allow) {
        warnings.push(DocumentWarning::PorousPrefix);
    }
    let has_delimiter = of_key(KnownKey::Delimiter).any(|test| !test.is_negated());
    for test in of_key(KnownKey::Prefix).filter(|test| is_allow && !test.is_negated()) {
        check_values(test, has_delimiter, warnings);
    }
    let is_of_listing = |test: &ConditionTest| {
        (test.is_about(&KnownKey::Prefix) || test.is_about(&KnownKey::Delimiter)) && !test.is_negated()
    };
    if let ActionList::Listed(patterns) = &statement.actions
        && statement.conditions.iter().any(is_of_listing)
    {
        for pattern in patterns {
            let mut matched = known(pattern).peekable();
            if matched.peek().is_some() && !matched.any(|action| action.has_prefix) {
                warnings.push(DocumentWarning::WithoutPrefix(pattern.as_str().to_owned()));
            }
        }
    }
}

fn check_values(test: &ConditionTest, has_delimiter: bool, warnings: &mut Vec<DocumentWarning>) {
    for value in test.texts() {
        let is_pattern = test.has_patterns() && value.ends_with('*');
        let prefix = if is_pattern { value.trim_end_matches('*') } else { value };
        if prefix.is_empty() {
            if !has_delimiter {
                warnings.push(DocumentWarning::WholeBucket(value.to_owned()));
            }
        } else if !prefix.ends_with('/') {
            warnings.push(DocumentWarning::OpenListing(prefix.to_owned()));
        }
    }
}
